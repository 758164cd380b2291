package generate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
)

var start = time.Date(2026, 6, 6, 15, 30, 0, 123_456_789, time.UTC)

// harness is generate with a Tx and everything that it emitted.
type harness struct {
	t            testing.TB
	def          step.Definition
	tx           *steptest.Tx
	fn           step.Function
	skipped      uint64
	transactions []events.Transaction
	labels       []events.Label
	merchants    int
}

// Skipped implements Observer.
func (h *harness) Skipped(n uint64) { h.skipped += n }

// smallConfig is a config of a small world.
func smallConfig() Config {
	cfg := DefaultConfig()
	cfg.Rate, cfg.Customers, cfg.Merchants, cfg.LabelDelay = 100, 200, 50, 2*time.Second
	return cfg
}

func newHarness(t testing.TB, cfg Config) *harness {
	t.Helper()
	h := &harness{t: t}
	h.define(cfg)
	h.tx = steptest.New(t, h.def)
	h.fn = h.def.New(h.tx.Task(0, 1))
	return h
}

func (h *harness) define(cfg Config) {
	h.t.Helper()
	cfg.Observer = h
	var err error
	if h.def, err = Definition(cfg); err != nil {
		h.t.Fatal(err)
	}
}

// tick calls Tick, commits, and returns how many transactions and labels came.
func (h *harness) tick(now time.Time) (transactions, labels int) {
	h.t.Helper()
	h.tx.Time = now
	if err := h.fn.Tick(h.tx, now); err != nil {
		h.t.Fatal(err)
	}
	for _, e := range h.tx.Emitted {
		switch e.Topic {
		case events.TopicTransactions:
			var t events.Transaction
			if err := events.ParseTransaction(e.Event.Data, &t); err != nil {
				h.t.Fatalf("transaction %s: %v", e.Event.Data, err)
			}
			if e.Event.Key != t.UserID || e.Event.ID != t.TransactionID {
				h.t.Fatalf("event %+v", e.Event)
			}
			h.transactions = append(h.transactions, t)
			transactions++
		case events.TopicLabels:
			var l events.Label
			if err := events.ParseLabel(e.Event.Data, &l); err != nil {
				h.t.Fatalf("label %s: %v", e.Event.Data, err)
			}
			if e.Event.Key != l.UserID {
				h.t.Fatalf("event %+v", e.Event)
			}
			h.labels = append(h.labels, l)
			labels++
		case reference.TopicMerchants:
			h.merchants++
		}
	}
	h.tx.Emitted = h.tx.Emitted[:0]
	h.tx.EndCommit()
	return transactions, labels
}

// restart goes on in a new process from what was committed.
func (h *harness) restart() {
	h.tx = h.tx.Restart()
	h.fn = h.def.New(h.tx.Task(0, 1))
}

// checkIDs checks that no id was used twice.
func (h *harness) checkIDs() {
	h.t.Helper()
	seen := map[string]bool{}
	for _, t := range h.transactions {
		if seen[t.TransactionID] {
			h.t.Fatalf("id %s was used twice", t.TransactionID)
		}
		seen[t.TransactionID] = true
	}
}

// checkLabels checks that labels came once for each transaction, in their order,
// and all but the newest.
func (h *harness) checkLabels(pending int) {
	h.t.Helper()
	if got := len(h.transactions) - len(h.labels); got != pending {
		h.t.Fatalf("%d transactions, %d labels: %d are to come, want %d", len(h.transactions), len(h.labels), got, pending)
	}
	for i, l := range h.labels {
		t := h.transactions[i]
		if l.TransactionID != t.TransactionID || l.UserID != t.UserID || l.MerchantID != t.MerchantID || l.TransactionTime != t.Time {
			h.t.Fatalf("label %d is %+v, its transaction %+v", i, l, t)
		}
	}
}

// TestRate: over any time exactly as many transactions come as the rate says.
func TestRate(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		every time.Duration
		run   time.Duration
		want  int
	}{
		{1000, 20 * time.Millisecond, 10 * time.Second, 10_000},
		{1000, 7 * time.Millisecond, 10 * time.Second, 9_996}, // the last Tick is at 9.996 s
		{3, 20 * time.Millisecond, 100 * time.Second, 300},
		{0.25, time.Second, 100 * time.Second, 25},
		{333.333, time.Second, 3 * time.Second, 999},
		{50_000, 20 * time.Millisecond, time.Second, 50_000},
		{7, 3 * time.Second, time.Minute, 420},
	} {
		t.Run(fmt.Sprintf("%v every %v", test.rate, test.every), func(t *testing.T) {
			cfg := smallConfig()
			cfg.Rate = test.rate
			h := newHarness(t, cfg)
			for at := time.Duration(0); at <= test.run; at += test.every {
				h.tick(start.Add(at))
			}
			if got := len(h.transactions); got != test.want {
				t.Errorf("%d transactions, want %d", got, test.want)
			}
			h.checkIDs()
		})
	}
}

