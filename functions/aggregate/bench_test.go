package aggregate

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// benchTx is a step.Tx that costs next to nothing: state in a map, nothing
// encoded, emitted events dropped.
type benchTx struct {
	state    map[string]any
	now      time.Time
	mark     int64
	commits  uint64
	partials []events.Event
	keep     bool // partials
	emitted  int
}

func newBenchTx() *benchTx {
	return &benchTx{state: map[string]any{}, mark: step.MinWatermark, now: time.UnixMilli(base), commits: 1}
}

func (tx *benchTx) Get(key []byte) any { return tx.state[string(key)] }
func (tx *benchTx) Put(key []byte, value any) {
	tx.state[string(key)] = value
}
func (tx *benchTx) Delete(key []byte)           { delete(tx.state, string(key)) }
func (tx *benchTx) All() iter.Seq2[[]byte, any] { return nil }
func (tx *benchTx) Emit(topic string, e *events.Event) {
	tx.emitted++
	if tx.keep && topic == events.TopicPartials {
		tx.partials = append(tx.partials, *e)
	}
}
func (tx *benchTx) Observe(ms int64) error      { tx.mark = max(tx.mark, ms-2000); return nil }
func (tx *benchTx) Watermark() int64            { return tx.mark }
func (tx *benchTx) InputWatermark(string) int64 { return tx.mark }
func (tx *benchTx) Now() time.Time              { return tx.now }
func (tx *benchTx) Commit() uint64              { return tx.commits }
func (tx *benchTx) Table(string) any            { return nil }

var _ step.Tx = (*benchTx)(nil)

// traffic are transactions of a live system: 5000 customers, merchants as many as
// said, an event a millisecond.
func traffic(n, merchants int) []events.Event {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]events.Event, n)
	for i := range out {
		t := transaction(fmt.Sprint(i), int64(i))
		t.UserID = fmt.Sprint("user-", r.IntN(5000))
		t.MerchantID = fmt.Sprint("merchant-", r.IntN(merchants))
		t.Category = fmt.Sprint("category-", r.IntN(12))
		t.Country = []string{"DE", "FR", "GB", "US", "NL", "IT", "ES", "PL"}[r.IntN(8)]
		t.Currency = []string{"EUR", "USD", "GBP"}[r.IntN(3)]
		t.PaymentMethod = []string{"credit_card", "debit_card", "paypal"}[r.IntN(3)]
		t.Amount = 1 + int64(math.Exp(8+r.NormFloat64()))
		t.BaseAmount = 1 + t.Amount*11/10
		if r.IntN(20) == 0 {
			t.Flagged, t.Rules = true, []events.FiredRule{{ID: "velocity", Version: 1}}
		}
		out[i] = events.NewScored(&t)
	}
	return out
}

func benchFunction(b testing.TB, tx *benchTx, partitions int) *function {
	b.Helper()
	def, err := Definition(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	inputs := map[string]int{events.TopicScored: partitions}
	return def.New(step.Task{Inputs: inputs, State: func(yield func([]byte, any) bool) {
		for key, value := range tx.state {
			if !yield([]byte(key), value) {
				return
			}
		}
	}}).(*function)
}

// One scored transaction through the first phase, with its parsing, and without:
// what adding it to 8 dimensions and the journal takes. Ticks are part of it.
func BenchmarkCollect(b *testing.B) {
	input := traffic(1<<16, 1000)
	b.Run("parse+collect", func(b *testing.B) {
		tx := newBenchTx()
		f := benchFunction(b, tx, 4)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if err := f.Step(tx, &input[i&(1<<16-1)]); err != nil {
				b.Fatal(err)
			}
			if i++; i%1500 == 0 {
				tick(b, f, tx)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		var t events.Scored
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if err := events.ParseScored(input[i&(1<<16-1)].Data, &t); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("collect", func(b *testing.B) {
		tx := newBenchTx()
		f := benchFunction(b, tx, 4)
		rows := rowsOf(b, f, input)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			f.collector.row = rows[i&(1<<16-1)]
			f.collector.note(tx)
			if i++; i%1500 == 0 {
				tx.commits++
			}
		}
	})
}

func tick(b testing.TB, f *function, tx *benchTx) {
	tx.commits++
	tx.now = tx.now.Add(tickEvery)
	if err := f.Tick(tx, tx.now); err != nil {
		b.Fatal(err)
	}
}

// rowsOf reads what the collector makes of input.
func rowsOf(b *testing.B, f *function, input []events.Event) []row {
	rows := make([]row, len(input))
	for i := range input {
		if err := f.Step(newBenchTx(), &input[i]); err != nil {
			b.Fatal(err)
		}
		rows[i] = f.collector.row
		f.collector.row = row{}
	}
	f.collector.journal.clear(newBenchTx())
	return rows
}

// One partial through the second phase, with all that comes of it: updates and
// final results.
func BenchmarkMerge(b *testing.B) {
	from := newBenchTx()
	from.keep = true
	collect := benchFunction(b, from, 4)
	for _, e := range traffic(200_000, 1000) {
		if err := collect.Step(from, &e); err != nil {
			b.Fatal(err)
		}
		if from.emitted++; from.emitted%250 == 0 {
			tick(b, collect, from)
		}
	}
	partials := from.partials
	b.Run(fmt.Sprint(len(partials), " partials"), func(b *testing.B) {
		b.ReportAllocs()
		n, results := 0, 0
		for b.Loop() {
			tx := newBenchTx()
			f := benchFunction(b, tx, 4)
			for i := range partials {
				if err := f.Step(tx, &partials[i]); err != nil {
					b.Fatal(err)
				}
				if i%2000 == 0 {
					tick(b, f, tx)
				}
			}
			tx.mark = base + 10*3600*testSecond
			tick(b, f, tx)
			n += len(partials)
			results += tx.emitted
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/partial")
		b.ReportMetric(float64(results)/float64(n), "results/partial")
	})
}

// Memory of one of four tasks after 6 minutes at 250 transactions a second and
// task, from 10,000 merchants, with everything that the windows need; the engine
// keeps the state besides.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		input := traffic(90_000, 10_000)
		for i := range input { // an event every 4 ms
			var t events.Scored
			if err := events.ParseScored(input[i].Data, &t); err != nil {
				b.Fatal(err)
			}
			t.Time = base + int64(i)*4
			input[i] = events.NewScored(&t)
		}
		before := heapBytes()
		tx := newBenchTx()
		tx.keep = true
		f := benchFunction(b, tx, 4)
		for i := range input {
			if err := f.Step(tx, &input[i]); err != nil {
				b.Fatal(err)
			}
			if i%62 == 0 {
				tick(b, f, tx)
				// A task owns a quarter of the keys, of four partitions.
				for _, e := range tx.partials {
					if ownerOf(e.Key, 4) != 0 {
						continue
					}
					for partition := range 4 {
						var p events.Partial
						if err := events.ParsePartial(e.Data, &p); err != nil {
							b.Fatal(err)
						}
						p.Partition = partition
						e := events.NewPartial(&p)
						if err := f.Step(tx, &e); err != nil {
							b.Fatal(err)
						}
					}
				}
				tx.partials = nil
			}
		}
		b.ReportMetric(float64(heapBytes()-before)/1e6, "MB/task")
		runtime.KeepAlive(f)
		runtime.KeepAlive(input)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
