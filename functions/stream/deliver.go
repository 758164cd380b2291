package stream

import (
	"context"
	"slices"
	"strconv"

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

// enoughWaiting deliveries of one topic make a commit worth its cost: it need not
// wait for more. A KafkaSource has at most 99 events under way, a quarter of them in
// each of four partitions.
const enoughWaiting = 16

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
	d := &delivery{event: ev, topic: place.topic, offset: place.offset, answer: make(chan error, 1)}
	d.source = &t.waits[slices.IndexFunc(e.options.Definition.Inputs, func(in step.Input) bool { return in.Topic == place.topic })+1]
	n := d.source.Add(1)
	select {
	case t.inbox <- d:
		if n >= enoughWaiting {
			select {
			case t.enough <- struct{}{}:
			default:
			}
		}
	default:
		d.source.Add(-1)
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
