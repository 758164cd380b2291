package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Lag is how far a task is behind in one of its input partitions.
type Lag struct {
	Topic     string
	Partition int
	// Records is the number of offsets that are not processed, 0 when the task
	// has caught up. Under transport http it is the number of those beyond the
	// last event that was pushed: one before it may be on its way still, and it
	// may count the marker of a transaction.
	Records int64
	// Behind is the age of what was processed last, 0 when the task has caught
	// up. For events whose time the function does not tell it is the time since
	// then.
	Behind time.Duration
}

// progress is how far a task has come in one input.
type progress struct {
	topic    string
	next     int64     // offset to process next; transport http: after the last one that was pushed
	caughtUp bool      // all that stands beyond next is no event
	last     time.Time // event time of the last event, or when it was stepped
}

// publishProgress shows where the task stands. What is not committed is not
// progress.
func (s *session) publishProgress() {
	list := make([]progress, 0, len(s.core.inputs))
	for i := range s.core.inputs {
		in := &s.core.inputs[i]
		if s.number < s.partitions[in.Topic] {
			list = append(list, progress{in.Topic, max(in.done.low, in.high), s.idle, in.last})
		}
	}
	s.progress.Store(&list)
}

// Lag returns how far the tasks of this process are behind. It asks a broker.
func (e *Engine) Lag(ctx context.Context) ([]Lag, error) {
	topics := make([]string, 0, len(e.options.Definition.Inputs))
	for _, in := range e.options.Definition.Inputs {
		topics = append(topics, in.Topic)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	// Looked at first, so that what is committed meanwhile is not counted.
	tasks := map[int][]progress{}
	e.mu.Lock()
	for n, t := range e.mu.tasks {
		if p := t.progress.Load(); p != nil {
			tasks[n] = *p
		}
	}
	e.mu.Unlock()
	ends, err := kadm.NewClient(e.lookup.client).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list the ends of the input: %w", err)
	}
	now := time.Now()
	var lags []Lag
	for n, list := range tasks {
		for _, p := range list {
			end, ok := ends.Lookup(p.topic, int32(n))
			if !ok || end.Err != nil {
				continue
			}
			lag := Lag{Topic: p.topic, Partition: n}
			if !p.caughtUp {
				lag.Records = max(0, end.Offset-p.next)
			}
			if lag.Records > 0 && !p.last.IsZero() {
				lag.Behind = max(0, now.Sub(p.last))
			}
			lags = append(lags, lag)
		}
	}
	return lags, nil
}

// InFlight returns the number of events that wait or are stepped and not
// committed.
func (e *Engine) InFlight() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, t := range e.mu.tasks {
		n += len(t.inbox) + int(t.stepped.Load())
	}
	return n
}
