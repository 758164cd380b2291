package stream

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/step"
	"datasurge/functions/stream/kafkatest"
)

// hops is two functions in a row: the first gives each event another key, so
// that every partition behind it holds events of all tasks; the second counts by
// minute and key, and refuses what comes after its window was closed.
type hops struct {
	*testbed
	mid, result string
	first, last step.Definition
}

const (
	hopPartitions = 4
	hopKeys       = 20
	hopLateness   = 10 * time.Second
)

func newHops(t testing.TB, b kafkatest.Backend) *hops {
	h := &hops{testbed: newTestbed(t, b, hopPartitions)}
	h.mid, h.result = h.out, b.Name(t, "result")
	h.CreateTopic(t, h.result, hopPartitions, nil)
	h.first = step.Definition{
		Name:    b.Name(t, "rekey"),
		Inputs:  []step.Input{{Topic: h.in, Types: []string{typeNumber}}},
		Outputs: []step.Output{{Topic: h.mid, Watermarks: true}},
		New:     func(step.Task) step.Function { return rekey{h.mid} },
	}
	h.last = step.Definition{
		Name:    b.Name(t, "minutes"),
		Inputs:  []step.Input{{Topic: h.mid, Types: []string{typeNumber}, Upstream: true}},
		Outputs: []step.Output{{Topic: h.result}},
		Codecs:  h.def.Codecs,
		New:     func(step.Task) step.Function { return minutes{h.result} },
	}
	h.createState(h.first.Name)
	h.createState(h.last.Name)
	return h
}

type rekey struct{ to string }

func (f rekey) Step(tx step.Tx, e *events.Event) error {
	if err := tx.Observe(e.Time.UnixMilli()); err != nil {
		return err
	}
	out := *e
	out.Extensions = nil
	out.Key = "r" + strconv.Itoa(int(murmur2([]byte(e.ID))%hopKeys))
	tx.Emit(f.to, &out)
	return nil
}
func (rekey) Tick(step.Tx, time.Time) error { return nil }

// minutes keeps a count per key and minute under kindSum, key, 0, start.
type minutes struct{ to string }

func (f minutes) Step(tx step.Tx, e *events.Event) error {
	minute := e.Time.Truncate(time.Minute)
	if minute.Add(time.Minute+hopLateness).UnixMilli() <= tx.Watermark() {
		return &step.LateError{Reason: "late"}
	}
	key := step.AppendTime(append([]byte{kindSum}, e.Key+"\x00"...), minute.UnixMilli())
	v, _ := tx.Get(key).(*sum)
	if v == nil {
		v = &sum{}
		open, _ := tx.Get([]byte{kindOpen}).(windows)
		tx.Put([]byte{kindOpen}, append(open, string(key)))
	}
	v.count++
	tx.Put(key, v)
	return nil
}

func (f minutes) Tick(tx step.Tx, _ time.Time) error {
	open, _ := tx.Get([]byte{kindOpen}).(windows)
	slices.Sort(open)
	kept := windows{}
	for _, key := range open {
		at := step.KeyTime([]byte(key))
		if at+(time.Minute+hopLateness).Milliseconds() > tx.Watermark() {
			kept = append(kept, key)
			continue
		}
		name := key[1 : len(key)-9]
		tx.Emit(f.to, &events.Event{
			ID: name + strconv.FormatInt(at, 10), Source: "/test", Type: "test.minute.v1", Key: name,
			Data: fmt.Appendf(nil, "%s %d %d", name, at, tx.Get([]byte(key)).(*sum).count),
		})
		tx.Delete([]byte(key))
	}
	if len(kept) != len(open) {
		tx.Put([]byte{kindOpen}, kept)
	}
	return nil
}

// windows is the list of open windows, a value of kindOpen.
type windows []string

const kindOpen = kindSum + 1

func windowsCodec() step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte {
			dst = binary.AppendUvarint(dst, uint64(len(v.(windows))))
			for _, s := range v.(windows) {
				dst = appendText(dst, s)
			}
			return dst
		},
		Parse: func(data []byte) (any, error) {
			r, list := newReader(data), windows{}
			for range r.Items() {
				list = append(list, r.Text())
			}
			return list, r.problem()
		},
	}
}

