package generate

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"datasurge/events"
	"datasurge/functions/generate/handbook"
	"datasurge/functions/step"
)

// replay is the function for the profile handbook: the transactions of the data
// set in their own event time, at Config.Speed, each label Config.LabelDelay
// later.
//
// Everything is made by the first task, so that events come in the order of their
// times. The state is how many transactions and labels have been made: a restart
// draws the random numbers anew, up to there, and goes on. While it is stopped,
// event time stands still.
type replay struct {
	cfg      Config
	position position
	loaded   bool
	source   HandbookSource
	waiting  []HandbookTransaction // without their label yet, in order; waiting[head] is position.label
	head     int
	next     *HandbookTransaction // not made yet, nil after the last one
	clock    int64                // event time reached, ms since the epoch
	rest     float64              // of a millisecond
	last     time.Time            // wall clock of the last Tick
}

func newReplay(cfg Config, task step.Task) step.Function {
	if task.Partition != 0 {
		return bystander{}
	}
	r := &replay{cfg: cfg}
	for key, value := range task.State {
		if key[0] == kindPosition {
			r.position = value.(position)
		}
	}
	return r
}

// bystander is a task that makes nothing.
type bystander struct{}

// Step implements step.Function. generate has no input.
func (bystander) Step(_ step.Tx, e *events.Event) error { return refuse(e) }

// Tick implements step.Function.
func (bystander) Tick(step.Tx, time.Time) error { return nil }

// Step implements step.Function. generate has no input.
func (r *replay) Step(_ step.Tx, e *events.Event) error { return refuse(e) }

// Tick implements step.Function: it makes the transactions and labels whose time
// has come, at most Config.MaxBatch of them.
func (r *replay) Tick(tx step.Tx, now time.Time) error {
	if !r.loaded {
		r.load()
		r.last = now
	}
	r.advance(now)
	before := r.position
	for range r.cfg.MaxBatch {
		if !r.one(tx) {
			break
		}
	}
	if r.position != before {
		tx.Put([]byte{kindPosition}, r.position)
	}
	return nil
}

// load draws everything up to the position.
func (r *replay) load() {
	r.loaded = true
	r.clock = handbook.Start().UnixMilli()
	for r.pull(); r.next != nil && r.next.Number < r.position.next; r.pull() {
		r.clock = r.next.Time()
		if r.next.Number >= r.position.label {
			r.waiting = append(r.waiting, *r.next)
		} else {
			r.clock = max(r.clock, r.next.Time()+r.cfg.LabelDelay.Milliseconds())
		}
	}
}

func (r *replay) pull() {
	r.next = nil
	if t, ok := r.source.Next(); ok {
		r.next = &t
	}
}

// advance moves event time on by what has passed on the wall clock. A longer
// pause than Config.CatchUp counts as that.
func (r *replay) advance(now time.Time) {
	if r.cfg.Speed == 0 {
		r.clock = math.MaxInt64
		return
	}
	passed := min(max(0, now.Sub(r.last)), r.cfg.CatchUp)
	r.last = now
	r.rest += float64(float64(passed)*r.cfg.Speed) / float64(time.Millisecond)
	whole := math.Floor(r.rest)
	r.rest -= whole
	r.clock += int64(whole)
}

// one makes the next event if its time has come. A label comes before a
// transaction of the same time.
func (r *replay) one(tx step.Tx) bool {
	if r.head < len(r.waiting) {
		t := &r.waiting[r.head]
		due := t.Time() + r.cfg.LabelDelay.Milliseconds()
		if due <= r.clock && (r.next == nil || due <= r.next.Time()) {
			l := t.Label(r.cfg.LabelDelay)
			e := events.NewLabel(&l)
			tx.Emit(events.TopicLabels, &e)
			r.position.label++
			if r.head++; r.head == len(r.waiting) || r.head >= 100_000 {
				r.waiting = append(r.waiting[:0], r.waiting[r.head:]...)
				r.head = 0
			}
			return true
		}
	}
	if r.next == nil || r.next.Time() > r.clock {
		return false
	}
	t := r.next.Event()
	e := events.NewTransaction(&t)
	tx.Emit(events.TopicTransactions, &e)
	r.waiting = append(r.waiting, *r.next)
	r.position.next++
	r.pull()
	return true
}

// HandbookTransaction is a transaction of the Handbook's data set as an event.
type HandbookTransaction struct {
	handbook.Transaction
	Number uint64 // its place in the data set, from 0
}

// Time is the event time, ms since the epoch.
func (t *HandbookTransaction) Time() int64 {
	return handbook.Start().UnixMilli() + int64(t.Second)*1000
}

// ID is the transaction's id.
func (t *HandbookTransaction) ID() string { return fmt.Sprintf("handbook-%07d", t.Number) }

// Event returns the transaction as it is emitted. The data set knows neither
// currency nor place: amounts are taken for dollars, and the place is one whose
// local time is UTC, as the book's features have it.
func (t *HandbookTransaction) Event() events.Transaction {
	return events.Transaction{
		TransactionID: t.ID(),
		UserID:        strconv.Itoa(int(t.Customer)),
		Amount:        max(1, t.Cents), // 42 amounts are 0.00, which no payment is
		Currency:      "USD",
		Time:          t.Time(),
		MerchantID:    strconv.Itoa(int(t.Terminal)),
		Type:          "purchase",
		Location:      "London, GB",
		PaymentMethod: "credit_card",
	}
}

// Label returns the label that comes delay after the transaction.
func (t *HandbookTransaction) Label(delay time.Duration) events.Label {
	return events.Label{
		TransactionID: t.ID(), UserID: strconv.Itoa(int(t.Customer)), MerchantID: strconv.Itoa(int(t.Terminal)),
		TransactionTime: t.Time(), LabelTime: t.Time() + delay.Milliseconds(),
		Fraud: t.Fraud(), Scenario: t.Scenario.String(),
	}
}

// HandbookSource gives the transactions of the data set one by one, in order.
// The zero value begins with the first.
type HandbookSource struct {
	simulator *handbook.Simulator
	day       []handbook.Transaction
	number    uint64
}

// Next returns the next transaction, and false after the last.
func (s *HandbookSource) Next() (HandbookTransaction, bool) {
	if s.simulator == nil {
		s.simulator = handbook.New()
	}
	for len(s.day) == 0 {
		if s.day = s.simulator.Next(); s.day == nil {
			return HandbookTransaction{}, false
		}
	}
	t := HandbookTransaction{s.day[0], s.number}
	s.day = s.day[1:]
	s.number++
	return t, true
}
