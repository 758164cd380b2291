package aggregate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/window"
)

// one is a pipeline of one task with windows of a minute, and no lateness.
func one(t testing.TB) *pipeline { return newPipeline(t, testConfig(t, "1m", 0), 1) }

// closeAll moves the watermark of all inputs to base+at and settles.
func (p *pipeline) closeAll(at int64) {
	p.t.Helper()
	for n := range p.tasks {
		p.watermark(n, base+at)
	}
	p.settle()
}

func (p *pipeline) counts(dim, value, window string, starts ...int64) []int64 {
	p.t.Helper()
	last := p.upserts()
	var counts []int64
	for _, start := range starts {
		counts = append(counts, last[resultName(dim, value, window, base+start)].Count)
	}
	return counts
}

func TestExactBoundaryStartEndMinusOneAndEnd(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("start", 0))
	p.scored(0, transaction("end-1", testMinute-1))
	p.scored(0, transaction("end", testMinute))
	p.closeAll(10 * testMinute)
	if diff := cmp.Diff([]int64{0, 2, 1, 0}, p.counts("all", "all", "1m", -testMinute, 0, testMinute, 2*testMinute)); diff != "" {
		t.Errorf("counts of windows (-want +got):\n%s", diff)
	}
}

func TestSizeNotDivisibleBySlide(t *testing.T) {
	p := newPipeline(t, testConfig(t, "10m/3m", 0), 1)
	p.scored(0, transaction("a", 9*testMinute)) // in [0,10), [3,13), [6,16), [9,19)
	p.scored(0, transaction("b", 10*testMinute))
	p.closeAll(60 * testMinute)
	got := p.counts("all", "all", "10m/3m", -3*testMinute, 0, 3*testMinute, 6*testMinute, 9*testMinute, 12*testMinute)
	if diff := cmp.Diff([]int64{0, 1, 2, 2, 2, 0}, got); diff != "" {
		t.Errorf("counts of windows (-want +got):\n%s", diff)
	}
}

func TestEqualTimestamps(t *testing.T) {
	p := one(t)
	for i := range 5 {
		p.scored(0, transaction(fmt.Sprint(i), 30*testSecond))
	}
	p.closeAll(5 * testMinute)
	if a := p.result("all", "all", "1m", base); a.Count != 5 || a.Customers != 5 || a.Sum != 5*1100 || !a.Final {
		t.Errorf("result %+v", a)
	}
}

func TestOutOfOrderInsideABatchAndAcrossBatches(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("late in the first window", 50*testSecond))
	p.scored(0, transaction("next window", 70*testSecond))
	p.scored(0, transaction("first window again", 10*testSecond))
	p.settle()
	p.scored(0, transaction("first window in another batch", 5*testSecond))
	p.settle()
	p.closeAll(5 * testMinute)
	if diff := cmp.Diff([]int64{3, 1}, p.counts("all", "all", "1m", 0, testMinute)); diff != "" {
		t.Errorf("counts of windows (-want +got):\n%s", diff)
	}
	if p.late != 0 {
		t.Errorf("%d events were late", p.late)
	}
}

func TestWatermarkJumpOver10000WindowsEmitsInEndThenKeyOrder(t *testing.T) {
	p := one(t)
	const n = 1500 // minutes; each with 7 dimensions
	for i := range n {
		tx := transaction(fmt.Sprint(i), int64((i*7919)%n)*testMinute)
		tx.MerchantID = fmt.Sprint("merchant-", i%3)
		p.scored(0, tx)
	}
	p.closeAll((n + 1) * testMinute)
	type place struct {
		End int64
		Key string
	}
	var got []place
	for _, a := range p.aggregates {
		if a.Final {
			got = append(got, place{a.End, a.Dimension + "|" + a.Value})
		}
	}
	if len(got) < 10_000 {
		t.Fatalf("%d final results, want more than 10000", len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b place) int {
		if a.End != b.End {
			return int(a.End - b.End)
		}
		return strings.Compare(a.Key, b.Key)
	}) {
		t.Error("final results are not in the order of end and key")
	}
}

