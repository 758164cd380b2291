package generate

import (
	"testing"
	"time"

	"datasurge/functions/generate/handbook"
	"datasurge/functions/step"
)

func replayConfig(speed float64) Config {
	cfg := DefaultConfig()
	cfg.Profile, cfg.Speed = ProfileHandbook, speed
	return cfg
}

// An hour of event time passes in each second, labels come a week later, and
// nothing comes before its time.
func TestReplayKeepsEventTime(t *testing.T) {
	h := newHarness(t, replayConfig(3600))
	h.tick(start) // time begins
	now := start
	for now.Before(start.Add(8 * 24 * time.Second)) {
		now = now.Add(250 * time.Millisecond)
		h.tick(now)
		clock := handbook.Start().Add(now.Sub(start) * 3600).UnixMilli()
		if n := len(h.transactions); n > 0 && h.transactions[n-1].Time > clock {
			t.Fatalf("a transaction of %d at %d", h.transactions[n-1].Time, clock)
		}
		if n := len(h.labels); n > 0 && h.labels[n-1].LabelTime > clock {
			t.Fatalf("a label of %d at %d", h.labels[n-1].LabelTime, clock)
		}
	}
	end := handbook.Start().Add(8 * 24 * time.Hour).UnixMilli()
	var source HandbookSource
	count, labels := 0, 0
	for x, ok := source.Next(); ok && x.Time() <= end; x, ok = source.Next() {
		if x.Time()+(7*24*time.Hour).Milliseconds() <= end {
			labels++
		}
		count++
	}
	if len(h.transactions) != count || len(h.labels) != labels {
		t.Errorf("%d transactions and %d labels, want %d and %d", len(h.transactions), len(h.labels), count, labels)
	}
	h.checkIDs()
	h.checkLabels(count - labels)
}

// As fast as it goes, with restarts: the events come once, in the order of time.
func TestReplayResumes(t *testing.T) {
	cfg := replayConfig(0)
	cfg.MaxBatch = 40_000
	h := newHarness(t, cfg)
	for range 3 {
		h.tick(start)
		h.restart()
	}
	h.tick(start)
	if got := len(h.transactions) + len(h.labels); got != 4*cfg.MaxBatch {
		t.Fatalf("%d events, want %d", got, 4*cfg.MaxBatch)
	}
	var source HandbookSource
	for i := range h.transactions {
		want, _ := source.Next()
		if h.transactions[i] != want.Event() {
			t.Fatalf("transaction %d is %+v, want %+v", i, h.transactions[i], want.Event())
		}
	}
	h.checkLabels(len(h.transactions) - len(h.labels))
	last := h.transactions[len(h.transactions)-1].Time
	if next := h.labels[len(h.labels)-1].LabelTime; next > last {
		t.Errorf("a label of %d came before the transaction of %d", next, last)
	}
}

// A stop at a finite speed does not skip anything.
func TestReplayGoesOnAfterAPause(t *testing.T) {
	h := newHarness(t, replayConfig(3600))
	h.tick(start)
	h.tick(start.Add(time.Second))
	before := h.transactions[len(h.transactions)-1].Time
	h.restart()
	later := start.Add(time.Hour)
	h.tick(later)
	h.tick(later.Add(time.Second))
	first := h.transactions[0].Time
	last := h.transactions[len(h.transactions)-1].Time
	if span := time.Duration(last-first) * time.Millisecond; span > 2*time.Hour {
		t.Errorf("two seconds at 3600 made %v", span)
	}
	if last <= before {
		t.Error("nothing came after the pause")
	}
	h.checkIDs()
}

// Of several tasks the first makes everything, so that events come in order.
func TestReplayHasOneTask(t *testing.T) {
	h := newHarness(t, replayConfig(0))
	h.fn = h.def.New(h.tx.Task(1, 4))
	if transactions, labels := h.tick(start); transactions+labels != 0 {
		t.Errorf("task 1 made %d transactions and %d labels", transactions, labels)
	}
	var _ step.Function = bystander{}
}