// TestEventTime: event times are due times: even, never after now, and never more
// than an interval of Tick before it.
func TestEventTime(t *testing.T) {
	h := newHarness(t, smallConfig())
	h.tick(start)
	for at := start; at.Before(start.Add(5 * time.Second)); at = at.Add(20 * time.Millisecond) {
		before := len(h.transactions)
		h.tick(at)
		for _, made := range h.transactions[before:] {
			if late := at.UnixMilli() - made.Time; late < 0 || late > 21 {
				t.Fatalf("at %v a transaction was made for %d ms before", at, late)
			}
		}
	}
	for i, made := range h.transactions {
		if want := start.UnixNano()/1e6 + 10*int64(i+1); made.Time != want {
			t.Fatalf("transaction %d is at %d, want %d", i, made.Time, want)
		}
	}
}

// TestSameNow: a Tick at the same time, as before a stop, makes nothing new.
func TestSameNow(t *testing.T) {
	h := newHarness(t, smallConfig())
	h.tick(start)
	h.tick(start.Add(3 * time.Second))
	changelog := len(h.tx.Changelog)
	for range 3 {
		if made, labels := h.tick(start.Add(3 * time.Second)); made+labels != 0 {
			t.Errorf("%d transactions and %d labels at the same time", made, labels)
		}
		h.restart()
	}
	if len(h.tx.Changelog) != changelog {
		t.Error("the state changed")
	}
}

// TestLabels: one for each transaction, in the Tick in which it is due.
func TestLabels(t *testing.T) {
	cfg := smallConfig()
	h := newHarness(t, cfg)
	for at := time.Duration(0); at <= 10*time.Second; at += 10 * time.Millisecond {
		before := len(h.labels)
		h.tick(start.Add(at))
		for _, l := range h.labels[before:] {
			if l.LabelTime != l.TransactionTime+cfg.LabelDelay.Milliseconds() {
				t.Fatalf("label %+v is not %v after its transaction", l, cfg.LabelDelay)
			}
			if l.LabelTime != start.Add(at).UnixMilli() {
				t.Fatalf("label %+v came at %d", l, start.Add(at).UnixMilli())
			}
		}
	}
	h.checkLabels(200)
}

// TestLongPause: after a pause the stream goes on at once from now, what was
// missed is counted, and every pending label comes.
func TestLongPause(t *testing.T) {
	for _, restart := range []bool{false, true} {
		cfg := smallConfig()
		cfg.MaxBatch = 50
		h := newHarness(t, cfg)
		at := start
		for ; at.Before(start.Add(10 * time.Second)); at = at.Add(100 * time.Millisecond) {
			h.tick(at)
		}
		if restart {
			h.restart()
		}
		at = at.Add(72 * time.Hour)
		resumed := at
		if made, labels := h.tick(at); made != 0 || labels != 50 {
			t.Errorf("%d transactions and %d labels in the first Tick, want 0 and 50", made, labels)
		}
		for ; at.Before(resumed.Add(10 * time.Second)); at = at.Add(100 * time.Millisecond) {
			h.tick(at)
		}
		h.checkIDs()
		h.checkLabels(200)
		// From the first Tick at 0 s to 9.9 s, and from 72 h later to 9.9 s more.
		if got := len(h.transactions); got != 990+990 {
			t.Errorf("%d transactions", got)
		}
		if want := uint64(72*3600*100 + 10); h.skipped != want {
			t.Errorf("%d skipped, want %d", h.skipped, want)
		}
		for _, made := range h.transactions[990:] {
			if made.Time < resumed.UnixMilli() {
				t.Fatalf("a transaction of %d was made after %d", made.Time, resumed.UnixMilli())
			}
		}
	}
}

