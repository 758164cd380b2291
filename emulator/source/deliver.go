package source

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/dispatch"
)

// received is a record that was polled.
type received struct {
	*kgo.Record
	// discardPlain: the poll had a record with a null header, for which the
	// plain records of all partitions in it are lost.
	discardPlain bool
}

// polled calls fn for each record of a poll.
func (d *Dispatcher) polled(fetches kgo.Fetches, fn func(received)) {
	poisoned := false
	if d.spec.PlainRecords {
		fetches.EachRecord(func(rec *kgo.Record) { poisoned = poisoned || dispatch.HasNullHeader(rec) })
	}
	fetches.EachRecord(func(rec *kgo.Record) { fn(received{rec, poisoned}) })
}

// deliver has one record delivered. It reports whether that has ended: not when
// the dispatcher was closed first.
func (d *Dispatcher) deliver(rec received) bool {
	start := time.Now()
	switch r := d.deliverer.Deliver(d.requests, rec.Record, rec.discardPlain); r.End {
	case dispatch.Delivered:
		d.delivered.Add(1)
		d.latencies.add(time.Since(start))
	case dispatch.DeadLettered:
		d.deadLetters.Add(1)
		if n, ok := d.dead.allow(time.Now()); ok {
			d.log.Warn("event went to the dead letter sink", place(rec), d.sink(), "because", r.Why, "more", n)
		}
	case dispatch.Lost, dispatch.NoEvent:
		d.lost.Add(1)
		d.log.Error("EVENT LOST, as it would be on a cluster", place(rec), d.sink(), "because", r.Why, "last", r.Last)
	case dispatch.Filtered:
		d.filtered.Add(1)
	case dispatch.Stuck:
		d.stuck.Add(1)
		d.log.Error("EVENT NEVER ENDS, as on a cluster: nothing behind it in its partition is committed", place(rec), d.sink(), "because", r.Why, "last", r.Last)
		<-d.requests.Done()
		return false
	case dispatch.Cut:
		return false
	}
	return true
}

func place(rec received) slog.Attr {
	return slog.Group("record", slog.String("topic", rec.Topic), slog.Int("partition", int(rec.Partition)), slog.Int64("offset", rec.Offset))
}

// sink names who the events are for.
func (d *Dispatcher) sink() slog.Attr { return slog.String("sink", d.spec.Subscriber.URL) }

// produce writes a reply to its topic.
func (d *Dispatcher) produce(ctx context.Context, rec *kgo.Record) error {
	return d.replies.ProduceSync(ctx, rec).FirstErr()
}

// limiter lets one message a second through.
type limiter struct {
	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// allow reports whether to speak now, and how often it was refused since the
// last time.
func (l *limiter) allow(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < time.Second {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed, l.last = l.suppressed, 0, now
	return suppressed, true
}

// begin notes that a record is being worked on. d.mu is held.
func (d *Dispatcher) begin(rec received) *partition {
	key := topicPartition{rec.Topic, rec.Partition}
	p := d.mu.partitions[key]
	if p == nil {
		p = newPartition(rec.Topic, rec.Partition, rec.Offset)
		d.mu.partitions[key] = p
	}
	p.received(rec.Offset)
	d.mu.inFlight++
	return p
}

// end notes that a record's work is over. p may have been given to another
// member meanwhile, and does not matter then.
func (d *Dispatcher) end(p *partition, offset int64, done bool) {
	d.mu.Lock()
	if done {
		p.done(offset)
	}
	d.mu.inFlight--
	d.mu.Unlock()
	select {
	case d.mu.freed <- struct{}{}:
	default:
	}
}
