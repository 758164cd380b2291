package run

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/stream/kafkatest"
)

// BenchmarkFunctions runs each function over transactions in the original
// system's format, transport kafka, with broker and function in this process. One
// operation is one transaction.
func BenchmarkFunctions(b *testing.B) {
	for _, name := range benchChain {
		b.Run(name, func(b *testing.B) {
			p := newInputOf(b, name)
			b.ReportAllocs()
			b.ResetTimer()
			p.start(name)
			p.awaitStepped(b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transactions/s")
			p.stop()
		})
	}
}

// benchChain is the functions that are measured, in the order of the pipeline.
var benchChain = [...]string{"enrich", "detect", "aggregate"}

// newInputOf returns a pipeline in which b.N transactions in the original system's
// format have gone through the functions before name.
func newInputOf(b *testing.B, name string) *pipeline {
	b.Helper()
	p := newPipeline(b, kafkatest.Brokers(b), func(c *Config) { c.MaxAhead = 0 })
	p.produceOriginal(b.N)
	for _, before := range benchChain {
		if before == name {
			break
		}
		p.start(before)
		p.awaitStepped(b.N)
		p.stop()
	}
	return p
}

// awaitStepped waits until the function that was started last has stepped n
// events.
func (p *pipeline) awaitStepped(n int) {
	p.t.Helper()
	p.awaitCount(&p.stepped.n, n)
}

// awaitCount waits until events of the function that was started last have been
// counted n times.
func (p *pipeline) awaitCount(counted *atomic.Int64, n int) {
	p.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); counted.Load() < int64(n); {
		if err := p.engines[len(p.engines)-1].Err(); err != nil || time.Now().After(deadline) {
			p.t.Fatalf("%d of %d events were stepped: %v", counted.Load(), n, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// produceOriginal writes n transactions as the original system's producer does.
func (p *pipeline) produceOriginal(n int) {
	p.t.Helper()
	cl := p.Client(p.t, kgo.DefaultProduceTopic(events.TopicTransactions), kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	rng := rand.New(rand.NewPCG(1, 1))
	at := time.Now().Add(-time.Duration(n) * time.Millisecond)
	for i := range n {
		user := fmt.Sprintf("user_%d", rng.IntN(50_000))
		value := fmt.Sprintf(`{"transactionId": "%08x-0000-4000-8000-%012x", "userId": "%s", "amount": %d.%02d, "transactionTime": %d, "merchantId": "merchant_%d", "transactionType": "purchase", "location": "location_%d", "paymentMethod": "credit_card", "international": "True", "currency": "USD"}`,
			i, i, user, 50_000+rng.IntN(100_000), rng.IntN(100), at.Add(time.Duration(i)*time.Millisecond).UnixMilli(), rng.IntN(200), rng.IntN(50))
		cl.Produce(context.Background(), &kgo.Record{Key: []byte(user), Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err != nil {
				p.t.Error(err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}
