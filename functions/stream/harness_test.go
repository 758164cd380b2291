package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/step"
	"datasurge/functions/stream/kafkatest"
)

// testbed is a Kafka with the topics of one function that sums numbers by key, and
// a count of what was produced to it.
type testbed struct {
	kafkatest.Backend
	t          testing.TB
	def        step.Definition
	in, out    string
	partitions int

	produced []numbered // in the order of production
	engines  []*Engine  // all that were started
}

// numbered is one event of the test: id is unique, n goes to the sum of key.
type numbered struct {
	id, key string
	n       int64
	at      time.Time
}

const typeNumber = "test.number.v1"

func newTestbed(t testing.TB, b kafkatest.Backend, partitions int) *testbed {
	name := b.Name(t, "sum")
	tb := &testbed{Backend: b, t: t, partitions: partitions, in: name + "-in", out: name + "-out"}
	tb.def = sumDefinition(name, tb.in, tb.out)
	tb.CreateTopic(t, tb.in, int32(partitions), nil)
	tb.CreateTopic(t, tb.out, int32(partitions), nil)
	tb.createState(tb.def.Name)
	ensureShared(t, b)
	return tb
}

func (tb *testbed) createState(function string) {
	tb.CreateTopic(tb.t, ChangelogTopic(function), int32(tb.partitions), map[string]string{
		"cleanup.policy": "compact", "retention.ms": "-1", "delete.retention.ms": "60000",
	})
}

// ensureShared creates the topics that every function shares.
func ensureShared(t testing.TB, b kafkatest.Backend) {
	for _, topic := range []string{events.TopicLate, events.TopicDeadLetters} {
		_, err := kadm.NewClient(b.Client(t)).CreateTopic(t.Context(), 1, -1, nil, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Fatalf("create %s: %v", topic, err)
		}
	}
}

// kindSum is the key kind of a sum.
const kindSum = step.FirstKind

// sumDefinition sums numbers by key. Each event becomes one output with the same
// id, whose data is "key total count" with the event in them.
func sumDefinition(name, in, out string) step.Definition {
	return step.Definition{
		Name:     name,
		Inputs:   []step.Input{{Topic: in, Types: []string{typeNumber}}},
		Outputs:  []step.Output{{Topic: out, Watermarks: true}},
		Settings: "sum 1",
		Codecs: map[byte]step.Codec{kindSum: {
			Append: func(dst []byte, v any) []byte {
				s := v.(*sum)
				return binary.AppendVarint(binary.AppendVarint(dst, s.total), s.count)
			},
			Parse: func(data []byte) (any, error) {
				r := newReader(data)
				return &sum{r.Varint(), r.Varint()}, r.problem()
			},
		}},
		New: func(step.Task) step.Function { return &sums{out: out} },
	}
}

type sum struct{ total, count int64 }

type sums struct{ out string }

func (s *sums) Step(tx step.Tx, e *events.Event) error {
	n, err := strconv.ParseInt(string(e.Data), 10, 64)
	if err != nil {
		return &events.InvalidError{Path: "$", Reason: "is no number"}
	}
	if err := tx.Observe(e.Time.UnixMilli()); err != nil {
		return err
	}
	key := append([]byte{kindSum}, e.Key...)
	v, _ := tx.Get(key).(*sum)
	if v == nil {
		v = &sum{}
	}
	v.total += n
	v.count++
	tx.Put(key, v)
	tx.Emit(s.out, &events.Event{
		ID: e.ID, Source: "/test/sum", Type: "test.sum.v1", Key: e.Key, Time: e.Time,
		Data: fmt.Appendf(nil, "%s %d %d", e.Key, v.total, v.count),
	})
	return nil
}

func (s *sums) Tick(step.Tx, time.Time) error { return nil }

// event returns the CloudEvent of n.
func (n numbered) event() *events.Event {
	return &events.Event{
		ID: n.id, Source: "/test", Type: typeNumber, Key: n.key, Time: n.at.UTC(),
		Data: strconv.AppendInt(nil, n.n, 10),
	}
}

