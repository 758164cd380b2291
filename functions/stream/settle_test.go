package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/stream/kafkatest"
)

// never is an interval that no test lives to see the end of.
const never = 1000 * time.Hour

func settle(t *testing.T, engines ...*Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of fake time
	defer cancel()
	for _, e := range engines {
		if err := e.Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Two functions in a row that are never handed the time by themselves: once both
// are settled, one after the other, everything that the input implies is there, the
// windows that its event time closes included, also when tasks are killed meanwhile.
func TestSettle(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func() func(int, faultPoint) error
	}{
		{"undisturbed", func() func(int, faultPoint) error { return nil }},
		{"killed after the commit", func() func(int, faultPoint) error { return once(faultEnded, 10, func() {}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
				h := newHops(t, b)
				h.first.TickEvery, h.last.TickEvery = never, never
				first := h.run(h.first, func(o *Options) { o.CommitEvents, o.fault = 500, test.fault() })
				last := h.run(h.last, func(o *Options) { o.CommitEvents, o.fault = 500, test.fault() })
				settle(t, first, last) // nothing yet
				h.backlog(0, 1, 2, 3)
				settle(t, first, last)
				n := len(h.ReadCommitted(t, h.result))
				h.checkMinutes()
				if after := len(h.ReadCommitted(t, h.result)); n != after {
					t.Fatalf("%d results when all was settled, %d later", n, after)
				}
			})
		})
	}
}

// echo writes the first event that it is handed to its own input too, and says at
// each Tick how many it has seen; what it emits carries what its table held.
type echo struct {
	own, out, table string
	seen            int
}

func (f *echo) Step(tx step.Tx, e *events.Event) error {
	f.seen++
	view := tx.Table(f.table).(string)
	if f.seen <= 3 {
		tx.Emit(f.own, &events.Event{ID: e.ID + "+", Source: "/test", Type: typeNumber, Key: "k", Data: []byte("1")})
	}
	tx.Emit(f.out, &events.Event{ID: e.ID, Source: "/test", Type: "test.sum.v1", Key: "k", Data: []byte(view)})
	return nil
}

func (f *echo) Tick(tx step.Tx, _ time.Time) error {
	tx.Emit(f.out, &events.Event{ID: fmt.Sprint("tick", f.seen), Source: "/test", Type: "test.sum.v1", Key: "k", Data: fmt.Append(nil, f.seen)})
	return nil
}

// What a function writes to its own input is done too, and what comes after Settle
// sees all that stood in the tables.
func TestSettleOwnInputsAndTables(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		own, table := b.Name(t, "own"), b.Name(t, "table")
		tb.CreateTopic(t, own, 1, nil)
		tb.CreateTopic(t, table, 1, map[string]string{"cleanup.policy": "compact"})
		tb.def = step.Definition{
			Name:      tb.def.Name,
			Inputs:    []step.Input{{Topic: tb.in, Types: []string{typeNumber}}, {Topic: own, Types: []string{typeNumber}, Upstream: true}},
			Outputs:   []step.Output{{Topic: tb.out}, {Topic: own, Watermarks: true}},
			TickEvery: never,
			Tables: []step.Table{{Topic: table, Initial: "", Apply: func(old any, changes []step.Change) (any, error) {
				return string(changes[len(changes)-1].Value), nil
			}}},
			New: func(step.Task) step.Function { return &echo{own: own, out: tb.out, table: table} },
		}
		e := tb.start(nil)
		want := []string{"0"}
		for round := range 3 {
			text := fmt.Sprint("table ", round)
			tb.Produce(t, table, &kgo.Record{Key: []byte("k"), Value: []byte(text)})
			settle(t, e)
			tb.produce(1, 1, start)
			settle(t, e)
			if round == 0 { // one begets another three times, each a commit later
				want = append(want, text, "1", text, "2", text, "3", text, "4")
				continue
			}
			want = append(want, fmt.Sprint(round+3), text, fmt.Sprint(round+4))
		}
		var got []string
		for _, rec := range tb.ReadCommitted(t, tb.out) {
			got = append(got, string(rec.Value))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSettleIsForTransportKafka(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		e := newTestbed(t, b, 1).start(func(o *Options) { o.Consume = false })
		if err := e.Settle(t.Context()); err == nil {
			t.Error("an engine that is pushed events was settled")
		}
	})
}

// slowTick emits one event and then takes its time, once.
type slowTick struct {
	out  string
	done bool
}

func (*slowTick) Step(step.Tx, *events.Event) error { return nil }

func (f *slowTick) Tick(tx step.Tx, _ time.Time) error {
	if !f.done {
		f.done = true
		tx.Emit(f.out, &events.Event{ID: "1", Source: "/test", Type: "test.sum.v1", Key: "k", Data: []byte("1")})
		time.Sleep(time.Minute) // learning, say
	}
	return nil
}

// A transaction stays open as long as the definition says that a Tick may take.
func TestTickWithin(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.def.New = func(step.Task) step.Function { return &slowTick{out: tb.out} }
		tb.def.TickWithin = 2 * time.Minute
		e := tb.start(nil)
		settle(t, e)
		if n, tries := len(tb.ReadCommitted(t, tb.out)), e.takeovers(0); n != 1 || tries != 1 {
			t.Errorf("%d outputs, the partition was taken over %d times", n, tries)
		}
	})
}
