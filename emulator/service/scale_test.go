package service

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"datasurge/knative"
)

// loads is a load that holds for some ticks.
type loads struct {
	load  float64
	ticks int
}

// told is a service whose autoscaler is told something.
func told(a knative.Autoscaling) knative.Service {
	return knative.Service{MaxScale: 100, Autoscaling: a}
}

// TestScaler: the decisions of the autoscaler, tick by tick. The instances that
// were wanted in the last tick are ready in the next.
func TestScaler(t *testing.T) {
	many := knative.Service{MaxScale: 100}
	for _, c := range []struct {
		name   string
		spec   knative.Service
		toZero bool
		loads  []loads
		want   string // the number after each of loads
	}{
		{"steady", many, false, []loads{{70, 30}, {70, 30}}, "[1 1]"},
		// A burst of 6 s is over the threshold in the panic window.
		{"panic", many, false, []loads{{10, 30}, {700, 3}}, "[1 10]"},
		// What was wanted in panic stays for a stable window after it.
		{"no way down in panic", many, false, []loads{{700, 3}, {0, 28}, {0, 4}}, "[10 10 1]"},
		// Without panic it follows the average of a minute.
		{"slowly up", many, false, []loads{{70, 30}, {130, 3}, {130, 27}}, "[1 2 2]"},
		{"down with the window", many, false, []loads{{5600, 40}, {0, 15}, {0, 15}}, "[80 40 1]"},
		{"max", knative.Service{MaxScale: 3}, false, []loads{{1e6, 1}}, "[3]"},
		{"min", knative.Service{MinScale: 2, MaxScale: 3}, false, []loads{{0, 100}}, "[2]"},
		{"target", knative.Service{Concurrency: 10, MaxScale: 9}, false, []loads{{7, 30}, {8, 30}}, "[1 2]"},
		{"target annotation", knative.Service{Autoscaling: knative.Autoscaling{Target: 10}, MaxScale: 9}, false, []loads{{7, 30}, {8, 30}}, "[1 2]"},
		{"target above containerConcurrency", knative.Service{Autoscaling: knative.Autoscaling{Target: 100}, Concurrency: 10, MaxScale: 9}, false, []loads{{8, 30}}, "[2]"},
		// What it begins with stays until a window is known.
		{"initial-scale", knative.Service{InitialScale: 4, MaxScale: 9}, false, []loads{{0, 30}, {0, 3}}, "[4 1]"},
		{"initial-scale without max-scale", knative.Service{InitialScale: 4}, false, []loads{{0, 30}, {0, 3}, {1e6, 1}}, "[4 1 110]"},
		{"to zero", many, true, []loads{{1, 30}, {0, 30}, {0, 14}, {0, 1}}, "[1 1 1 0]"},
		{"not to zero with min-scale", knative.Service{MinScale: 1}, true, []loads{{0, 100}}, "[1]"},
		{"not before a window is known", many, true, []loads{{0, 29}, {0, 16}}, "[1 0]"},
		// The annotations.
		{"window", told(knative.Autoscaling{Window: 10 * time.Second}), false, []loads{{70, 5}, {130, 3}, {130, 2}, {0, 5}}, "[1 2 2 1]"},
		{"window to zero", told(knative.Autoscaling{Window: 10 * time.Second}), true, []loads{{1, 5}, {0, 5}, {0, 14}, {0, 1}}, "[1 1 1 0]"},
		{"rps", told(knative.Autoscaling{Metric: knative.MetricRPS}), false, []loads{{140, 30}, {141, 60}}, "[1 2]"},
		{"rps with target", told(knative.Autoscaling{Metric: knative.MetricRPS, Target: 10}), false, []loads{{7, 30}, {21, 60}}, "[1 3]"},
		{"utilization", told(knative.Autoscaling{Utilization: 100}), false, []loads{{100, 30}, {101, 60}}, "[1 2]"},
		{"target of at least 1", told(knative.Autoscaling{Target: 0.01}), false, []loads{{3, 60}}, "[3]"},
		// Fewer only when fewer have been enough for a minute: 30 ticks. It goes down
		// by half at most.
		{"scale-down-delay", told(knative.Autoscaling{ScaleDownDelay: time.Minute, Window: 6 * time.Second}), false,
			[]loads{{280, 30}, {0, 3}, {0, 26}, {0, 7}, {0, 30}}, "[4 4 4 2 1]"},
		{"scale-down-delay is none upwards", told(knative.Autoscaling{ScaleDownDelay: time.Hour}), false, []loads{{10, 30}, {700, 3}}, "[1 10]"},
		{"panic window", told(knative.Autoscaling{PanicWindow: 50}), false, []loads{{0, 30}, {700, 3}}, "[1 2]"},
		{"panic threshold", told(knative.Autoscaling{PanicThreshold: 1000}), false, []loads{{10, 30}, {560, 3}, {700, 1}}, "[1 1 2]"},
		{"activation-scale", told(knative.Autoscaling{ActivationScale: 3}), false, []loads{{1, 1}, {0, 200}}, "[3 1]"},
		{"retention", told(knative.Autoscaling{ZeroRetention: time.Minute}), true, []loads{{1, 30}, {0, 30}, {0, 29}, {0, 1}}, "[1 1 1 0]"},
	} {
		now := time.Unix(0, 0)
		s := newScaler(&c.spec, c.toZero, now)
		n := s.initial
		var got []int
		for _, l := range c.loads {
			for range l.ticks {
				now = now.Add(tick)
				n = s.decide(now, l.load, n)
			}
			got = append(got, n)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestScalerBounds: whatever the load, the number stays between its bounds, and
// goes to what the load wants when that lasts.
func TestScalerBounds(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		spec := knative.Service{MinScale: rng.IntN(4), Concurrency: rng.IntN(50)}
		spec.MaxScale = max(1, spec.MinScale) + rng.IntN(10)
		toZero := rng.IntN(2) == 0
		now := time.Unix(0, 0)
		s := newScaler(&spec, toZero, now)
		n := s.initial
		step := func(load float64) {
			now = now.Add(tick)
			n = s.decide(now, load, n)
			least := max(1, spec.MinScale)
			if toZero {
				least = spec.MinScale
			}
			if n < least || n > spec.MaxScale {
				t.Fatalf("seed %d: %d instances of %+v", seed, n, spec)
			}
		}
		for range 200 {
			step(rng.ExpFloat64() * 200)
		}
		load := rng.Float64() * 1000
		for range 100 {
			step(load)
		}
		target := 70.0
		if spec.Concurrency > 0 {
			target = float64(spec.Concurrency) * 0.7
		}
		if want := min(max(int(math.Ceil(load/target)), 1, spec.MinScale), spec.MaxScale); n != want {
			t.Errorf("seed %d: %d instances at a load of %v on %+v, want %d", seed, n, load, spec, want)
		}
	}
}

func TestMeter(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, 0).Add(time.Duration(s * float64(time.Second))) }
	m := meter{last: at(0), since: at(0)}
	m.add(at(1), 1)
	m.add(at(1.5), 1)
	m.add(at(2), -1)
	if got, rps := m.take(at(2)); got != 0.75 || rps != 1 {
		t.Errorf("%v requests on average, want 0.75; %v a second, want 1", got, rps)
	}
	if got, rps := m.take(at(4)); got != 1 || rps != 0 {
		t.Errorf("%v, want the one that goes on; %v a second, want none", got, rps)
	}
	m.add(at(4), -1)
	m.add(at(5), 1)
	m.add(at(5), -1)
	if got, _ := m.take(at(6)); got != least {
		t.Errorf("%v for a request that took no time", got)
	}
	if got, _ := m.take(at(8)); got != 0 {
		t.Errorf("%v for none", got)
	}
}

// TestExcess: when the activator is in the path.
func TestExcess(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  knative.Service
		ready int
		load  float64
		want  float64
	}{
		{"one instance", knative.Service{}, 1, 0, -111},
		{"three", knative.Service{MinScale: 3}, 3, 0, 89},
		{"three with load", knative.Service{MinScale: 3}, 3, 90, -1},
		{"containerConcurrency", knative.Service{Concurrency: 10, MinScale: 21}, 21, 0, -1},
		{"and enough of it", knative.Service{Concurrency: 10, MinScale: 22}, 22, 0, 9},
		{"never", told(knative.Autoscaling{BurstCapacity: new(0.0)}), 1, 1000, 0},
		{"always", told(knative.Autoscaling{BurstCapacity: new(-1.0)}), 100, 0, -1},
		{"as many as told", told(knative.Autoscaling{BurstCapacity: new(50.0)}), 1, 50, 0},
	} {
		now := time.Unix(0, 0)
		s := newScaler(&c.spec, false, now)
		s.decide(now.Add(tick), c.load, c.ready)
		if s.excess != c.want {
			t.Errorf("%s: room for %v more, want %v", c.name, s.excess, c.want)
		}
	}
}
