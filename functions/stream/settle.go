package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Settle returns when this process has done all that there was to do when it was
// called. A replay that goes from one point of event time to the next calls it in
// between, so that nothing depends on how fast anything runs:
//
//   - The tables hold everything that stood in their topics.
//   - The tasks have processed everything that stood in their inputs, and what
//     they wrote to their own inputs because of that.
//   - Each has been handed the time once more after that, and has told its
//     watermark downstream.
//   - All of it is committed. What comes next sees the tables as they are.
//
// It is for transport kafka, in a process that owns all tasks. A task that fails
// meanwhile is waited for.
func (e *Engine) Settle(ctx context.Context) error {
	if !e.options.Consume {
		return errors.New("only tasks that read their input by themselves can be settled")
	}
	if err := e.settleTables(ctx); err != nil {
		return err
	}
	var inputs, own []string
	for _, in := range e.options.Definition.Inputs {
		inputs = append(inputs, in.Topic)
		for _, out := range e.options.Definition.Outputs {
			if out.Topic == in.Topic {
				own = append(own, in.Topic)
			}
		}
	}
	ends, err := e.committedEnds(ctx, inputs)
	if err != nil {
		return err
	}
	for {
		if err := e.settleTasks(ctx, ends); err != nil {
			return err
		}
		if len(own) == 0 {
			return nil
		}
		more, err := e.committedEnds(ctx, own)
		if err != nil {
			return err
		}
		done := true
		for at, end := range more {
			done = done && end == ends[at]
		}
		if done {
			return nil
		}
		maps.Copy(ends, more)
	}
}

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// committedEnds returns the offsets that readers with read_committed get to.
func (e *Engine) committedEnds(ctx context.Context, topics []string) (map[place]int64, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	listed, err := kadm.NewClient(e.lookup.client).ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the ends of %v: %w", topics, err)
	}
	ends := map[place]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[place{o.Topic, o.Partition}] = o.Offset })
	return ends, nil
}

func (e *Engine) settleTables(ctx context.Context) error {
	var topics []string
	for _, table := range e.options.Definition.Tables {
		topics = append(topics, table.Topic)
	}
	ends, err := e.committedEnds(ctx, topics)
	if err != nil {
		return err
	}
	for {
		behind, read := e.tables.behind(ends)
		if !behind {
			return nil
		}
		select {
		case <-read:
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settlement asks a task to process its inputs up to ends.
type settlement struct {
	ends map[place]int64
	done chan error // takes one without blocking
}

// settleTasks asks all tasks at once, and those that were interrupted again.
func (e *Engine) settleTasks(ctx context.Context, ends map[place]int64) error {
	asked := make([]*settlement, e.Tasks())
	for n := range asked {
		asked[n] = &settlement{ends, make(chan error, 1)}
		if err := e.settleTask(ctx, n, asked[n]); err != nil {
			return err
		}
	}
	for n := 0; n < len(asked); {
		select {
		case err := <-asked[n].done:
			switch {
			case err == nil:
				n++
			case !errors.Is(err, ErrUnavailable):
				return fmt.Errorf("settle partition %d of %s: %w", n, e.options.Definition.Name, err)
			default:
				if err := e.settleTask(ctx, n, asked[n]); err != nil {
					return err
				}
			}
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// settleTask hands s to task n as soon as it runs.
func (e *Engine) settleTask(ctx context.Context, n int, s *settlement) error {
	if err := e.WaitReady(ctx, n); err != nil {
		return err
	}
	e.mu.Lock()
	t := e.mu.tasks[n]
	e.mu.Unlock()
	if t == nil {
		return fmt.Errorf("settle partition %d of %s: %w", n, e.options.Definition.Name, ErrNotOwner)
	}
	select {
	case t.settle <- s:
		return nil
	case <-t.ended:
		return fmt.Errorf("settle partition %d of %s: %w", n, e.options.Definition.Name, ErrNotOwner)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settleDue answers the settlements whose ends have been reached, after a tick and
// a commit.
func (s *session) settleDue(ctx context.Context) error {
	if len(s.settling) == 0 {
		return nil
	}
	for _, one := range s.settling {
		if !s.reached(one.ends) {
			return nil // the others ask for as much or more
		}
	}
	s.work()
	if err := s.core.tick(0); err != nil {
		return err
	}
	s.announceWatermark(ctx, true)
	if err := s.commit(ctx); err != nil {
		return err
	}
	s.publishProgress()
	for _, one := range s.settling {
		one.done <- nil
	}
	s.settling = nil
	return nil
}

func (s *session) reached(ends map[place]int64) bool {
	for i := range s.core.inputs {
		topic := s.core.inputs[i].Topic
		if s.number < s.partitions[topic] && s.readTo[topic] < ends[place{topic, int32(s.number)}] {
			return false
		}
	}
	return true
}

// interrupted tells those who wait that they have to ask again.
func (s *session) interrupted() {
	for _, one := range s.settling {
		one.done <- ErrUnavailable
	}
	s.settling = nil
}

// reading is how far the tables have been read.
type reading struct {
	next map[place]int64
	more chan struct{} // closed and replaced when more has been read
}

// read notes that everything before next has been applied.
func (t *tables) read(next map[place]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.mu.next, next)
	close(t.mu.more)
	t.mu.more = make(chan struct{})
}

// behind reports whether something before ends has not been applied, and what is
// closed when there is more.
func (t *tables) behind(ends map[place]int64) (behind bool, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, end := range ends {
		behind = behind || t.mu.next[at] < end
	}
	return behind, t.mu.more
}
