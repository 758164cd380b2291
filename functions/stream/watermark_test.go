package stream

import (
	"math/rand/v2"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

func TestInputWatermark(t *testing.T) {
	const s = 1000
	up := func(task int, ms int64) func(*inputWatermark) {
		return func(w *inputWatermark) { w.hear(stamp{task: task, tasks: 3, watermark: ms}) }
	}
	idle := func(task int, ms int64) func(*inputWatermark) {
		return func(w *inputWatermark) { w.hear(stamp{task: task, tasks: 3, watermark: ms, idle: true}) }
	}
	outside := func(ms int64) func(*inputWatermark) {
		return func(w *inputWatermark) { w.observe(ms, 2*time.Second) }
	}
	type does []func(*inputWatermark)
	for name, test := range map[string]struct {
		does does
		want int64
	}{
		"nothing heard":                     {nil, step.MinWatermark},
		"outside: largest less the bound":   {does{outside(10 * s), outside(7 * s)}, 8 * s},
		"an upstream task not yet heard":    {does{up(0, 10*s), up(1, 10*s)}, step.MinWatermark},
		"smallest of the upstream tasks":    {does{up(0, 10*s), up(1, 5*s), up(2, 7*s)}, 5 * s},
		"does not go back":                  {does{up(0, 10*s), up(1, 5*s), up(2, 7*s), up(1, 3*s)}, 5 * s},
		"idle holds nobody back":            {does{up(0, 10*s), idle(1, step.MinWatermark), up(2, 7*s)}, 7 * s},
		"back from idle, does not go back":  {does{up(0, 10*s), idle(1, 1*s), up(2, 7*s), up(1, 2*s)}, 7 * s},
		"back from idle, holds back again":  {does{up(0, 10*s), idle(1, 1*s), up(2, 7*s), up(1, 8*s), up(2, 20*s), up(0, 20*s)}, 8 * s},
		"all idle: the largest":             {does{idle(0, 10*s), idle(1, 5*s), idle(2, 7*s)}, 10 * s},
		"outside does not pass an upstream": {does{up(0, 1*s), up(1, 1*s), up(2, 1*s), outside(99 * s)}, 1 * s},
	} {
		w := newInputWatermark()
		for _, do := range test.does {
			do(w)
		}
		if w.value != test.want {
			t.Errorf("%s: watermark %d, want %d", name, w.value, test.want)
		}
		var again inputWatermark
		r := newReader(w.append(nil))
		again.parse(&r)
		if r.problem() != nil || again.value != w.value || again.outside != w.outside || len(again.upstreams) != len(w.upstreams) {
			t.Errorf("%s: %+v was read back as %+v (%v)", name, w, again, r.problem())
		}
	}
}

func TestReadStampRefusesNonsense(t *testing.T) {
	for _, task := range []string{"", "enrich", "enrich/1", "enrich/1/1", "enrich/-1/4", "enrich/4/4", "enrich/x/4", "enrich/1/1000000000"} {
		e := events.Event{Extensions: []events.Extension{{Name: events.ExtTask, Value: task}, {Name: events.ExtWatermark, Value: "5"}}}
		if s, ok := readStamp(&e); ok {
			t.Errorf("%q was taken for %+v", task, s)
		}
	}
	e := events.Event{Extensions: []events.Extension{{Name: events.ExtTask, Value: stampValue("enrich", 2, 4)}, {Name: events.ExtWatermark, Value: "-5"}}}
	if s, ok := readStamp(&e); !ok || s != (stamp{task: 2, tasks: 4, watermark: -5}) {
		t.Errorf("read %+v, %v", s, ok)
	}
}

// Events pushed in any order within a bound must give the watermark that the
// same events give in the order of their offsets.
func TestFrontierRestoresTheOrder(t *testing.T) {
	const n = 2000
	rng := rand.New(rand.NewPCG(3, 4))
	order := rng.Perm(n)
	// Displaced by at most 99: the most that a KafkaSource has in flight.
	for i := range order {
		order[i] = i
	}
	for i := 0; i < n; i += 99 {
		part := order[i:min(i+99, n)]
		rng.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
	}
	var f frontier
	w := newInputWatermark()
	highest := step.MinWatermark
	for i, offset := range order {
		f.add(pendingTime{offset: int64(offset), arrived: start, observed: true, eventTime: int64(offset) * 1000})
		f.apply(w, start, time.Second, 0)
		if w.value != step.MinWatermark && w.value/1000 >= f.next {
			t.Fatalf("after %d events the watermark stands at offset %d, but %d has not come", i, w.value/1000, f.next)
		}
		highest = max(highest, w.value)
		if w.value < highest {
			t.Fatal("the watermark went back")
		}
	}
	if want := int64((n - 1) * 1000); w.value != want {
		t.Fatalf("watermark %d in the end, want %d", w.value, want)
	}
}

func TestFrontierGivesUpAGap(t *testing.T) {
	var f frontier
	w := newInputWatermark()
	for offset := int64(1); offset < 5; offset++ {
		f.add(pendingTime{offset: offset, arrived: start.Add(time.Duration(offset) * 100 * time.Millisecond), observed: true, eventTime: offset})
	}
	f.apply(w, start.Add(time.Second), 2*time.Second, 0)
	if w.value != step.MinWatermark {
		t.Fatalf("watermark %d although offset 0 may still come", w.value)
	}
	// Entry 1 has waited long enough; those behind it follow without a gap.
	f.apply(w, start.Add(2100*time.Millisecond), 2*time.Second, 0)
	if w.value != 4 || len(f.pending) != 0 {
		t.Fatalf("watermark %d with %d pending after the patience ended, want 4 and none", w.value, len(f.pending))
	}
}
