//go:build synctests

package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/golden"
	"datasurge/knative"
)

const manifest = `
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: s}
spec:
  bootstrapServers: [b]
  topics: [t]
  sink: {uri: "http://sink/"}
`

// TestRefusedDelivery: what the API refuses in a delivery.
func TestRefusedDelivery(t *testing.T) {
	golden.Row(t, 16, golden.FromSourceReading)
	for field, value := range map[string]string{
		"retryAfterMax": "PT5S", "backoffDelay": "5 seconds", "timeout": "P", "backoffPolicy": "random", "retry": "-1",
	} {
		_, err := knative.Read("m.yaml", strings.NewReader(manifest+fmt.Sprintf("  delivery: {%s: %s}\n", field, value)))
		e, ok := errors.AsType[*knative.Error](err)
		if !ok || e.Line != 9 || !strings.HasSuffix(e.Field, field) {
			t.Errorf("%s: %s: error %v", field, value, err)
		}
	}
}

// TestGroupOfASource: the group of a source cannot be changed, is invented when there is
// none, and goes with the source.
func TestGroupOfASource(t *testing.T) {
	golden.Row(t, 26, golden.FromSourceReading)
	read := func(group string) *knative.Set {
		set, err := knative.Read("m.yaml", strings.NewReader(manifest+"  consumerGroup: "+group+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	if err := read("other").CheckUpdate(read("g")); err == nil || !strings.Contains(err.Error(), "consumerGroup") {
		t.Errorf("another group: %v", err)
	}
	if err := read("g").CheckUpdate(read("g")); err != nil {
		t.Errorf("the same group: %v", err)
	}
	if a, z := randomGroup(), randomGroup(); a == z || !strings.HasPrefix(a, "knative-kafka-source-") {
		t.Errorf("invented groups %s and %s", a, z)
	}
	fake(t, 1, func(t *testing.T, b *bench) {
		b.produce(0, 0, 2)
		for range 2 { // with the group its position has gone
			d := b.open("initialOffset: earliest", false)
			time.Sleep(10 * time.Second)
			if b.committed(0) != 2 {
				t.Errorf("committed %d, want 2", b.committed(0))
			}
			if err := d.Remove(t.Context()); err != nil {
				t.Error(err)
			}
			if b.committed(0) != -1 {
				t.Errorf("after it was removed: committed %d", b.committed(0))
			}
		}
		if diff := cmp.Diff([]string{"0/0", "0/1", "0/0", "0/1"}, b.sink.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestUnorderedBound: a full poll is followed by another only when one of its
// events has ended; then 99 are under way.
func TestUnorderedBound(t *testing.T) {
	golden.Row(t, 21, golden.FromSourceReading)
	for pace, want := range map[int]int{1: 2*maxPoll - 1, 3: 3*maxPoll + maxPoll - 1} {
		fake(t, 1, func(t *testing.T, b *bench) {
			release := make(chan struct{})
			b.sink.handle = func(context.Context, string) (int, error) {
				<-release
				return 202, nil
			}
			b.produce(0, 0, 500)
			b.pace = pace
			d := b.open("initialOffset: earliest, ordering: unordered", true)
			time.Sleep(time.Minute)
			if got := d.Stats().InFlight; got != maxPoll*pace {
				t.Errorf("pace %d: %d under way, want %d", pace, got, maxPoll*pace)
			}
			release <- struct{}{}
			time.Sleep(time.Minute)
			if got := d.Stats().InFlight; got != want {
				t.Errorf("pace %d: %d under way, want %d", pace, got, want)
			}
			close(release)
			time.Sleep(time.Minute)
			d.Close(t.Context())
			if b.sink.most != want || b.committed(0) != 500 {
				t.Errorf("pace %d: %d under way at most, want %d; committed %d", pace, b.sink.most, want, b.committed(0))
			}
		})
	}
}

// TestRebalanceWaits: a member whose partitions all have something waiting does
// not poll, so a new member gets nothing until it does, and nothing comes twice.
func TestRebalanceWaits(t *testing.T) {
	golden.Row(t, 24, golden.FromSourceReading)
	fake(t, 2, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.sink.handle = func(_ context.Context, body string) (int, error) {
			if strings.HasSuffix(body, "/0") {
				<-release
			}
			return 202, nil
		}
		b.produce(0, 0, 2)
		b.produce(1, 0, 2)
		first := b.open("initialOffset: earliest", false)
		time.Sleep(time.Second)
		second := b.open("initialOffset: earliest", false)
		time.Sleep(2*time.Minute + pollEvery/4) // between two polls
		if a, z := first.Stats().InFlight, second.Stats().InFlight; a != 2 || z != 0 {
			t.Errorf("%d and %d in flight, want 2 and 0", a, z)
		}
		close(release)
		time.Sleep(20 * time.Second)
		b.produce(0, 2, 5)
		b.produce(1, 2, 5)
		time.Sleep(20 * time.Second)
		if a, z := first.Stats().Delivered, second.Stats().Delivered; a != 4+5 || z != 5 {
			t.Errorf("%d and %d delivered, want 9 and 5", a, z)
		}
		if got := sorted(b.sink.got()); len(got) != 14 {
			t.Errorf("requests %v", got)
		}
		first.Close(t.Context())
		second.Close(t.Context())
	})
}

// TestPausedPartitionComesBack: one that was paused when it was revoked, because
// records of it waited, is read again when it comes back.
func TestPausedPartitionComesBack(t *testing.T) {
	fake(t, 2, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.sink.handle = func(_ context.Context, body string) (int, error) {
			if body == "0/0" {
				<-release
			}
			return 202, nil
		}
		b.produce(1, 0, 1)
		first := b.open("initialOffset: earliest", false)
		time.Sleep(time.Second)
		b.produce(0, 0, 3) // the others wait, so that partition 0 is paused
		time.Sleep(10 * time.Second)
		second := b.open("initialOffset: earliest", false)
		time.Sleep(30 * time.Second)
		close(release)
		time.Sleep(30 * time.Second)
		second.Close(t.Context())
		time.Sleep(30 * time.Second)
		b.produce(0, 3, 2)
		b.produce(1, 1, 2)
		time.Sleep(30 * time.Second)
		first.Close(t.Context())
		if b.committed(0) != 5 || b.committed(1) != 3 {
			t.Errorf("committed %d and %d, want 5 and 3; requests %v", b.committed(0), b.committed(1), sorted(b.sink.got()))
		}
	})
}

// TestPartitionsThatComeLater begin at their start, also with latest.
func TestPartitionsThatComeLater(t *testing.T) {
	golden.Row(t, 25, golden.FromSourceReading)
	fake(t, 1, func(t *testing.T, b *bench) {
		b.produce(0, 0, 1)
		d := b.open("initialOffset: latest", false)
		time.Sleep(10 * time.Second)
		if _, err := b.admin.CreatePartitions(t.Context(), 1, "t"); err != nil {
			t.Fatal(err)
		}
		b.c.ForceMetadataRefresh()
		time.Sleep(time.Second)
		b.produce(1, 0, 1)
		time.Sleep(10 * time.Minute) // until the member has seen the partition
		d.Close(t.Context())
		if diff := cmp.Diff([]string{"1/0"}, b.sink.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestOneClock: polls, attempts, pauses, timeouts and commits are all of the
// clock that the test advances, and exact by it.
func TestOneClock(t *testing.T) {
	golden.Row(t, 39, golden.OwnRule)
	fake(t, 1, func(t *testing.T, b *bench) {
		var at []time.Duration
		start := time.Now()
		b.sink.handle = func(ctx context.Context, _ string) (int, error) {
			at = append(at, time.Since(start))
			if len(at) == 3 {
				<-ctx.Done() // times out
				return 0, context.Cause(ctx)
			}
			return 503, nil
		}
		b.produce(0, 0, 1)
		d := b.open("initialOffset: earliest, delivery: {retry: 4, backoffPolicy: exponential, backoffDelay: PT1S, timeout: PT30S}", true)
		time.Sleep(5 * time.Minute)
		d.Close(t.Context())
		for i := range at {
			at[i] -= at[0] * min(1, time.Duration(i))
		}
		at[0] = 0
		const s = time.Second
		if diff := cmp.Diff([]time.Duration{0, 2 * s, 6 * s, 44 * s, 60 * s}, at); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
	})
}

// TestKill: nothing is committed and what is under way is cut; the next one
// begins at once where nobody waits for a group.
func TestKill(t *testing.T) {
	for _, ordering := range []string{"ordered", "unordered"} {
		t.Run(ordering, func(t *testing.T) {
			fake(t, 1, func(t *testing.T, b *bench) {
				cut := 0
				b.sink.handle = func(ctx context.Context, body string) (int, error) {
					if body == "0/2" && cut == 0 {
						<-ctx.Done()
						cut++
						return 0, context.Cause(ctx)
					}
					return 202, nil
				}
				b.produce(0, 0, 4)
				d := b.open("initialOffset: earliest, ordering: "+ordering, true)
				time.Sleep(2 * time.Second)
				d.Kill()
				d.Kill() // twice is allowed, and Close after it
				d.Close(t.Context())
				if cut != 1 || b.committed(0) != -1 {
					t.Errorf("%d cut, committed %d", cut, b.committed(0))
				}
				before := len(b.sink.got())
				d = b.open("initialOffset: earliest, ordering: "+ordering, true)
				time.Sleep(10 * time.Second)
				d.Close(t.Context())
				if got := b.sink.got()[before:]; len(got) != 4 || b.committed(0) != 4 {
					t.Errorf("again %v, committed %d", got, b.committed(0))
				}
			})
		})
	}
}

// TestLossIsSaid: whatever Knative would lose, once for each event, with its place
// and the reason.
func TestLossIsSaid(t *testing.T) {
	fake(t, 1, func(t *testing.T, b *bench) {
		b.sink.handle = func(context.Context, string) (int, error) { return 500, nil }
		batch := []*kgo.Record{
			{Topic: "t", Value: []byte("plain")},
			{Topic: "t", Value: []byte("null header"), Headers: []kgo.RecordHeader{{Key: "h"}}},
		}
		if err := b.c.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		d := b.open("initialOffset: earliest, delivery: {retry: 3, backoffDelay: PT1S}", true)
		time.Sleep(time.Minute)
		b.produce(0, 2, 1)
		time.Sleep(time.Minute)
		d.Close(t.Context())
		log := b.log.String()
		for _, want := range []string{
			"record.offset=0 sink=http://sink/ because=\"a record of the same poll has a header with a null value\"",
			"record.offset=1 sink=http://sink/ because=\"a header has a null value\"",
			"record.offset=2 sink=http://sink/ because=\"there is no dead letter sink\" last=\"answered 500\"",
		} {
			if n := strings.Count(log, want); n != 1 {
				t.Errorf("%q is said %d times in\n%s", want, n, log)
			}
		}
		if n := strings.Count(log, "EVENT LOST"); n != 3 {
			t.Errorf("%d losses are said, want 3:\n%s", n, log)
		}
		if s := d.Stats(); s.Lost != 3 || b.committed(0) != 3 {
			t.Errorf("stats %+v, committed %d", s, b.committed(0))
		}
	})
}

// TestStuckIsSaid: an event that never ends is said to, and does not keep Close
// for longer than it may take.
func TestStuckIsSaid(t *testing.T) {
	fake(t, 1, func(t *testing.T, b *bench) {
		b.produce(0, 0, 2)
		d := b.openWith("initialOffset: earliest", true, func(s *Spec) { s.Overrides = map[string]string{"with-dash": "v"} })
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d.Close(ctx)
		if s := d.Stats(); s.Stuck != 1 || s.Lost != 0 || len(b.sink.got()) != 0 || b.committed(0) != -1 {
			t.Errorf("stats %+v, committed %d", s, b.committed(0))
		}
		if n := strings.Count(b.log.String(), "EVENT NEVER ENDS"); n != 1 {
			t.Errorf("said %d times: %s", n, &b.log)
		}
	})
}
