package stream

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/stream/kafkatest"
)

// TestCommitPause: an event by itself does not wait for others; those of the pause
// after it do, and share a commit, unless enough of one source wait.
func TestCommitPause(t *testing.T) {
	const pause = time.Hour
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		var commits commitCounter
		tb.def.CommitPause = pause
		e := tb.start(func(o *Options) { o.Consume, o.Observer = false, &commits })
		tb.ready(e)
		// Of the events from..to, those of every second number come from a topic if
		// there are two sources.
		deliver := func(from, to, sources int) (took time.Duration, inCommits int) {
			before, began := commits.count(), time.Now()
			var all sync.WaitGroup
			for i := from; i < to; i++ {
				all.Go(func() {
					ev := numbered{id: strconv.Itoa(i), key: "k", n: 1, at: began}.event()
					if i%sources == 1 {
						ev.Extensions = append(ev.Extensions, events.Extension{Name: events.ExtTopic, Value: tb.in})
					}
					if err := e.Deliver(t.Context(), e.Place(ev), ev); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			return time.Since(began), commits.count() - before
		}
		if took, _ := deliver(0, 1, 1); took > time.Minute {
			t.Errorf("the first event took %v", took)
		}
		if took, n := deliver(1, enoughWaiting, 1); took < pause-time.Minute || took > pause+time.Minute || n != 1 {
			t.Errorf("%d events took %v and %d commits, want a pause of %v and 1", enoughWaiting-1, took, n, pause)
		}
		if took, n := deliver(100, 98+2*enoughWaiting, 2); took < pause-time.Minute || n != 1 {
			t.Errorf("%d events of each of two sources took %v and %d commits, want a pause of %v and 1", enoughWaiting-1, took, n, pause)
		}
		if took, _ := deliver(200, 200+enoughWaiting, 1); took > time.Minute {
			t.Errorf("%d events took %v, want no pause", enoughWaiting, took)
		}
		// Of a source that has ten times as many under way, half have to wait, and
		// after a while as few as before are enough.
		deliver(1000, 1000+10*enoughWaiting, 1)
		if took, n := deliver(2000, 2000+enoughWaiting, 1); took < pause-time.Minute || n != 1 {
			t.Errorf("%d events after many took %v and %d commits, want a pause of %v and 1", enoughWaiting, took, n, pause)
		}
		for i := 3000; ; i += 100 {
			if i == 5000 {
				t.Fatalf("%d events still have to wait", enoughWaiting)
			}
			if took, _ := deliver(i, i+enoughWaiting, 1); took < time.Minute {
				break
			}
		}
		time.Sleep(pause)
		if took, _ := deliver(9000, 9001, 1); took > time.Minute {
			t.Errorf("after a pause an event took %v", took)
		}
	})
}

// commitCounter counts the commits that have events.
type commitCounter struct {
	nopObserver
	mu sync.Mutex
	n  int
}

func (c *commitCounter) Committed(_ string, commit *Commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(commit.Events) > 0 {
		c.n++
	}
}

func (c *commitCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