func TestWatermarkNeverGoesBackAfterARestart(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("a", 0))
	p.closeAll(2 * testMinute)
	p.crash(p.tasks[0])
	// The task starts with what it had: what was closed stays closed.
	p.scored(0, transaction("b", testSecond))
	p.settle()
	if a := p.result("all", "all", "1m", base); a.Count != 1 || !a.Final {
		t.Errorf("result %+v", a)
	}
	if p.late != 1 {
		t.Errorf("%d late events, want 1", p.late)
	}
	// Nor does the owner open it when the watermarks that it is told are older.
	tk := p.tasks[0]
	tk.position.mark, tk.position.marks[0] = step.MinWatermark, step.MinWatermark
	p.scored(0, transaction("c", 2*testSecond))
	p.settle()
	if a := p.result("all", "all", "1m", base); a.Count != 1 || !a.Final {
		t.Errorf("result %+v", a)
	}
}

func TestLateEventReopensAFiredWindow(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m", 2*time.Minute), 1)
	p.scored(0, transaction("in time", 0))
	p.closeAll(2 * testMinute) // past the end, within the lateness
	first := p.result("all", "all", "1m", base)
	p.now = p.now.Add(time.Second)
	p.scored(0, transaction("late", 10*testSecond))
	p.settle()
	second := p.result("all", "all", "1m", base)
	p.closeAll(3 * testMinute)
	third := p.result("all", "all", "1m", base)

	if first.Count != 1 || first.Final || second.Count != 2 || second.Final || second.Pane != first.Pane+1 {
		t.Errorf("results %+v, then %+v", first, second)
	}
	if third.Count != 2 || !third.Final || p.late != 0 {
		t.Errorf("final result %+v, %d late events", third, p.late)
	}
}

func TestLateEventAfterTheTombstoneDoesNotResurrect(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m", time.Minute), 1)
	p.scored(0, transaction("in time", 0))
	p.closeAll(2 * testMinute)
	if a := p.result("all", "all", "1m", base); !a.Final {
		t.Fatalf("no final result: %+v", a)
	}
	for key := range p.tasks[0].tx.Changelog {
		if k := key[0]; k == kindPart || k == kindSlot || k == kindResult || k == kindJournal {
			t.Errorf("no tombstone for %q", key)
		}
	}
	results := len(p.aggregates)
	p.scored(0, transaction("too late", 10*testSecond))
	p.run()
	if len(p.aggregates) != results || p.late != 1 {
		t.Errorf("%d results after the final one, %d late events", len(p.aggregates)-results, p.late)
	}
}

