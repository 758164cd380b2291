//go:build synctests

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/dispatch"
	"datasurge/knative"
)

// bench is a broker in fake time, with the topic t, and a sink.
type bench struct {
	t     *testing.T
	kafka []kgo.Opt
	admin *kadm.Client
	c     *kgo.Client
	sink  *fakeSink
	log   strings.Builder
	pace  int
}

// fakeSink is a transport whose handler answers.
type fakeSink struct {
	handle func(ctx context.Context, body string) (status int, err error)

	mu       sync.Mutex
	bodies   []string // in order of arrival
	inFlight int
	most     int // that were in flight at a time
}

// RoundTrip implements http.RoundTripper.
func (s *fakeSink) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, string(b))
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.mu.Unlock()
	status := http.StatusAccepted
	if s.handle != nil {
		status, err = s.handle(req.Context(), string(b))
	}
	s.mu.Lock()
	s.inFlight--
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: http.NoBody, Request: req}, nil
}

func (s *fakeSink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

// fake runs fn with a bench in a bubble of fake time.
func fake(t *testing.T, partitions int32, fn func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.Listen), kfake.Ports(9092))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		b := &bench{t: t, sink: new(fakeSink), kafka: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(network.DialContext)}}
		b.c, err = kgo.NewClient(append(b.kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer b.c.Close()
		b.admin = kadm.NewClient(b.c)
		if _, err := b.admin.CreateTopic(t.Context(), partitions, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		fn(t, b)
	})
}

// produce writes n records to a partition, whose values count from first.
func (b *bench) produce(partition int32, first, n int) {
	b.t.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: "t", Partition: partition, Value: fmt.Appendf(nil, "%d/%d", partition, first+i)})
	}
	if err := b.c.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// open opens a dispatcher of a source whose spec has these fields too.
func (b *bench) open(fields string, alone bool) *Dispatcher {
	b.t.Helper()
	return b.openWith(fields, alone, func(*Spec) {})
}

