package stream

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events/kafkarecord"
	"datasurge/functions/stream/kafkatest"
)

// BenchmarkFunction is one stateful function, transport kafka, exactly once, with
// commits every 100 ms: it sums by key over 5,000 keys and emits each event with
// its sum. One operation is one event; broker and function share the machine.
func BenchmarkFunction(b *testing.B) {
	backend := kafkatest.Brokers(b)
	tb := newTestbed(b, backend, 4)
	const keys = 5000
	load(tb, b.N, keys)
	b.ReportAllocs()
	b.ResetTimer()
	e := tb.start(func(o *Options) { o.CommitInterval = 100 * time.Millisecond })
	waitProcessed(tb, e, b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	stop(b, e)
}

// BenchmarkRestore is a restore of one partition. One operation is one changelog
// record.
func BenchmarkRestore(b *testing.B) {
	backend := kafkatest.Brokers(b)
	tb := newTestbed(b, backend, 1)
	load(tb, b.N, b.N)
	e := tb.start(func(o *Options) { o.CommitInterval = 100 * time.Millisecond })
	waitProcessed(tb, e, b.N)
	stop(b, e)
	b.ReportAllocs()
	b.ResetTimer()
	e = tb.start(nil)
	tb.ready(e)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	stop(b, e)
}

// load writes n numbers over keys keys.
func load(tb *testbed, n, keys int) {
	cl := tb.Client(tb.t, kgo.DefaultProduceTopic(tb.in), kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range n {
		number := numbered{id: "n" + strconv.Itoa(i), key: "k" + strconv.Itoa(i%keys), n: 1, at: start.Add(time.Duration(i) * time.Millisecond)}
		rec := &kgo.Record{}
		kafkarecord.Write(number.event(), rec)
		cl.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				tb.t.Error(err)
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		tb.t.Fatal(err)
	}
}

// waitProcessed waits until the committed positions add up to n.
func waitProcessed(tb *testbed, e *Engine, n int) {
	for deadline := time.Now().Add(5 * time.Minute); ; {
		sum := int64(0)
		for _, byTopic := range e.Positions() {
			sum += byTopic[tb.in]
		}
		if sum >= int64(n) {
			return
		}
		if time.Now().After(deadline) || e.Err() != nil {
			tb.t.Fatalf("processed %d of %d: %v", sum, n, e.Err())
		}
		time.Sleep(time.Millisecond)
	}
}
