package stream

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"

	"datasurge/events"
	"datasurge/functions/step"
)

// Place is where an event belongs: the task, and the offset that a KafkaSource
// found it at.
type Place struct {
	Task   int
	topic  string
	offset int64
}

// Place reads where e belongs: the partition and offset that a KafkaSource adds,
// or else the partition of its key.
func (e *Engine) Place(ev *events.Event) Place {
	tasks := e.Tasks()
	place := Place{Task: -1, offset: noOffset, topic: ev.Extension(events.ExtTopic)}
	partition, err1 := strconv.Atoi(ev.Extension(events.ExtPartition))
	offset, err2 := strconv.ParseInt(ev.Extension(events.ExtOffset), 10, 64)
	if err1 == nil && err2 == nil && partition >= 0 && partition < tasks && offset >= 0 {
		place.Task, place.offset = partition, offset
		return place
	}
	key := ev.Key
	if key == "" {
		key = ev.Subject
	}
	if key == "" {
		key = ev.ID
	}
	place.Task = PartitionOf([]byte(key), tasks)
	return place
}

// enoughWaiting deliveries of one source make a commit worth its cost: it need not
// wait for more. A KafkaSource has at most 99 events under way, so when a quarter of
// them wait in each of four partitions it sends nothing more. Of a source that has
// more, half of them have to wait.
const enoughWaiting = 24

// source counts the deliveries to a task that come from one of its inputs.
type source struct {
	underway atomic.Int64 // not yet answered
	waiting  atomic.Int64 // of those, in the inbox
	enough   atomic.Int64 // so many waiting need not wait for more
	peak     int64        // the most that were under way lately; the task's alone
}

// adapt fits enough to what is under way when a batch begins.
func (s *source) adapt() {
	s.peak = max(s.underway.Load(), s.peak-s.peak/8)
	s.enough.Store(max(enoughWaiting, s.peak/2))
}

// source returns the counts of what comes from topic. What comes from no input, as
// an event by curl does, is counted together.
func (t *task) source(topic string) *source {
	inputs := t.engine.options.Definition.Inputs
	return &t.sources[1+slices.IndexFunc(inputs, func(in step.Input) bool { return in.Topic == topic })]
}

// Deliver steps ev in the task that place names and returns when it is
// committed. An event that was committed before is not stepped again, and nil is
// returned.
//
// Errors: *events.InvalidError, ErrNotOwner, ErrUnavailable, ErrBusy, or ctx's,
// after which the event may or may not have been committed.
func (e *Engine) Deliver(ctx context.Context, place Place, ev *events.Event) error {
	e.mu.Lock()
	t, closed := e.mu.tasks[place.Task], e.mu.closed
	e.mu.Unlock()
	switch {
	case closed:
		return ErrUnavailable
	case t == nil:
		return ErrNotOwner
	case !t.ready.Load():
		return ErrUnavailable
	}
	from := t.source(place.topic)
	d := &delivery{event: ev, topic: place.topic, offset: place.offset, source: from, answer: make(chan error, 1)}
	from.underway.Add(1)
	defer from.underway.Add(-1)
	n := from.waiting.Add(1)
	select {
	case t.inbox <- d:
		if n >= from.enough.Load() {
			select {
			case t.enough <- struct{}{}:
			default:
			}
		}
	default:
		from.waiting.Add(-1)
		return ErrBusy
	}
	select {
	case err := <-d.answer:
		return err
	case <-t.ended:
		// It may have been answered, or put into the inbox after the last look.
		select {
		case err := <-d.answer:
			return err
		default:
			return ErrUnavailable
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}