// openWith is open with a change of what the manifest says.
func (b *bench) openWith(fields string, alone bool, change func(*Spec)) *Dispatcher {
	b.t.Helper()
	set, err := knative.Read("m.yaml", strings.NewReader(`
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: s}
spec: {bootstrapServers: [b], topics: [t], consumerGroup: g, sink: {uri: "http://sink/"}, `+fields+`}`))
	if err != nil {
		b.t.Fatal(err)
	}
	spec := ForKafkaSource(set.Sources[0])
	spec.Subscriber = dispatch.Target{URL: "http://sink/"}
	change(&spec)
	d, err := Open(b.t.Context(), Config{Spec: spec, Kafka: b.kafka, Alone: alone, Pace: b.pace,
		Transport: b.sink, Logger: slog.New(slog.NewTextHandler(&b.log, nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) committed(partition int32) int64 {
	b.t.Helper()
	offsets, err := b.admin.FetchOffsets(b.t.Context(), "g")
	if err != nil {
		return -1
	}
	o, ok := offsets.Lookup("t", partition)
	if !ok {
		return -1
	}
	return o.At
}

func numbers(partition, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%d/%d", partition, i))
	}
	return list
}

// TestUnordered: 99 events are under way at most, and that many are.
func TestUnordered(t *testing.T) {
	fake(t, 4, func(t *testing.T, b *bench) {
		for p := range int32(4) {
			b.produce(p, 0, 500)
		}
		b.sink.handle = func(_ context.Context, body string) (int, error) {
			time.Sleep(time.Duration(1+len(body)%3) * 100 * time.Millisecond)
			return 202, nil
		}
		d := b.open("initialOffset: earliest, ordering: unordered", true)
		time.Sleep(time.Minute)
		d.Close(t.Context())
		if got := len(b.sink.got()); got != 2000 {
			t.Errorf("%d events, want 2000", got)
		}
		if b.sink.most < maxPoll || b.sink.most > 2*maxPoll-1 {
			t.Errorf("%d were under way at a time", b.sink.most)
		}
		if s := d.Stats(); s.Delivered != 2000 || s.InFlight != 0 || s.Latencies.Quantile(0.5) < 100*time.Millisecond {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestOrdered: one event of a partition at a time, in order, 250 a second at
// most in all.
func TestOrdered(t *testing.T) {
	fake(t, 2, func(t *testing.T, b *bench) {
		b.produce(0, 0, 1000)
		b.produce(1, 0, 1000)
		d := b.open("initialOffset: earliest, ordering: ordered", true)
		time.Sleep(4 * time.Second)
		if got := d.Stats().Delivered; got < 900 || got > 1000 {
			t.Errorf("%d events in 4 s, want 250 a second", got)
		}
		time.Sleep(time.Minute)
		d.Close(t.Context())
		for p := range 2 {
			got := slices.DeleteFunc(b.sink.got(), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(p, "/")) })
			if diff := cmp.Diff(numbers(p, 1000), got); diff != "" {
				t.Errorf("partition %d (-want +got):\n%s", p, diff)
			}
		}
	})
}

// TestCommit: every five seconds, up to the first event that is not done.
func TestCommit(t *testing.T) {
	fake(t, 1, func(t *testing.T, b *bench) {
		b.produce(0, 0, 10)
		release := make(chan struct{})
		b.sink.handle = func(_ context.Context, body string) (int, error) {
			if body == "0/3" {
				<-release
			}
			return 202, nil
		}
		d := b.open("initialOffset: earliest, ordering: unordered", true)
		time.Sleep(4 * time.Second)
		if got := b.committed(0); got != -1 {
			t.Errorf("before 5 s: %d", got)
		}
		time.Sleep(2 * time.Second)
		if got := b.committed(0); got != 3 {
			t.Errorf("after 6 s: %d, want 3", got)
		}
		close(release)
		time.Sleep(time.Second)
		if got := b.committed(0); got != 3 {
			t.Errorf("after 7 s: %d, want 3", got)
		}
		time.Sleep(4 * time.Second)
		if got := b.committed(0); got != 10 {
			t.Errorf("after 11 s: %d, want 10", got)
		}
		d.Close(t.Context())
		d.Close(t.Context()) // twice is allowed
	})
}

// TestClose: what is under way ends and is committed; what does not end in time
// is cut and comes again, alone.
func TestClose(t *testing.T) {
	for _, ordering := range []string{"ordered", "unordered"} {
		t.Run(ordering, func(t *testing.T) {
			fake(t, 1, func(t *testing.T, b *bench) {
				b.produce(0, 0, 5)
				hang := true
				b.sink.handle = func(ctx context.Context, body string) (int, error) {
					switch {
					case body == "0/4" && hang:
						<-ctx.Done()
						return 0, ctx.Err()
					default:
						time.Sleep(100 * time.Millisecond)
						return 202, nil
					}
				}
				d := b.open("initialOffset: earliest, ordering: "+ordering, true)
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				d.Close(ctx)
				if took := time.Since(start); took < time.Second || took > 1100*time.Millisecond {
					t.Errorf("Close took %v", took)
				}
				if got := b.committed(0); got != 4 {
					t.Errorf("committed %d, want 4", got)
				}
				hang = false
				d = b.open("initialOffset: earliest, ordering: "+ordering, true)
				time.Sleep(2 * time.Second)
				d.Close(t.Context())
				if diff := cmp.Diff(append(numbers(0, 5), "0/4"), sorted(b.sink.got())); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if got := b.committed(0); got != 5 {
					t.Errorf("committed %d, want 5", got)
				}
			})
		})
	}
}

// sorted sorts events, with repeated ones at the end.
func sorted(events []string) []string {
	slices.Sort(events)
	seen := make(map[string]bool)
	var first, again []string
	for _, e := range events {
		if seen[e] {
			again = append(again, e)
		} else {
			first = append(first, e)
		}
		seen[e] = true
	}
	return append(first, again...)
}

// TestLatest: the position is set when the source is opened, so what comes
// between that and the first poll is delivered; the next time it goes on.
func TestLatest(t *testing.T) {
	fake(t, 2, func(t *testing.T, b *bench) {
		b.produce(0, 0, 3)
		d := b.open("initialOffset: latest, ordering: unordered", true)
		if b.committed(0) != 3 || b.committed(1) != 0 {
			t.Errorf("positions %d and %d, want 3 and 0", b.committed(0), b.committed(1))
		}
		b.produce(0, 3, 1)
		b.produce(1, 0, 1)
		time.Sleep(time.Second)
		d.Close(t.Context())
		b.produce(0, 4, 1)
		d = b.open("initialOffset: latest, ordering: unordered", true)
		time.Sleep(time.Second)
		d.Close(t.Context())
		if diff := cmp.Diff([]string{"0/3", "0/4", "1/0"}, sorted(b.sink.got())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestGroup: two members share the partitions of a group; when one leaves, the
// other has all. Nothing is missed, and what was committed does not come again.
func TestGroup(t *testing.T) {
	fake(t, 4, func(t *testing.T, b *bench) {
		first := b.open("initialOffset: earliest, ordering: unordered", false)
		second := b.open("initialOffset: earliest, ordering: unordered", false)
		time.Sleep(30 * time.Second)
		for p := range int32(4) {
			b.produce(p, 0, 10)
		}
		time.Sleep(10 * time.Second)
		if a, z := first.Stats().Delivered, second.Stats().Delivered; a != 20 || z != 20 {
			t.Errorf("%d and %d events, want 20 each", a, z)
		}
		second.Close(t.Context())
		time.Sleep(30 * time.Second)
		for p := range int32(4) {
			b.produce(p, 10, 10)
		}
		time.Sleep(10 * time.Second)
		first.Close(t.Context())
		if got := len(b.sink.got()); got != 80 {
			t.Errorf("%d requests, want 80", got)
		}
		for p := range int32(4) {
			if got := b.committed(p); got != 20 {
				t.Errorf("partition %d: committed %d, want 20", p, got)
			}
		}
	})
}

// TestNoTopic: the error names the field of the manifest.
func TestNoTopic(t *testing.T) {
	fake(t, 1, func(t *testing.T, b *bench) {
		if _, err := b.admin.DeleteTopic(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		set, err := knative.Read("m.yaml", strings.NewReader(`
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: s}
spec:
  bootstrapServers: [b]
  topics: [t]
  sink: {uri: "http://sink/"}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), Config{Spec: ForKafkaSource(set.Sources[0]), Kafka: b.kafka, Alone: true, Transport: b.sink, Logger: slog.New(slog.DiscardHandler)})
		e, ok := errors.AsType[*knative.Error](err)
		if !ok || e.Line != 7 || e.Field != "spec.topics" {
			t.Errorf("error %v", err)
		}
	})
}

// TestLoss: an event without a dead letter sink is lost, which is said.
func TestLoss(t *testing.T) {
	fake(t, 1, func(t *testing.T, b *bench) {
		b.produce(0, 0, 3)
		b.sink.handle = func(context.Context, string) (int, error) { return 400, nil }
		d := b.open("initialOffset: earliest, ordering: unordered", true)
		time.Sleep(6 * time.Second)
		if s := d.Stats(); s.Lost != 3 || s.Failed != 3 || s.Delivered != 0 {
			t.Errorf("stats %+v", s)
		}
		if b.committed(0) != 3 {
			t.Errorf("committed %d: the position moves on", b.committed(0))
		}
		d.Close(t.Context())
		if n := strings.Count(b.log.String(), "EVENT LOST"); n != 3 {
			t.Errorf("said %d times: %s", n, &b.log)
		}
	})
}
