package stream

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// Observer is told about commits, restores and failures, for metrics. Calls come
// from the goroutines of many tasks and must not block.
//
// What became of events is reported with the commit that made it so, and never
// for a commit that failed: those events come again.
type Observer interface {
	// Committed reports a committed transaction. c and what it holds are used
	// again after the call.
	Committed(function string, c *Commit)
	// Watermark reports a task's watermark, ms since the epoch.
	Watermark(function string, task int, ms int64)
	// Restoring reports how many records of the changelog are still to be read.
	Restoring(function string, task int, remaining int64)
	// Restored reports a restore of n records, and the size of what they gave.
	Restored(function string, task, n int, d time.Duration, size StateSize)
	// Failed reports that a task was given up, and will be taken over again.
	Failed(function string, task int, lost Lost)
	// Released reports that this process no longer works on a task.
	Released(function string, task int)
	// Rebalanced reports that the tasks of this process have changed.
	Rebalanced(function string)
	// Client returns hooks for the Kafka client of that name, nil for none. The
	// names of the clients that exist at a time differ.
	Client(name string) []kgo.Hook
}

// Commit is what one committed transaction did.
type Commit struct {
	Task   int
	Events []EventCount // of each kind that there were any of
	Output []TopicCount // records of the function by topic, without changelog and watermarks
	// Took is the time from the first step to the end of the commit, Ending the
	// part of it from the flush on.
	Took, Ending time.Duration
	At           time.Time // when it ended
	// Times are the event times of the events that were stepped, in ms since
	// the epoch, of those for which the function told it.
	Times []int64
	// TraceID is that of the last event of Times that has one, at TraceTime; ""
	// when none has.
	TraceID   string
	TraceTime int64
	State     StateSize
	Deleted   int // keys that the commit deleted
}

// Lost is what a task that is given up had not committed. It comes again.
type Lost struct {
	Events     int  // events stepped
	Messages   int  // records produced for them
	Committing bool // it was the commit that failed
}

// EventCount is a number of events of one type with one result.
type EventCount struct {
	Type   string // OtherType for types that the function does not take
	Result string // one of Result*
	Reason string // with ResultRefused and ResultDeadLetter: one of Reason*
	N      int
}

// TopicCount is a number of records.
type TopicCount struct {
	Topic string
	N     int
}

// StateSize is the size of a task's state.
type StateSize struct {
	Entries int
	Bytes   int64 // keys and values as they stand in the changelog
}

// OtherType stands for every type that a function does not take: whoever sends
// events does not choose labels.
const OtherType = "other"

// What becomes of an event.
const (
	ResultOK         = "ok"
	ResultDuplicate  = "duplicate"   // had been committed before
	ResultLate       = "late"        // went to late_events: all that it belongs to is closed
	ResultFuture     = "future"      // went to late_events: too far ahead of the clock
	ResultRefused    = "refused"     // transport http: answered 400, and the source dead-letters it
	ResultDeadLetter = "dead_letter" // transport kafka: went to dead_letters
)

// Why an event is refused.
const (
	ReasonInvalid     = "invalid"      // its data is malformed or breaks a rule
	ReasonUnknownType = "unknown_type" // the function takes no events of the type
	ReasonFailed      = "failed"       // the function failed or panicked on it
)

type nopObserver struct{}

func (nopObserver) Committed(string, *Commit)                           {}
func (nopObserver) Watermark(string, int, int64)                        {}
func (nopObserver) Restoring(string, int, int64)                        {}
func (nopObserver) Restored(string, int, int, time.Duration, StateSize) {}
func (nopObserver) Failed(string, int, Lost)                            {}
func (nopObserver) Released(string, int)                                {}
func (nopObserver) Rebalanced(string)                                   {}
func (nopObserver) Client(string) []kgo.Hook                            { return nil }

// tally counts what the commit under way does. Its memory is used again.
type tally struct{ Commit }

func (t *tally) event(in *input, eventType, result, reason string) {
	known := OtherType
	if in != nil {
		for _, name := range in.Types {
			if name == eventType {
				known = name
			}
		}
	}
	for i := range t.Events {
		if c := &t.Events[i]; c.Result == result && c.Type == known && c.Reason == reason {
			c.N++
			return
		}
	}
	t.Events = append(t.Events, EventCount{known, result, reason, 1})
}

func (t *tally) output(topic string) {
	for i := range t.Output {
		if t.Output[i].Topic == topic {
			t.Output[i].N++
			return
		}
	}
	t.Output = append(t.Output, TopicCount{topic, 1})
}

func (t *tally) messages() (n int) {
	for _, o := range t.Output {
		n += o.N
	}
	return n
}

func (t *tally) reset() {
	t.Events, t.Output, t.Times = t.Events[:0], t.Output[:0], t.Times[:0]
	t.TraceID, t.TraceTime, t.Deleted = "", 0, 0
}

// resultOf names an outcome.
func resultOf(o outcome, consume bool) string {
	switch o {
	case outcomeDuplicate:
		return ResultDuplicate
	case outcomeLate:
		return ResultLate
	case outcomeFuture:
		return ResultFuture
	case outcomeInvalid:
		if consume {
			return ResultDeadLetter
		}
		return ResultRefused
	}
	return ResultOK
}

// reasonOf classifies the error of an event that is refused.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*poisonError](err); ok {
		return ReasonFailed
	}
	if _, ok := errors.AsType[*typeError](err); ok {
		return ReasonUnknownType
	}
	return ReasonInvalid
}

// poisonError refuses an event on which the function failed before.
type poisonError struct{ *events.InvalidError }

// Unwrap makes it an *events.InvalidError too.
func (p *poisonError) Unwrap() error { return p.InvalidError }
