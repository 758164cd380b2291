package aggregate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
	"datasurge/functions/window"
)

// pipeline runs tasks of aggregate as the engine does: inputs are logs that are
// read from a position, and outputs, state and position become visible together
// with the commit. A crash drops everything since the last one.
type pipeline struct {
	t     testing.TB
	def   step.Definition
	tasks []*task
	now   time.Time

	aggregates []events.Aggregate
	order      []string // ids of aggregates as they came
	risks      []events.MerchantRisk
	late       int
}

// message is one entry of a log: an event, or what its writer says of the
// watermark.
type message struct {
	event *events.Event
	from  int   // task that wrote it
	mark  int64 // watermark of from, when event is nil
}

type task struct {
	number    int
	tx        *steptest.Tx
	fn        step.Function
	scored    []message
	partials  []message
	position  position
	committed position
	dirty     bool
	ticked    bool // a Tick was part of the commit under way
	late      int  // late events of the commit under way
	announce  int64
}

// position is what a task commits besides its state.
type position struct {
	scored, partials int
	mark             int64 // of scored
	marks            []int64
}

func newPipeline(t testing.TB, cfg Config, tasks int) *pipeline {
	t.Helper()
	def, err := Definition(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{t: t, def: def, now: time.UnixMilli(1_800_000_000_000)}
	for n := range tasks {
		tk := &task{number: n, tx: steptest.New(t, def)}
		tk.position.mark = step.MinWatermark
		for range tasks {
			tk.position.marks = append(tk.position.marks, step.MinWatermark)
		}
		tk.committed = tk.position.clone()
		tk.fn = def.New(tk.tx.Task(n, tasks))
		p.tasks = append(p.tasks, tk)
	}
	return p
}

func (p position) clone() position {
	p.marks = slices.Clone(p.marks)
	return p
}

func (p *pipeline) begin(tk *task) {
	tk.tx.Time = p.now
	tk.tx.Marks[events.TopicScored] = tk.position.mark
	tk.tx.Marks[events.TopicPartials] = slices.Min(tk.position.marks)
	tk.dirty = true
}

// scored appends a transaction to the input of task n.
func (p *pipeline) scored(n int, t events.Scored) {
	e := events.NewScored(&t)
	p.tasks[n].scored = append(p.tasks[n].scored, message{event: &e})
}

// watermark appends the watermark of scored_transactions to the input of task n.
func (p *pipeline) watermark(n int, mark int64) {
	p.tasks[n].scored = append(p.tasks[n].scored, message{mark: mark})
}

// stepScored steps the next message of scored_transactions; false when there is
// none.
func (p *pipeline) stepScored(tk *task) bool {
	if tk.position.scored == len(tk.scored) {
		return false
	}
	m := tk.scored[tk.position.scored]
	tk.position.scored++
	p.begin(tk)
	if m.event == nil {
		tk.position.mark = max(tk.position.mark, m.mark)
		return true
	}
	p.step(tk, m.event)
	return true
}

func (p *pipeline) stepPartial(tk *task) bool {
	if tk.position.partials == len(tk.partials) {
		return false
	}
	m := tk.partials[tk.position.partials]
	tk.position.partials++
	p.begin(tk)
	if m.event == nil {
		tk.position.marks[m.from] = max(tk.position.marks[m.from], m.mark)
		return true
	}
	p.step(tk, m.event)
	return true
}

func (p *pipeline) step(tk *task, e *events.Event) {
	p.t.Helper()
	err := tk.fn.Step(tk.tx, e)
	if _, ok := errors.AsType[*step.LateError](err); ok {
		tk.late++
	} else if err != nil {
		p.t.Fatalf("step of %s: %v", e.ID, err)
	}
}

func (p *pipeline) tick(tk *task) {
	p.t.Helper()
	p.begin(tk)
	if err := tk.fn.Tick(tk.tx, p.now); err != nil {
		p.t.Fatalf("tick: %v", err)
	}
	tk.ticked, tk.announce = true, tk.position.mark
}

// commit makes visible what tk did since its last commit.
func (p *pipeline) commit(tk *task) {
	p.t.Helper()
	if !tk.dirty {
		return
	}
	for _, emitted := range tk.tx.Emitted {
		e := emitted.Event
		switch emitted.Topic {
		case events.TopicPartials:
			owner := p.tasks[ownerOf(e.Key, len(p.tasks))]
			owner.partials = append(owner.partials, message{event: &e, from: tk.number})
		case events.TopicAggregates:
			var a events.Aggregate
			if err := events.ParseAggregate(e.Data, &a); err != nil {
				p.t.Fatalf("own result %s: %v\n%s", e.ID, err, e.Data)
			}
			p.aggregates = append(p.aggregates, a)
			p.order = append(p.order, e.ID)
		case events.TopicRisk:
			var r events.MerchantRisk
			if err := events.ParseMerchantRisk(e.Data, &r); err != nil {
				p.t.Fatalf("own risk %s: %v\n%s", e.ID, err, e.Data)
			}
			p.risks = append(p.risks, r)
		}
	}
	tk.tx.Emitted = nil
	if tk.ticked { // the engine announces the watermark after what Tick emitted
		for _, owner := range p.tasks {
			owner.partials = append(owner.partials, message{from: tk.number, mark: tk.announce})
		}
	}
	tk.tx.EndCommit()
	p.late += tk.late
	tk.late, tk.dirty, tk.ticked = 0, false, false
	tk.committed = tk.position.clone()
}

func ownerOf(key string, tasks int) int {
	h := fnv.New32a()
	h.Write([]byte(key))
	return int(h.Sum32() % uint32(tasks))
}

// crash drops what tk did since its last commit and starts it again.
func (p *pipeline) crash(tk *task) {
	p.t.Helper()
	tk.tx = tk.tx.Restart()
	tk.position = tk.committed.clone()
	tk.late, tk.dirty, tk.ticked = 0, false, false
	tk.fn = p.def.New(tk.tx.Task(tk.number, len(p.tasks)))
}

// run steps, ticks and commits everything until nothing moves, with time passing
// so that nothing is held back.
func (p *pipeline) run() {
	p.t.Helper()
	for range 4 {
		for moved := true; moved; {
			moved = false
			for _, tk := range p.tasks {
				for p.stepScored(tk) {
					moved = true
				}
				before := tk.position.partials
				for p.stepPartial(tk) {
				}
				for _, m := range tk.partials[before:tk.position.partials] {
					moved = moved || m.event != nil
				}
				p.tick(tk)
				p.commit(tk)
			}
		}
		p.now = p.now.Add(2 * time.Hour)
	}
}

// settle is run without time passing.
func (p *pipeline) settle() {
	p.t.Helper()
	for range 3 {
		for _, tk := range p.tasks {
			for p.stepScored(tk) {
			}
			for p.stepPartial(tk) {
			}
			p.tick(tk)
			p.commit(tk)
		}
	}
}

// upserts returns the last result of each window and checks that results came as
// promised: panes and counts grow, and nothing comes after the final one.
func (p *pipeline) upserts() map[string]events.Aggregate {
	p.t.Helper()
	last := map[string]events.Aggregate{}
	for _, a := range p.aggregates {
		key := resultName(a.Dimension, a.Value, a.Window, a.Start)
		before, ok := last[key]
		switch {
		case !ok && a.Pane != 0, ok && a.Pane != before.Pane+1:
			p.t.Fatalf("%s: pane %d after %+v", key, a.Pane, before)
		case before.Final:
			p.t.Fatalf("%s: %+v after the final result", key, a)
		case a.Count < before.Count:
			p.t.Fatalf("%s: count went back from %d to %d", key, before.Count, a.Count)
		}
		last[key] = a
	}
	return last
}

func resultName(dim, value, window string, start int64) string {
	return fmt.Sprintf("%s|%s|%s|%d", dim, value, window, start)
}

// result returns the last result of a window and fails if there is none.
func (p *pipeline) result(dim, value, window string, start int64) events.Aggregate {
	p.t.Helper()
	a, ok := p.upserts()[resultName(dim, value, window, start)]
	if !ok {
		p.t.Fatalf("no result of %s; there are %v", resultName(dim, value, window, start), slices.Sorted(maps.Keys(p.upserts())))
	}
	return a
}

// base is the time that the tests count from: the start of a day.
const base = int64(1_799_971_200_000)

const (
	testSecond = int64(1000)
	testMinute = 60 * testSecond
)

// tx returns a scored transaction at base+at.
func transaction(id string, at int64) events.Scored {
	return events.Scored{
		Enriched: events.Enriched{
			Transaction: events.Transaction{
				TransactionID: id, UserID: "user-" + id, Amount: 1000, Currency: "EUR", Time: base + at,
				MerchantID: "merchant-1", Type: "purchase", Location: "Berlin, DE", PaymentMethod: "paypal",
			},
			Category: "food", Country: "DE", BaseAmount: 1100, BaseCurrency: "USD",
		},
		RuleSet: "1", ModelVersion: "1",
	}
}

func testConfig(t testing.TB, windows string, lateness time.Duration) Config {
	t.Helper()
	cfg := DefaultConfig()
	var err error
	if cfg.Windows, err = window.ParseSpecs(windows); err != nil {
		t.Fatal(err)
	}
	cfg.Lateness = lateness
	return cfg
}
