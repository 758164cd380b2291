package backtest

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/generate"
	"datasurge/functions/generate/handbook"
)

// Step is what happens in a day of event time, from one hour after midnight (UTC),
// when a model that was learnt from the day before may be used, to the same of the
// next day.
type Step struct {
	Done, All    int64         // how much of the source has been handed out with this step
	End          int64         // ms since the epoch; all that follows is not before it
	Transactions []Transaction // in the order of their times
	Labels       []Label       // that become known in the step, in the order in which they do
}

// Transaction is a transaction as it is written to the topic.
type Transaction struct {
	ID, UserID string
	Amount     int64       // as the data set has it, minor units; below 0: as detect has it
	Record     *kgo.Record // its key, value and headers
}

// Label is a label as it is written to the topic.
type Label struct {
	events.Label
	Record *kgo.Record
}

// Source gives transactions and labels in steps. It is used by one goroutine.
type Source interface {
	// Next returns the next step, and false after the last. Steps in which
	// nothing happens may be left out.
	Next(ctx context.Context) (Step, bool, error)
}

const (
	day  = int64(24 * time.Hour / time.Millisecond)
	hour = day / 24
)

// stepEnd is the end of the step that t is in.
func stepEnd(t int64) int64 {
	rest := (t - hour) % day
	if rest < 0 {
		rest += day
	}
	return t - rest + day
}

// Handbook is the Fraud Detection Handbook's data set with labels a week later; the
// last steps have labels only.
type Handbook struct {
	source generate.HandbookSource
	next   *generate.HandbookTransaction
	steps  int
	labels []generate.HandbookTransaction // whose labels are not known yet
}

// Covers says what is wrong with a test of days that are not all in the data set.
func (*Handbook) Covers(p Protocol) error {
	first := handbook.Start().UnixMilli()
	latest := first + int64(handbook.Days-p.Days)*day
	if p.TestStart < first || p.TestStart > latest {
		return fmt.Errorf("the Handbook's data set begins on %s, and on %s its last %d days", date(first), date(latest), p.Days)
	}
	return nil
}

// Next implements Source.
func (h *Handbook) Next(context.Context) (Step, bool, error) {
	const all = handbook.Days + delayDays
	if h.steps == all {
		return Step{}, false, nil
	}
	if h.steps == 0 {
		h.pull()
	}
	h.steps++
	s := Step{Done: int64(h.steps), All: all, End: handbook.Start().UnixMilli() + int64(h.steps)*day + hour}
	for ; h.next != nil && h.next.Time() < s.End; h.pull() {
		t := h.next.Event()
		e := events.NewTransaction(&t)
		s.Transactions = append(s.Transactions, Transaction{t.TransactionID, t.UserID, h.next.Cents, recordOf(&e)})
		h.labels = append(h.labels, *h.next)
	}
	for len(h.labels) > 0 && h.labels[0].Time()+delayDays*day < s.End {
		l := h.labels[0].Label(delayDays * 24 * time.Hour)
		e := events.NewLabel(&l)
		s.Labels = append(s.Labels, Label{l, recordOf(&e)})
		h.labels = h.labels[1:]
	}
	return s, true, nil
}

func (h *Handbook) pull() {
	h.next = nil
	if t, ok := h.source.Next(); ok {
		h.next = &t
	}
}

func recordOf(e *events.Event) *kgo.Record {
	rec := &kgo.Record{}
	kafkarecord.Write(e, rec)
	return rec
}