func TestLateEventCountsForTheWindowsThatAreStillOpen(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m,5m/1m,1h", 0), 1)
	p.scored(0, transaction("in time", 10*testSecond))
	p.watermark(0, base+2*testMinute) // [0,1m) and the windows to 1m and 2m are closed
	p.scored(0, transaction("late", 20*testSecond))
	p.closeAll(120 * testMinute)
	if diff := cmp.Diff([]int64{1}, p.counts("all", "all", "1m", 0)); diff != "" {
		t.Errorf("1m (-want +got):\n%s", diff)
	}
	got := p.counts("all", "all", "5m/1m", -4*testMinute, -3*testMinute, -2*testMinute, -testMinute, 0)
	if diff := cmp.Diff([]int64{1, 1, 2, 2, 2}, got); diff != "" {
		t.Errorf("5m/1m (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{2}, p.counts("all", "all", "1h", 0)); diff != "" {
		t.Errorf("1h (-want +got):\n%s", diff)
	}
	if p.late != 0 {
		t.Errorf("%d late events: a window took it", p.late)
	}
}

func TestIdlePartitionHoldsNobodyBackAndIsLateWhenItSpeaksAgain(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m", 0), 2)
	p.scored(0, transaction("a", 0))
	p.watermark(0, base+5*testMinute)
	p.settle()
	if got := p.upserts(); slices.ContainsFunc(slices.Collect(maps.Values(got)), func(a events.Aggregate) bool { return a.Final }) {
		t.Fatal("final although partition 1 has said nothing")
	}
	// Given up as idle: the engine leaves it out of the smallest watermark.
	for _, tk := range p.tasks {
		tk.position.marks[1] = base + 5*testMinute
	}
	p.settle()
	if a := p.result("all", "all", "1m", base); a.Count != 1 || !a.Final {
		t.Fatalf("result %+v", a)
	}
	// Its own watermark is far behind, so it takes the event; the owners do not.
	p.scored(1, transaction("b", 0))
	p.closeAll(10 * testMinute)
	if a := p.result("all", "all", "1m", base); a.Count != 1 {
		t.Errorf("a partial changed a final result: %+v", a)
	}
	if p.late == 0 {
		t.Error("what the idle partition still had is not in late_events")
	}
}

func TestSingleHotKey(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m", 0), 4)
	for i := range 4000 {
		p.scored(i%4, transaction(fmt.Sprint(i), int64(i)))
	}
	p.closeAll(5 * testMinute)
	a := p.result("merchant", "merchant-1", "1m", base)
	if a.Count != 4000 || a.Sum != 4000*1100 || !a.Final {
		t.Errorf("result %+v", a)
	}
	if a := p.result("all", "all", "1m", base); a.Customers < 3800 || a.Customers > 4200 {
		t.Errorf("%d customers, want about 4000", a.Customers)
	}
}

// state is the changelog of all tasks, to be compared byte by byte.
func (p *pipeline) state() []map[string][]byte {
	var all []map[string][]byte
	for _, tk := range p.tasks {
		all = append(all, maps.Clone(tk.tx.Changelog))
	}
	return all
}

func TestRestoreInTheMiddleOfAWindowContinuesToTheByteIdenticalResult(t *testing.T) {
	var states [2][]map[string][]byte
	var results [2][]events.Aggregate
	var partials [2][][]byte
	for i, crash := range []bool{false, true} {
		p := newPipeline(t, testConfig(t, "1m,5m/1m", time.Minute), 2)
		for n := range 3000 {
			tx := transaction(fmt.Sprint(n), int64(n)*50)
			tx.UserID = fmt.Sprint("user-", n%700)
			tx.BaseAmount = int64(1 + n*n%99_991)
			p.scored(n%2, tx)
			if n%100 == 0 { // a commit, a Tick in the middle of the window, a commit
				for _, tk := range p.tasks {
					for p.stepScored(tk) {
					}
					p.commit(tk)
					for p.stepPartial(tk) {
					}
					p.tick(tk)
					p.commit(tk)
					if crash {
						p.crash(tk)
					}
				}
				p.now = p.now.Add(700 * time.Millisecond)
			}
		}
		// Both check in their journals, so that states compare.
		p.settle()
		p.now = p.now.Add(time.Hour)
		p.settle()
		states[i] = p.state()
		p.closeAll(30 * testMinute)
		for _, a := range p.aggregates {
			if a.Final {
				results[i] = append(results[i], a)
			}
		}
		last := map[string]*events.Event{}
		for _, tk := range p.tasks {
			for _, m := range tk.partials {
				if m.event != nil {
					id := m.event.ID
					last[id[:strings.LastIndexByte(id, '|')]] = m.event
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(last)) {
			partials[i] = append(partials[i], last[key].Data)
		}
	}
	for n := range states[0] {
		for key, value := range states[0][n] {
			// How many panes a window had depends on when it was looked at.
			if other := states[1][n][key]; !bytes.Equal(value, other) && key[0] != kindResult {
				t.Errorf("task %d: %q is\n%.80x... without a restart,\n%.80x... with", n, key, value, other)
			}
		}
		if len(states[0][n]) != len(states[1][n]) {
			t.Errorf("task %d: %d keys without a restart, %d with", n, len(states[0][n]), len(states[1][n]))
		}
	}
	for i := range results {
		for j := range results[i] {
			results[i][j].Pane = 0
		}
	}
	if diff := cmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("final results differ (-without +with restart):\n%s", diff)
	}
	if !slices.EqualFunc(partials[0], partials[1], bytes.Equal) {
		t.Error("the last partials differ")
	}
}

func TestLastPaneIsNotLostAtShutdown(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("a", 0))
	p.settle()
	p.scored(0, transaction("b", 1))
	tk := p.tasks[0]
	p.stepScored(tk)
	p.tick(tk) // before a stop; too soon after the last partial to publish another
	p.commit(tk)
	p.crash(tk)
	p.settle()
	if a := p.result("all", "all", "1m", base); a.Count != 2 || a.Pane != 1 {
		t.Errorf("after the next start: %+v, want the second pane with both", a)
	}
}

func TestWindowFiredThenCrashBeforeTheCommitFiresOnce(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("a", 0))
	p.watermark(0, base+2*testMinute)
	tk := p.tasks[0]
	for p.stepScored(tk) {
	}
	p.tick(tk)
	p.commit(tk)
	for range 3 {
		for p.stepPartial(tk) {
		}
		p.tick(tk)
		if !slices.ContainsFunc(tk.tx.Take(events.TopicAggregates), func(e events.Event) bool {
			return strings.HasPrefix(e.ID, "all|") && bytes.Contains(e.Data, []byte(`"final":true`))
		}) {
			t.Fatal("did not fire")
		}
		p.crash(tk)
	}
	p.settle()
	finals := 0
	for _, a := range p.aggregates {
		if a.Dimension == "all" && a.Final {
			finals++
		}
	}
	if finals != 1 {
		t.Errorf("%d final results, want 1", finals)
	}
}