// produce writes count numbers over keys keys to the input, in transactions of
// their own when transactional is set, and remembers them.
func (tb *testbed) produce(count, keys int, at time.Time) []numbered {
	tb.t.Helper()
	var records []*kgo.Record
	var made []numbered
	for range count {
		i := len(tb.produced)
		n := numbered{id: "n" + strconv.Itoa(i), key: "k" + strconv.Itoa(i%keys), n: int64(i % 97), at: at.Add(time.Duration(i) * time.Millisecond)}
		rec := &kgo.Record{}
		kafkarecord.Write(n.event(), rec)
		records = append(records, rec)
		tb.produced = append(tb.produced, n)
		made = append(made, n)
	}
	tb.Produce(tb.t, tb.in, records...)
	return made
}

// reference is what a single thread makes of everything produced, by id.
func (tb *testbed) reference() map[string]string {
	totals, want := map[string]*sum{}, map[string]string{}
	for _, n := range tb.produced {
		s := totals[n.key]
		if s == nil {
			s = &sum{}
			totals[n.key] = s
		}
		s.total += n.n
		s.count++
		want[n.id] = fmt.Sprintf("%s %d %d", n.key, s.total, s.count)
	}
	return want
}

// check waits until every event has an output and compares with the reference: 0
// missing, 0 extra, 0 different.
func (tb *testbed) check() {
	tb.t.Helper()
	tb.checkWithin(time.Minute)
}

func (tb *testbed) checkWithin(d time.Duration) {
	tb.t.Helper()
	want := tb.reference()
	tb.awaitWithin(d, tb.out, len(want), isSum)
	tb.compare(want, true)
}

// await reads topic until it has seen n committed records that count.
func (tb *testbed) await(topic string, n int, counts func(*kgo.Record) bool) {
	tb.t.Helper()
	tb.awaitWithin(time.Minute, topic, n, counts)
}

func (tb *testbed) awaitWithin(d time.Duration, topic string, n int, counts func(*kgo.Record) bool) {
	tb.t.Helper()
	cl := tb.Client(tb.t, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	got := 0
	for got < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			tb.t.Fatalf("saw %d of %d records in %s: %v\n%s", got, n, topic, err, tb.offsets())
		}
		for rec := range fetches.RecordsAll() {
			if counts(rec) {
				got++
			}
		}
	}
}

// offsets describes where every topic ends, for all readers and for those with
// read_committed: where the two differ, a transaction is open.
func (tb *testbed) offsets() string {
	var b strings.Builder
	admin := kadm.NewClient(tb.Client(tb.t))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, topic := range []string{tb.in, tb.out, ChangelogTopic(tb.def.Name)} {
		stable, err1 := admin.ListCommittedOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		if err := errors.Join(err1, err2); err != nil {
			return err.Error()
		}
		ends.Each(func(o kadm.ListedOffset) {
			s, _ := stable.Lookup(topic, o.Partition)
			fmt.Fprintf(&b, "%s/%d ends at %d, stable to %d\n", topic, o.Partition, o.Offset, s.Offset)
		})
	}
	for _, e := range tb.engines {
		fmt.Fprintf(&b, "an engine stands at %v (%v)\n", e.Positions(), e.Err())
	}
	return b.String()
}

// compare compares what a read_committed reader sees of the output with want. Out
// of order, only the multiset of counts by key is fixed.
func (tb *testbed) compare(want map[string]string, ordered bool) {
	tb.t.Helper()
	seen := map[string]bool{}
	var missing, extra, different int
	last := map[string]int64{}
	for _, rec := range tb.ReadCommitted(tb.t, tb.out) {
		if !isSum(rec) {
			continue
		}
		var e events.Event
		if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
			tb.t.Fatalf("output at offset %d: %v", rec.Offset, err)
		}
		text, known := want[e.ID]
		switch {
		case !known || seen[e.ID]:
			extra++
		case ordered && text != string(e.Data):
			different++
			if different < 5 {
				tb.t.Errorf("output %s is %q, want %q", e.ID, e.Data, text)
			}
		}
		seen[e.ID] = true
		fields := strings.Fields(string(e.Data))
		if count, _ := strconv.ParseInt(fields[2], 10, 64); count != last[e.Key]+1 {
			tb.t.Errorf("key %s: count %d follows %d", e.Key, count, last[e.Key])
		} else {
			last[e.Key] = count
		}
	}
	for id := range want {
		if !seen[id] {
			missing++
		}
	}
	if missing+extra+different > 0 {
		tb.t.Fatalf("%d outputs missing, %d extra, %d different of %d", missing, extra, different, len(want))
	}
}