// TestShortPause: what was due is made up for, in batches.
func TestShortPause(t *testing.T) {
	cfg := smallConfig()
	cfg.MaxBatch = 120
	h := newHarness(t, cfg)
	h.tick(start)
	h.restart()
	at := start.Add(4 * time.Second)
	for _, want := range []int{120, 120, 120, 40, 0} {
		if made, _ := h.tick(at); made != want {
			t.Errorf("%d transactions in a Tick, want %d", made, want)
		}
	}
	if h.skipped != 0 {
		t.Errorf("%d skipped", h.skipped)
	}
}

// TestClockSetBack: a little is waited for, more begins anew; no id is used twice
// and no label is lost.
func TestClockSetBack(t *testing.T) {
	h := newHarness(t, smallConfig())
	h.tick(start)
	h.tick(start.Add(time.Second))
	if made, _ := h.tick(start.Add(-2 * time.Second)); made != 0 {
		t.Errorf("%d transactions were made twice", made)
	}
	h.tick(start.Add(2 * time.Second))
	if got := len(h.transactions); got != 200 {
		t.Errorf("%d transactions in 2 s", got)
	}
	back := start.Add(-time.Hour)
	h.tick(back)
	h.restart()
	h.tick(back.Add(time.Second))
	if got := len(h.transactions); got != 300 {
		t.Errorf("%d transactions after the clock was set back", got)
	}
	h.tick(start.Add(time.Hour))
	h.tick(start.Add(time.Hour))
	h.checkIDs()
	h.checkLabels(0)
}

// TestNewConfiguration: the stream goes on under the new configuration, and
// labels of the old one come as they were decided.
func TestNewConfiguration(t *testing.T) {
	cfg := smallConfig()
	cfg.LabelDelay = time.Minute
	h := newHarness(t, cfg)
	at := start
	expect := func(rate, seconds int) {
		t.Helper()
		before := len(h.transactions)
		for range seconds * 10 {
			at = at.Add(100 * time.Millisecond)
			h.tick(at)
		}
		if got := len(h.transactions) - before; got != rate*seconds {
			t.Errorf("%d transactions in %d s at %d a second", got, seconds, rate)
		}
	}
	reconfigure := func(merchants int) {
		t.Helper()
		h.define(cfg)
		h.restart()
		before := h.merchants
		h.tick(at)
		if got := h.merchants - before; got != merchants {
			t.Errorf("%d merchants were announced, want %d", got, merchants)
		}
	}
	h.tick(at)
	if h.merchants != 50 {
		t.Errorf("%d merchants were announced", h.merchants)
	}
	expect(100, 10)
	cfg.Rate = 250
	reconfigure(0)
	expect(250, 10)
	cfg.Seed, cfg.Intensity, cfg.Rate = 99, 5, 100
	reconfigure(50)
	expect(100, 10)
	cfg.Customers, cfg.Merchants = 20, 10
	reconfigure(10)
	expect(100, 10)
	reconfigure(0)
	expect(100, 60)
	h.checkIDs()
	h.checkLabels(6000)
	frauds := map[bool]int{}
	for _, l := range h.labels[3500:4500] {
		frauds[l.Fraud]++
	}
	if frauds[true] < 30 {
		t.Errorf("%d frauds at intensity 5", frauds[true])
	}
	segments := 0
	for key := range h.tx.Changelog {
		if key[0] == kindSegment {
			segments++
		}
	}
	if segments != 1 {
		t.Errorf("%d segments are left", segments)
	}
}

