//go:build unix

package metrics

import (
	"fmt"
	"iter"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/aggregate"
	"datasurge/functions/detect"
	"datasurge/functions/enrich"
	"datasurge/functions/step"
	"datasurge/functions/stream"
)

// BenchmarkStep is the steps of a function with its metrics and without, a
// thousand to a commit as under the engine, which is told of the commit. The two
// take turns, so that whatever else the machine does befalls both: cost-ns/event
// is the median of the difference, in CPU time. It stands against the CPU time of
// the whole function for an event, which functions/run has as BenchmarkMetrics.
func BenchmarkStep(b *testing.B) {
	for _, name := range []string{"enrich", "detect", "aggregate"} {
		b.Run(name, func(b *testing.B) {
			input := traffic(name)
			without, with := newStepped(b, name, nil), newStepped(b, name, New(name, "test", quiet))
			var alone, watched, cost []float64
			for n := 0; b.Loop(); n++ {
				var took [2]float64
				for turn := range 2 {
					i := (n + turn) % 2 // each is first half of the time
					took[i] = [...]*stepped{without, with}[i].commit(b, input)
				}
				if n > 0 { // at first, both are filling their state
					alone, watched, cost = append(alone, took[0]), append(watched, took[1]), append(cost, took[1]-took[0])
				}
			}
			b.ReportMetric(median(alone), "without-ns/event")
			b.ReportMetric(median(watched), "with-ns/event")
			b.ReportMetric(median(cost), "cost-ns/event")
		})
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

const perCommit = 1000

// stepped is one task of a function, with metrics or without.
type stepped struct {
	*memoryTx
	name     string
	observer *Metrics // nil for none
	function step.Function
	next     int
	times    []int64
}

func newStepped(b *testing.B, name string, m *Metrics) *stepped {
	b.Helper()
	var def step.Definition
	var err error
	switch name {
	case "enrich":
		c := enrich.DefaultConfig()
		if m != nil {
			c.Observer = m.Enrich()
		}
		def, err = enrich.Definition(c)
	case "detect":
		c := detect.DefaultConfig()
		if m != nil {
			c.Observer = m.Detect()
		}
		def, err = detect.Definition(c)
	case "aggregate":
		c := aggregate.DefaultConfig()
		if m != nil {
			c.Observer = m.Aggregate()
		}
		def, err = aggregate.Definition(c)
	}
	if err != nil {
		b.Fatal(err)
	}
	tx := &memoryTx{state: map[string]any{}, tables: map[string]any{}, mark: step.MinWatermark}
	for _, table := range def.Tables {
		tx.tables[table.Topic] = table.Initial
	}
	inputs := map[string]int{}
	for _, in := range def.Inputs {
		inputs[in.Topic] = 1
	}
	task := step.Task{Function: name, Partitions: 1, Inputs: inputs, State: func(func([]byte, any) bool) {}}
	return &stepped{memoryTx: tx, name: name, observer: m, function: def.New(task)}
}

// commit steps a thousand events, and returns the CPU time of one in ns.
func (s *stepped) commit(b *testing.B, input []events.Event) float64 {
	begun := cpuTime(b)
	s.times, s.commits = s.times[:0], s.commits+1
	for range perCommit {
		if err := s.function.Step(s, &input[s.next%len(input)]); err != nil {
			b.Fatal(err)
		}
		s.next++
		if s.observer != nil {
			s.times = append(s.times, s.observed)
		}
	}
	if s.observer != nil {
		s.observer.Committed(s.name, &stream.Commit{
			At: time.UnixMilli(s.observed), Took: 50 * time.Millisecond, Ending: 10 * time.Millisecond, Times: s.times,
			Events: []stream.EventCount{{Type: input[0].Type, Result: stream.ResultOK, N: perCommit}},
			Output: []stream.TopicCount{{Topic: events.TopicScored, N: perCommit}},
		})
	}
	return float64(cpuTime(b)-begun) / perCommit
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// traffic is the input of a function: 5,000 users, 500 merchants.
func traffic(function string) []events.Event {
	list := make([]events.Event, 200_000)
	for i := range list {
		x := enriched(i)
		x.TransactionID = fmt.Sprintf("0189f7ea-ae2c-7809-8aeb-%012x", i)
		x.Type, x.Location, x.Country = "purchase", "Berlin, DE", "DE"
		switch function {
		case "enrich":
			list[i] = events.NewTransaction(&x.Transaction)
		case "detect":
			list[i] = events.NewEnriched(x)
		case "aggregate":
			list[i] = events.NewScored(&events.Scored{Enriched: *x})
		}
	}
	return list
}

// memoryTx is a step.Tx that costs next to nothing.
type memoryTx struct {
	state, tables  map[string]any
	mark, observed int64
	commits        uint64
}

func (tx *memoryTx) Get(key []byte) any          { return tx.state[string(key)] }
func (tx *memoryTx) Put(key []byte, value any)   { tx.state[string(key)] = value }
func (tx *memoryTx) Delete(key []byte)           { delete(tx.state, string(key)) }
func (tx *memoryTx) All() iter.Seq2[[]byte, any] { return nil }
func (tx *memoryTx) Emit(string, *events.Event)  {}
func (tx *memoryTx) Observe(ms int64) error {
	tx.observed, tx.mark = ms, max(tx.mark, ms-2000)
	return nil
}
func (tx *memoryTx) Watermark() int64            { return tx.mark }
func (tx *memoryTx) InputWatermark(string) int64 { return tx.mark }
func (tx *memoryTx) Now() time.Time              { return time.UnixMilli(tx.observed) }
func (tx *memoryTx) Commit() uint64              { return tx.commits }
func (tx *memoryTx) Table(topic string) any      { return tx.tables[topic] }

var _ step.Tx = (*memoryTx)(nil)

// BenchmarkScrape is a scrape of a function that has seen 500 merchants.
func BenchmarkScrape(b *testing.B) {
	for _, function := range []string{"enrich", "detect"} {
		b.Run(function, func(b *testing.B) {
			handler := busy(b, function).Handler()
			begun := cpuTime(b)
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
			}
			b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}