func TestUpdatesOfAWindowComeAtMostEverySecondOrSixtiethOfItsSize(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m,1h", 0), 1)
	for i := range 1200 { // 120 s of wall clock, in event time a little
		p.scored(0, transaction(fmt.Sprint(i), int64(i)))
		p.settle()
		p.now = p.now.Add(100 * time.Millisecond)
	}
	panes := map[string]int64{}
	for _, a := range p.aggregates {
		if a.Dimension == "all" {
			panes[a.Window] = a.Pane + 1
		}
	}
	if diff := cmp.Diff(map[string]int64{"1m": 120, "1h": 2}, panes); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
}

func TestPartialsOfVeryManySeriesAreSpreadOverTicksAndNoneStarves(t *testing.T) {
	p := one(t)
	const merchants = 3*publishBudget + 10
	for i := range merchants {
		p.scored(0, shop(fmt.Sprint(i), fmt.Sprint("shop-", i), 0))
	}
	tk := p.tasks[0]
	for p.stepScored(tk) {
	}
	seen := map[string]bool{}
	for n := range 4 {
		p.tick(tk)
		published := 0
		for _, e := range tk.tx.Take(events.TopicPartials) {
			if strings.HasPrefix(e.ID, "merchant|") && !seen[e.ID] {
				seen[e.ID] = true
				published++
			}
		}
		if published > publishBudget {
			t.Errorf("tick %d published %d partials, at most %d", n, published, publishBudget)
		}
		p.now = p.now.Add(tickEvery)
	}
	if len(seen) != merchants {
		t.Errorf("%d of %d merchants after 4 ticks", len(seen), merchants)
	}
}

func TestPartialOfAnOlderVersionIsIgnored(t *testing.T) {
	p := one(t)
	p.scored(0, transaction("a", 0))
	p.settle()
	p.now = p.now.Add(time.Second)
	p.scored(0, transaction("b", 0))
	p.settle()
	tk := p.tasks[0]
	for _, m := range slices.Clone(tk.partials) { // all of them again, in their order
		if m.event != nil {
			p.step(tk, m.event)
		}
		p.now = p.now.Add(time.Second)
		p.tick(tk)
	}
	p.commit(tk)
	if a := p.result("all", "all", "1m", base); a.Count != 2 || a.Pane != 1 {
		t.Errorf("result %+v, want the one of both events", a)
	}
}

func TestAmountsOfTheDimensionCurrencyAreInThatCurrency(t *testing.T) {
	p := one(t)
	tx := transaction("a", 0)
	tx.Currency, tx.Amount, tx.BaseAmount = "JPY", 5000, 3350
	p.scored(0, tx)
	p.closeAll(5 * testMinute)
	if a := p.result("currency", "JPY", "1m", base); a.Currency != "JPY" || a.Sum != 5000 || a.Max != 5000 {
		t.Errorf("in its currency: %+v", a)
	}
	if a := p.result("merchant", "merchant-1", "1m", base); a.Currency != "USD" || a.Sum != 3350 {
		t.Errorf("in the base currency: %+v", a)
	}
}

