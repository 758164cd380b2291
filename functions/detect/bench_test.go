package detect

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// benchTx is a step.Tx without the checks of steptest.
type benchTx struct {
	state  map[string]any
	tables map[string]any
	bytes  int
}

func newBenchTx(def step.Definition) *benchTx {
	tx := &benchTx{state: map[string]any{}, tables: map[string]any{}}
	for _, table := range def.Tables {
		tx.tables[table.Topic] = table.Initial
	}
	return tx
}

func (tx *benchTx) Get(key []byte) any             { return tx.state[string(key)] }
func (tx *benchTx) Put(key []byte, value any)      { tx.state[string(key)] = value }
func (tx *benchTx) All() iter.Seq2[[]byte, any]    { return nil }
func (tx *benchTx) Delete(key []byte)              { delete(tx.state, string(key)) }
func (tx *benchTx) Emit(_ string, e *events.Event) { tx.bytes += len(e.Data) }
func (tx *benchTx) Observe(int64) error            { return nil }
func (tx *benchTx) Watermark() int64               { return 0 }
func (tx *benchTx) InputWatermark(string) int64    { return 0 }
func (tx *benchTx) Now() time.Time                 { return time.Time{} }
func (tx *benchTx) Commit() uint64                 { return 0 }
func (tx *benchTx) Table(topic string) any         { return tx.tables[topic] }

// BenchmarkStep is a whole Step: parse, profile, features, rules, score, encode.
// The customers are as busy as those of the generator.
//
// With windows, three of the rules ask for two windows each: one of the customer
// and one of the merchant.
func BenchmarkStep(b *testing.B) {
	for _, count := range []int{7, 10, 100} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) { benchmarkStep(b, count, false) })
	}
	b.Run("rules=10,windows=6", func(b *testing.B) { benchmarkStep(b, 7, true) })
}

func benchmarkStep(b *testing.B, count int, windows bool) {
	def, err := Definition(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	set := def.Tables[0].Initial
	conditions := []string{
		"amount > 50000 && international && paymentMethod == 'paypal'",
		"count1d > 20 && mean1d > 3.0 * mean30d",
		"night && distanceKm > 500 && !(country in ['DE', 'FR', 'US'])",
	}
	var records []step.Change
	for i := range count - 7 {
		records = append(records, ruleRecord(fmt.Sprintf("extra-%d", i), "active", conditions[i%3]))
	}
	for i := range 3 {
		if windows {
			records = append(records, askingWith(fmt.Sprintf("asks-%d", i), "mine > 1000 && theirs > 10000",
				fmt.Sprintf(`name: mine, aggregate: sum, duration: %dh, filter: "paymentMethod == 'paypal' && amount > 5"`, i+1),
				fmt.Sprintf("name: theirs, key: merchantId, aggregate: count, duration: %dm", i+10)))
		}
	}
	if set, err = def.Tables[0].Apply(set, records); err != nil {
		b.Fatal(err)
	}
	tx := newBenchTx(def)
	tx.tables[events.TopicRules] = set
	function := def.New(step.Task{})
	var input []events.Event
	for i, t := range stream(20_000) {
		t.UserID = fmt.Sprintf("user_%d", i%200)
		t.BaseAmount = 1000 + int64(i%50)*100
		t.Amount, t.Country, t.MerchantRisk = t.BaseAmount, "DE", 0.004
		input = append(input, events.NewEnriched(&t))
	}
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		start := time.Now()
		if err := function.Step(tx, &input[i%len(input)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(tx.bytes)/float64(i), "bytes-out/op")
}

// BenchmarkProfile is the part of a Step that reads and writes the profile of a
// busy customer.
func BenchmarkProfile(b *testing.B) {
	var p profile
	var v vector
	at := day0
	for range 40_000 {
		next := bought(at, 123_456)
		p.begin("USD")
		p.add(&next)
		at += minute
	}
	data := p.append(nil)
	next := bought(at, 123_456)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.decode(data); err != nil {
			b.Fatal(err)
		}
		p.observe(&next, &v)
		data = p.append(data[:0])
	}
	b.ReportMetric(float64(len(data)), "bytes")
}

// BenchmarkRestore is one record of a changelog.
func BenchmarkRestore(b *testing.B) {
	var p profile
	for i := range int64(200) {
		next := bought(day0+i*4*hour, 12_345)
		p.begin("USD")
		p.add(&next)
	}
	data := p.append(nil)
	codec := profileCodec()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := codec.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
