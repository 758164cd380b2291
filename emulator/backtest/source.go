package backtest

import (
	"time"

	"datasurge/events"
	"datasurge/functions/generate"
	"datasurge/functions/generate/handbook"
)

// Day is what happens on one day of event time.
type Day struct {
	Midnight     int64          // UTC, ms since the epoch
	Transactions []events.Event // in the order of their times
	Amounts      []int64        // of the transactions as the data set has them, minor units; nil: as they are
	Labels       []events.Event // that become known on the day, in the order of their times
}

// Source gives the days one by one.
type Source interface {
	// Next returns the next day, and false after the last.
	Next() (Day, bool)
	// Days is how many there are.
	Days() int
}

// Handbook is the Fraud Detection Handbook's data set with labels a week later; the
// last days have labels only.
type Handbook struct {
	// Customers, if above 0, leaves out the transactions of customers from that
	// number on.
	Customers int32
	// Through, if above 0, is how many days there are.
	Through int
	// Changed, if set, may change a label before it is handed out.
	Changed func(*events.Label)

	source generate.HandbookSource
	next   *generate.HandbookTransaction
	day    int
	labels [delayDays][]events.Event // of the days before, by day modulo delayDays
}

// Days implements Source.
func (h *Handbook) Days() int {
	if h.Through > 0 {
		return h.Through
	}
	return handbook.Days + delayDays
}

// Next implements Source.
func (h *Handbook) Next() (Day, bool) {
	if h.day == h.Days() {
		return Day{}, false
	}
	if h.day == 0 {
		h.pull()
	}
	d := Day{Midnight: handbook.Start().UnixMilli() + int64(h.day)*day, Labels: h.labels[h.day%delayDays]}
	var labels []events.Event
	for ; h.next != nil && h.next.Time() < d.Midnight+day; h.pull() {
		if h.Customers > 0 && h.next.Customer >= h.Customers {
			continue
		}
		t := h.next.Event()
		d.Transactions = append(d.Transactions, events.NewTransaction(&t))
		d.Amounts = append(d.Amounts, h.next.Cents)
		l := h.next.Label(delayDays * 24 * time.Hour)
		if h.Changed != nil {
			h.Changed(&l)
		}
		labels = append(labels, events.NewLabel(&l))
	}
	h.labels[h.day%delayDays] = labels
	h.day++
	return d, true
}

func (h *Handbook) pull() {
	h.next = nil
	if t, ok := h.source.Next(); ok {
		h.next = &t
	}
}