type overflows map[string]int

func (o overflows) SumOverflow(dimension string) { o[dimension]++ }

func TestSumOverflowIsReportedAndNeverWraps(t *testing.T) {
	seen := overflows{}
	cfg := testConfig(t, "1m", 0)
	cfg.Observer = seen
	p := newPipeline(t, cfg, 1)
	tk := p.tasks[0]
	p.begin(tk)
	for i, second := range []int64{1, 1 << 62} { // more than the transactions of any test add up to
		acc := &window.Acc{}
		acc.Add(window.Value{Amount: 1 << 62})
		acc.Add(window.Value{Amount: second})
		e := events.NewPartial(&events.Partial{
			Dimension: "rule", Value: fmt.Sprint(i), Width: testMinute, Start: base, From: base + testMinute,
			Version: 2, Count: 2, State: acc.Append(nil),
		})
		p.step(tk, &e)
	}
	p.commit(tk)
	p.closeAll(5 * testMinute)
	if a := p.result("rule", "0", "1m", base); a.Overflow || a.Sum != 1<<62+1 {
		t.Errorf("a sum that fits: %+v", a)
	}
	if a := p.result("rule", "1", "1m", base); !a.Overflow || a.Sum != math.MaxInt64 {
		t.Errorf("a sum that does not: %+v", a)
	}
	if diff := cmp.Diff(overflows{"rule": 1}, seen); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

func TestDimensions(t *testing.T) {
	p := one(t)
	tx := transaction("a", 0)
	tx.Country, tx.Category = "", ""
	tx.Rules = []events.FiredRule{{ID: "velocity", Version: 1}, {ID: "large", Version: 2}, {ID: "velocity", Version: 1}}
	tx.Flagged = true
	p.scored(0, tx)
	p.closeAll(5 * testMinute)
	var got []string
	for _, a := range p.aggregates {
		if a.Count != 1 || a.Anomalies != 1 || !a.Final {
			t.Errorf("%+v", a)
		}
		got = append(got, a.Dimension+"|"+a.Value)
	}
	want := []string{
		"all|all", "category|unknown", "country|unknown", "currency|EUR", "merchant|merchant-1",
		"payment|paypal", "rule|large", "rule|velocity", "type|purchase",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// A Step that returns an error has changed nothing.
func TestErrorsChangeNothing(t *testing.T) {
	p := newPipeline(t, testConfig(t, "1m", 0), 1)
	p.scored(0, transaction("a", 0))
	p.watermark(0, base+5*testMinute)
	p.settle()
	tk := p.tasks[0]
	p.begin(tk)
	good := events.Partial{
		Dimension: "type", Value: "refund", Width: testMinute, Start: base + 9*testMinute, From: base + 10*testMinute,
		Version: 1, Count: 1, State: accOf(1),
	}
	partial := func(change func(*events.Partial)) *events.Event {
		p := good
		change(&p)
		e := events.NewPartial(&p)
		return &e
	}
	other, late := transaction("b", 6*testMinute), transaction("c", 0)
	other.BaseCurrency = "EUR"
	otherEvent, lateEvent := events.NewScored(&other), events.NewScored(&late)
	before := len(tk.tx.Changelog)
	for _, tt := range []struct {
		name  string
		event *events.Event
		want  string
	}{
		{"no JSON", &events.Event{Type: events.TypeScored, Data: []byte("{")}, "$"},
		{"label without a merchant", &events.Event{Type: events.TypeLabel, Data: []byte("{}")}, "is missing"},
		{"base currency", &otherEvent, "$.baseCurrency is EUR"},
		{"late", &lateEvent, "late"},
		{"dimension", partial(func(p *events.Partial) { p.Dimension = "planet" }), "$.dimension"},
		{"partition", partial(func(p *events.Partial) { p.Partition = 1 }), "$.partition"},
		{"width", partial(func(p *events.Partial) { p.Width = 7 }), "$.width"},
		{"start", partial(func(p *events.Partial) { p.Start++ }), "$.width"},
		{"from", partial(func(p *events.Partial) { p.From++ }), "$.from"},
		{"from too far", partial(func(p *events.Partial) { p.From += testMinute }), "$.from"},
		{"no state", partial(func(p *events.Partial) { p.State = nil }), "$.state"},
		{"damaged state", partial(func(p *events.Partial) { p.State = p.State[:5] }), "$.state"},
		{"count", partial(func(p *events.Partial) { p.Count = 2 }), "$.count"},
		{"late partial", partial(func(p *events.Partial) { p.Start, p.From = base, base+testMinute }), "late"},
		{"day", partial(func(p *events.Partial) { p.Dimension = dimMerchantDay }), "no day"},
		{"day of a partition", partial(func(p *events.Partial) {
			p.Dimension, p.Width, p.Start, p.Partition = dimMerchantDay, day, base, 7
		}), "$.partition"},
	} {
		err := tk.fn.Step(tk.tx, tt.event)
		_, invalid := errors.AsType[*events.InvalidError](err)
		_, late := errors.AsType[*step.LateError](err)
		if err == nil || !invalid && !late || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	tk.tx.EndCommit()
	if len(tk.tx.Emitted) > 0 || len(tk.tx.Changelog) != before {
		t.Errorf("%d events emitted, %d keys of state, were %d", len(tk.tx.Emitted), len(tk.tx.Changelog), before)
	}
	if err := tk.fn.Step(tk.tx, partial(func(*events.Partial) {})); err != nil {
		t.Errorf("the one that is right: %v", err)
	}
}

func accOf(amounts ...int64) []byte {
	acc := window.NewSketched()
	for _, a := range amounts {
		acc.Add(window.Value{Amount: a})
	}
	return acc.Append(nil)
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no windows":     {func(c *Config) { c.Windows = nil }, "at least one window"},
		"bad window":     {func(c *Config) { c.Windows[0].Slide = 0 }, "slide"},
		"lateness":       {func(c *Config) { c.Lateness = -1 }, "lateness is -1ns"},
		"label delay":    {func(c *Config) { c.LabelDelay = -1 }, "label delay"},
		"currency":       {func(c *Config) { c.BaseCurrency = "XXX" }, `"XXX" is no ISO 4217 code`},
		"many":           {func(c *Config) { c.Windows = make([]window.Spec, 17) }, "at most 16"},
		"lateness in us": {func(c *Config) { c.Lateness = time.Microsecond }, "whole milliseconds"},
	} {
		cfg := DefaultConfig()
		tt.change(&cfg)
		if _, err := Definition(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
	def, err := Definition(DefaultConfig())
	if err != nil || def.Settings != "windows=1m,5m/1m,1h lateness=1m0s base=USD" {
		t.Errorf("default: %q, %v", def.Settings, err)
	}
}

func TestCodecsRefuseWhatIsDamagedOrNewer(t *testing.T) {
	def, err := Definition(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for kind, codec := range def.Codecs {
		if _, err := codec.Parse([]byte{99}); !errors.Is(err, step.ErrNewerVersion) {
			t.Errorf("kind %#x of version 99: %v, want ErrNewerVersion", kind, err)
		}
		for _, data := range [][]byte{nil, {0}} {
			if _, err := codec.Parse(data); err == nil || errors.Is(err, step.ErrNewerVersion) {
				t.Errorf("kind %#x of %x: %v, want an error", kind, data, err)
			}
		}
	}
}

// Stored values from anywhere never make Parse panic, and what it takes is
// written as it was read.
func FuzzCodecs(f *testing.F) {
	p := newPipeline(f, testConfig(f, "1m,5m/1m", 0), 1)
	p.scored(0, transaction("a", 0))
	p.label(0, "merchant-1", 0, true)
	p.settle()
	for key, value := range p.tasks[0].tx.Changelog {
		f.Add(key[0], value)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		codec, ok := p.def.Codecs[kind]
		if !ok {
			return
		}
		value, err := codec.Parse(data)
		if err != nil {
			return
		}
		if again := codec.Append(nil, value); !bytes.Equal(again, data) {
			t.Fatalf("kind %#x: %x was read, %x written", kind, data, again)
		}
	})
}