// backlog writes an hour of events, one every hundred milliseconds, over
// partitions of the input, in order within each.
func (h *hops) backlog(partitions ...int32) {
	h.t.Helper()
	cl := h.Client(h.t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	rng := rand.New(rand.NewPCG(9, 9))
	var records []*kgo.Record
	for i := range int(time.Hour / (100 * time.Millisecond)) {
		n := numbered{id: "n" + strconv.Itoa(i), key: "k", n: 1, at: start.Add(time.Duration(i) * 100 * time.Millisecond)}
		rec := &kgo.Record{Topic: h.in, Partition: partitions[rng.IntN(len(partitions))]}
		kafkarecord.Write(n.event(), rec)
		records = append(records, rec)
		h.produced = append(h.produced, n)
	}
	if err := cl.ProduceSync(h.t.Context(), records...).FirstErr(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hops) run(def step.Definition, change func(*Options)) *Engine {
	h.def = def
	h.def.Codecs = map[byte]step.Codec{kindSum: h.last.Codecs[kindSum], kindOpen: windowsCodec()}
	return h.start(func(o *Options) {
		o.Limits = DefaultLimits()
		o.Limits.MaxAhead = 0 // a replay
		if change != nil {
			change(o)
		}
	})
}

// checkMinutes waits until every window that the events have closed is there,
// and compares all with the reference.
func (h *hops) checkMinutes() {
	h.t.Helper()
	want := map[string]int64{}
	closed := h.produced[len(h.produced)-1].at.Add(-DefaultLimits().OutOfOrderness - hopLateness - time.Minute)
	for _, n := range h.produced {
		if minute := n.at.Truncate(time.Minute); !minute.After(closed) {
			want[fmt.Sprintf("r%d %d", murmur2([]byte(n.id))%hopKeys, minute.UnixMilli())]++
		}
	}
	h.awaitWithin(10*time.Minute, h.result, len(want), func(*kgo.Record) bool { return true })
	got := map[string]int64{}
	for _, rec := range h.ReadCommitted(h.t, h.result) {
		var name string
		var at, count int64
		if _, err := fmt.Sscan(string(rec.Value), &name, &at, &count); err != nil {
			h.t.Fatal(err)
		}
		id := fmt.Sprintf("%s %d", name, at)
		if _, twice := got[id]; twice {
			h.t.Errorf("window %s fired twice", id)
		}
		got[id] = count
	}
	wrong := 0
	for id, count := range want {
		if got[id] != count {
			if wrong++; wrong < 5 {
				h.t.Errorf("window %s has %d, want %d", id, got[id], count)
			}
		}
	}
	if late := len(h.ReadCommitted(h.t, events.TopicLate)); late > 0 || wrong > 0 {
		h.t.Fatalf("%d of %d windows are wrong, %d events are late", wrong, len(want), late)
	}
}

// slowly makes one task of the first hop read ten times slower than the others.
func slowly(task int) func(int, faultPoint) error {
	return func(n int, at faultPoint) error {
		if at == faultBegin && n == task {
			time.Sleep(2 * time.Second)
		}
		return nil
	}
}

func TestWatermarksOfABacklogReadAtDifferentSpeeds(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		h := newHops(t, b)
		h.backlog(0, 1, 2, 3)
		h.run(h.last, nil)
		h.run(h.first, func(o *Options) { o.CommitEvents, o.fault = 500, slowly(3) })
		h.checkMinutes()
	})
}

func TestWatermarksWithATaskKilledInTheMiddle(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		h := newHops(t, b)
		h.backlog(0, 1, 2, 3)
		last := h.run(h.last, nil)
		killed := make(chan struct{})
		die := once(faultFlushed, 15, func() { close(killed) })
		slow := slowly(3)
		first := h.run(h.first, func(o *Options) {
			o.CommitEvents = 500
			o.fault = func(n int, at faultPoint) error {
				if err := slow(n, at); err != nil {
					return err
				}
				return die(n, at)
			}
		})
		<-killed
		first.kill()
		last.kill()
		h.run(h.last, nil)
		h.run(h.first, func(o *Options) { o.CommitEvents, o.fault = 500, slow })
		h.checkMinutes()
	})
}

func TestWatermarksPassAPartitionThatStaysEmpty(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		h := newHops(t, b)
		h.backlog(0, 1, 3)
		h.run(h.last, nil)
		h.run(h.first, nil)
		began := time.Now()
		h.checkMinutes()
		if took := time.Since(began); took < DefaultLimits().IdleAfter {
			t.Fatalf("windows closed after %v, before the empty partition could count as idle", took)
		}
	})
}

// TestIdleOnlyWhenAllOfTheInputIsDone: a source that is still trying to deliver
// one event must not let the windows of others close without it.
func TestIdleOnlyWhenAllOfTheInputIsDone(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.produce(3, 1, start)
		e := tb.start(func(o *Options) { o.Consume = false })
		var list []*events.Event
		for _, rec := range tb.ReadCommitted(t, tb.in) {
			ev := &events.Event{}
			if err := kafkarecord.Read(rec, ev, kafkarecord.Mapping{Place: true}); err != nil {
				t.Fatal(err)
			}
			list = append(list, ev)
		}
		deliver := func(ev *events.Event) {
			t.Helper()
			if err := e.Deliver(t.Context(), e.Place(ev), ev); err != nil {
				t.Fatal(err)
			}
		}
		isIdle := func(rec *kgo.Record) bool {
			return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_"+events.ExtIdle })
		}
		tb.ready(e)
		deliver(list[0])
		deliver(list[2])
		time.Sleep(4 * DefaultLimits().IdleAfter)
		if records := tb.ReadCommitted(t, tb.out); slices.ContainsFunc(records, isIdle) {
			t.Fatal("the task says that it is idle while an event of its input is not done")
		}
		deliver(list[1])
		tb.await(tb.out, 1, isIdle)
	})
}
