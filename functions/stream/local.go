package stream

import (
	"bytes"
	"sync"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// Local runs a function without Kafka: state in memory, and what the function
// emits is the answer to the event. So curl shows what a function does, and
// Broker, Trigger and Sequence work.
//
// An event that is sent again (same source and id) gets the same answer again,
// because the first one may have been lost on its way.
type Local struct {
	mu       sync.Mutex
	core     *core
	observer Observer
	tally    tally
	trace    Trace // of the event being stepped

	emitted []events.Event
	answers map[string][]events.Event
	order   []string // keys of answers, oldest first
}

// answersKept bounds the answers that a Local remembers.
const answersKept = 10_000

// NewLocal returns a Local for the only task of the function def. observer may be
// nil.
func NewLocal(def step.Definition, limits Limits, observer Observer) *Local {
	l := &Local{answers: map[string][]events.Event{}, observer: observer}
	if observer == nil {
		l.observer = nopObserver{}
	}
	l.core = newCore(&def, limits, 0, 1)
	l.core.out = func(topic string, e *events.Event) error {
		l.tally.output(topic)
		emitted := l.trace.on(e)
		emitted.Data = bytes.Clone(e.Data)
		l.emitted = append(l.emitted, emitted)
		return nil
	}
	partitions := map[string]int{}
	for _, in := range def.Inputs {
		partitions[in.Topic] = 1
	}
	l.core.start(partitions)
	return l
}

// Deliver steps e at the wall clock time now and returns what the function
// emitted. Errors: *events.InvalidError when the event is wrong for ever; any
// other is the function's failure.
func (l *Local) Deliver(e *events.Event, now time.Time) ([]events.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := string(appendSeenKey(nil, e.Source, e.ID))
	if answer, ok := l.answers[key]; ok {
		return answer, nil
	}
	l.core.now, l.emitted = now, nil
	in := l.core.inputFor(e.Extension(events.ExtTopic), e.Type)
	if in == nil {
		l.tally.event(nil, e.Type, ResultRefused, ReasonUnknownType)
		l.report(now)
		return nil, unknownType(l.core.def.Name, e.Type)
	}
	l.trace = TraceOf(e)
	result, err := l.core.step(in, e)
	if err != nil {
		l.core.observed = false
		if result == outcomeInvalid {
			l.tally.event(in, e.Type, ResultRefused, reasonOf(err))
			l.report(now)
		}
		return nil, err
	}
	l.tally.event(in, e.Type, resultOf(result, false), "")
	if l.core.observed {
		l.tally.Times = append(l.tally.Times, l.core.observedTime)
		l.tally.TraceID, l.tally.TraceTime = l.trace.ID(), l.core.observedTime
		in.mark.observe(l.core.observedTime, l.core.limits.OutOfOrderness)
		l.core.observed = false
	}
	if err := l.core.tick(0); err != nil {
		return nil, err
	}
	l.core.state.committed()
	l.core.commit++
	l.report(now)
	if len(l.order) == answersKept {
		delete(l.answers, l.order[0])
		l.order = l.order[1:]
	}
	l.answers[key], l.order = l.emitted, append(l.order, key)
	return l.emitted, nil
}

// report tells the observer what one event did: it is its own commit.
func (l *Local) report(begun time.Time) {
	t := &l.tally
	t.At = time.Now()
	t.Took, t.Ending = t.At.Sub(begun), 0
	t.State = l.core.state.size()
	l.observer.Committed(l.core.def.Name, &t.Commit)
	t.reset()
	l.trace = Trace{}
}
