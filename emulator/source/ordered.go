package source

import (
	"context"
	"time"
)

// Pace of ordered delivery: one poll of at most maxPoll records in pollEvery, so
// at most 250 events/s for all partitions together, times the pace.
const (
	pollEvery   = 200 * time.Millisecond
	pollTimeout = time.Second
)

// queue holds the records of one partition that wait. A goroutine works on it
// while it is not empty. It is guarded by the dispatcher's mutex.
type queue struct {
	records []received
	busy    bool
}

// pollOrdered delivers one record of a partition at a time: the next is started
// when the one before has ended, with its repetitions and its dead letter.
//
// It does not poll while every partition that has ever had a record has some
// waiting, beside the one under way; a partition that is seen for the first time
// waits for that too. Else it polls with the busy ones paused.
func (d *Dispatcher) pollOrdered(ctx context.Context) {
	tick := time.NewTicker(pollEvery / time.Duration(d.pace))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		busy, idle := make(map[string][]int32), make(map[string][]int32)
		d.mu.Lock()
		for key, q := range d.mu.queues {
			if len(q.records) > 0 {
				busy[key.topic] = append(busy[key.topic], key.partition)
			} else {
				idle[key.topic] = append(idle[key.topic], key.partition)
			}
		}
		d.mu.Unlock()
		if len(busy) > 0 && len(idle) == 0 {
			continue
		}
		if len(busy) > 0 {
			d.client.PauseFetchPartitions(busy)
		}
		if len(idle) > 0 {
			d.client.ResumeFetchPartitions(idle)
		}
		bounded, cancel := context.WithTimeout(ctx, pollTimeout)
		fetches, ok := d.poll(ctx, bounded)
		cancel()
		if !ok {
			return
		}
		select {
		case <-tick.C: // while it polled; the next one counts
		default:
		}
		d.mu.Lock()
		d.polled(fetches, func(rec received) {
			key := topicPartition{rec.Topic, rec.Partition}
			q := d.mu.queues[key]
			if q == nil {
				q = new(queue)
				d.mu.queues[key] = q
			}
			q.records = append(q.records, rec)
			if !q.busy {
				q.busy = true
				d.underWay.Go(func() { d.work(ctx, q) })
			}
		})
		d.mu.Unlock()
	}
}

// work delivers the records of one queue until it is empty or polling has been
// stopped: those that wait are dropped then.
func (d *Dispatcher) work(ctx context.Context, q *queue) {
	for {
		d.mu.Lock()
		if len(q.records) == 0 || ctx.Err() != nil {
			q.busy, q.records = false, nil
			d.mu.Unlock()
			return
		}
		rec := q.records[0]
		q.records = q.records[1:]
		p := d.begin(rec)
		d.mu.Unlock()
		d.end(p, rec.Offset, d.deliver(rec))
	}
}