func isSum(rec *kgo.Record) bool {
	return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool {
		return h.Key == "ce_type" && string(h.Value) == "test.sum.v1"
	})
}

// start opens an engine for the testbed's function; change may adjust its
// options. It is closed with the test unless it was before.
func (tb *testbed) start(change func(*Options)) *Engine {
	tb.t.Helper()
	o := Options{
		Definition: tb.def, Kafka: tb.Opts(), Consume: true, Owner: Static{},
		CommitInterval: 20 * time.Millisecond, Logger: testLogger(tb.t),
	}
	o.Limits = DefaultLimits()
	o.Limits.MaxAhead = 0
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := Open(ctx, o)
	if err != nil {
		tb.t.Fatalf("open the engine: %v", err)
	}
	tb.engines = append(tb.engines, e)
	tb.t.Cleanup(func() { stop(tb.t, e) })
	return e
}

func stop(t testing.TB, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("close the engine: %v", err)
	}
}

// ready waits until e runs all partitions.
func (tb *testbed) ready(e *Engine) {
	tb.t.Helper()
	all := make([]int, tb.partitions)
	for i := range all {
		all[i] = i
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.WaitReady(ctx, all...); err != nil {
		tb.t.Fatalf("wait until all partitions are taken over: %v", err)
	}
}

// testLogger logs to t when TEST_LOG is set, and nowhere otherwise.
func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// once returns a fault that kills the first task that reaches at for the n-th
// time, and nothing after that.
func once(at faultPoint, n int, kill func()) func(int, faultPoint) error {
	var mu sync.Mutex
	return func(_ int, point faultPoint) error {
		if point != at {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		n--
		if n != 0 {
			return nil
		}
		kill()
		return errKilled
	}
}

// push delivers every event of the input times times, in an order that is random
// within the 99 events that a KafkaSource has in flight, to a random one of
// engines, and again until it is accepted.
func (tb *testbed) push(rng *rand.Rand, times int, engines ...*Engine) {
	tb.t.Helper()
	var list []*events.Event
	for _, rec := range tb.ReadCommitted(tb.t, tb.in) {
		for range times {
			e := &events.Event{}
			if err := kafkarecord.Read(rec, e, kafkarecord.Mapping{Place: true}); err != nil {
				tb.t.Fatal(err)
			}
			list = append(list, e)
		}
	}
	const inFlight = 99
	for part := range slices.Chunk(list, inFlight) {
		rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		var wg sync.WaitGroup
		for _, ev := range part {
			e := engines[rng.IntN(len(engines))]
			wg.Go(func() {
				for {
					err := e.Deliver(tb.t.Context(), e.Place(ev), ev)
					if err == nil {
						return
					}
					if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrNotOwner) {
						tb.t.Errorf("deliver %s: %v", ev.ID, err)
						return
					}
					time.Sleep(50 * time.Millisecond) // a source's backoff
				}
			})
		}
		wg.Wait()
	}
}

// takeovers counts how often e took the partition over.
func (e *Engine) takeovers(partition int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.mu.tasks[partition]; t != nil {
		return int(t.sessions.Load())
	}
	return 0
}

// awaitTakeover waits until e has begun to take the partition over more than
// before times.
func (e *Engine) awaitTakeover(t testing.TB, before int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); e.takeovers(0) <= before; {
		if time.Now().After(deadline) {
			t.Fatal("the fenced owner did not notice")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