// TestRestartsDoNotShow: with restarts at random, the same comes at the same
// times as without, whatever the clock does; and every label comes.
func TestRestartsDoNotShow(t *testing.T) {
	run := func(seed uint64, restarts bool) *harness {
		schedule := rand.New(rand.NewPCG(seed, 1))
		stops := rand.New(rand.NewPCG(seed, 2))
		cfg := smallConfig()
		cfg.Rate = 1 + 100*schedule.Float64()
		cfg.LabelDelay = time.Duration(schedule.IntN(5000)) * time.Millisecond
		cfg.MaxBatch = 20 + schedule.IntN(100)
		cfg.CatchUp = time.Duration(schedule.IntN(2000)) * time.Millisecond
		h := newHarness(t, cfg)
		at := start
		for range 200 {
			h.tick(at)
			switch schedule.IntN(20) {
			case 0:
				at = at.Add(time.Duration(schedule.IntN(4000)) * time.Millisecond)
			case 1:
				at = at.Add(-time.Duration(schedule.IntN(4000)) * time.Millisecond)
			default:
				at = at.Add(time.Duration(schedule.IntN(100)) * time.Millisecond)
			}
			if restarts && stops.IntN(5) == 0 {
				h.restart()
			}
		}
		at = at.Add(time.Minute)
		for quiet := false; !quiet; {
			made, labels := h.tick(at)
			quiet = made+labels == 0
		}
		h.checkIDs()
		h.checkLabels(0)
		return h
	}
	for seed := range uint64(40) {
		without, with := run(seed, false), run(seed, true)
		if !slices.Equal(without.transactions, with.transactions) || !slices.Equal(without.labels, with.labels) {
			t.Fatalf("seed %d: %d transactions and %d labels without restarts, %d and %d others with", seed,
				len(without.transactions), len(without.labels), len(with.transactions), len(with.labels))
		}
		if diff := cmp.Diff(without.tx.Changelog, with.tx.Changelog); diff != "" || without.skipped != with.skipped {
			t.Fatalf("seed %d: %d and %d skipped; state (-without +with restarts):\n%s", seed, without.skipped, with.skipped, diff)
		}
	}
}

// TestFailedCommit: a commit that failed leaves no trace; the instance is built
// again from what was committed, and makes the same.
func TestFailedCommit(t *testing.T) {
	h := newHarness(t, smallConfig())
	h.tick(start)
	h.tick(start.Add(time.Second))
	if err := h.fn.Tick(h.tx, start.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	lost := slices.Clone(h.tx.Emitted)
	h.restart()
	if err := h.fn.Tick(h.tx, start.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lost, h.tx.Emitted); diff != "" {
		t.Errorf("events (-lost +again):\n%s", diff)
	}
}

// TestTasks: tasks share the rate, and make different transactions of the same
// customers.
func TestTasks(t *testing.T) {
	cfg := smallConfig()
	cfg.Rate, cfg.Tasks = 100.001, 3
	total, ids := uint64(0), map[string]bool{}
	for task := range cfg.Tasks {
		total += cfg.taskRate(task)
		h := newHarness(t, cfg)
		h.fn = h.def.New(h.tx.Task(task, cfg.Tasks))
		h.tick(start)
		h.tick(start.Add(3 * time.Second))
		for _, made := range h.transactions {
			ids[made.TransactionID] = true
		}
		if len(h.transactions) < 99 || len(h.transactions) > 101 {
			t.Errorf("task %d made %d transactions", task, len(h.transactions))
		}
	}
	if total != 100_001 || len(ids) < 297 {
		t.Errorf("rate %d, %d ids", total, len(ids))
	}
}

func TestStepRefuses(t *testing.T) {
	h := newHarness(t, smallConfig())
	if err := h.fn.Step(h.tx, &events.Event{Type: "x"}); err == nil {
		t.Error("an event is accepted")
	}
}

func TestDefinitionErrors(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"profile":   func(c *Config) { c.Profile = "dead" },
		"rate 0":    func(c *Config) { c.Rate = 0 },
		"rate":      func(c *Config) { c.Rate = 1e7 },
		"tasks":     func(c *Config) { c.Tasks = 0 },
		"customers": func(c *Config) { c.Customers = -1 },
		"merchants": func(c *Config) { c.Merchants = 3 },
		"intensity": func(c *Config) { c.Intensity = 11 },
		"delay":     func(c *Config) { c.LabelDelay = -1 },
		"catch-up":  func(c *Config) { c.CatchUp = -1 },
		"batch":     func(c *Config) { c.MaxBatch = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if _, err := Definition(cfg); err == nil {
			t.Errorf("%s: a wrong configuration is accepted", name)
		}
	}
}

// BenchmarkTick is the cost of a transaction and the label of another one, with
// the encoding of both.
func BenchmarkTick(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Rate, cfg.LabelDelay = 50_000, 0
	for _, labels := range []bool{false, true} {
		if !labels {
			cfg.LabelDelay = 7 * 24 * time.Hour
		} else {
			cfg.LabelDelay = 0
		}
		b.Run(fmt.Sprintf("labels=%v", labels), func(b *testing.B) {
			h := newHarness(b, cfg)
			at := start
			if err := h.fn.Tick(h.tx, at); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%1000 > 0 {
					continue // a Tick makes 1,000
				}
				h.tx.Emitted = h.tx.Emitted[:0]
				at = at.Add(20 * time.Millisecond)
				if err := h.fn.Tick(h.tx, at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
