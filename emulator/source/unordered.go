package source

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxPoll is the number of records that one poll takes (max.poll.records).
const maxPoll = 50

// pollUnordered delivers every record at once. It polls while fewer than maxPoll
// are under way, and then takes all of a poll: at most 2 x maxPoll - 1. The pace
// multiplies the first of these.
//
// A goroutine that has delivered one event waits for the next: a new one would
// first have to grow its stack, which takes a tenth of a delivery.
func (d *Dispatcher) pollUnordered(ctx context.Context) {
	next := make(chan begun)
	defer close(next)
	for {
		d.mu.Lock()
		room := d.mu.inFlight < maxPoll*d.pace
		d.mu.Unlock()
		if !room {
			select {
			case <-d.mu.freed:
				continue
			case <-ctx.Done():
				return
			}
		}
		fetches, ok := d.poll(ctx, ctx)
		if !ok {
			return
		}
		d.mu.Lock()
		d.polled(fetches, func(rec received) {
			b := begun{rec, d.begin(rec)}
			select {
			case next <- b: // to one that waits
			default:
				d.underWay.Go(func() { d.deliverEach(b, next) })
			}
		})
		d.mu.Unlock()
	}
}

// begun is a record that is being worked on.
type begun struct {
	received
	partition *partition
}

// deliverEach delivers b, and then what comes from next until that is closed.
func (d *Dispatcher) deliverEach(b begun, next <-chan begun) {
	for ok := true; ok; b, ok = <-next {
		d.end(b.partition, b.Offset, d.deliver(b.received))
	}
}

// poll waits for records until bounded is done. It logs what went wrong with
// partitions and pauses then. ok is false when ctx is done.
//
// The group rebalances while a poll waits, and at no other time: who does not
// poll, because all that it has is under way, holds up the whole group.
func (d *Dispatcher) poll(ctx, bounded context.Context) (fetches kgo.Fetches, ok bool) {
	d.client.AllowRebalance()
	fetches = d.client.PollRecords(bounded, maxPoll)
	if ctx.Err() != nil || fetches.IsClientClosed() {
		return nil, false
	}
	failed := false
	fetches.EachError(func(topic string, partition int32, err error) {
		if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil {
			return // there was nothing
		}
		failed = true
		d.log.Warn("cannot read", "topic", topic, "partition", partition, "error", err)
	})
	if failed {
		const pause = 200 * time.Millisecond
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return fetches, true
}
