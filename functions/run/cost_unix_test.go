//go:build unix

package run

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/aggregate"
	"datasurge/functions/detect"
	"datasurge/functions/enrich"
	"datasurge/functions/step"
	"datasurge/functions/stream"
)

// BenchmarkMetrics is a function with its metrics and without, as the engine
// drives it under transport kafka, in pairs for benchstat:
//
//	go test -run '^$' -bench Metrics -benchtime 300000x -count 10 ./functions/run | tee new.txt
//	benchstat -col /metrics new.txt
//
// One operation is one transaction. cpu-ns/op is what the process used for it,
// user and system time; that is the function alone when KAFKA_BROKERS names a
// Kafka elsewhere, otherwise the broker is in it too.
func BenchmarkMetrics(b *testing.B) {
	for _, name := range benchChain {
		for _, observed := range []bool{false, true} {
			b.Run(fmt.Sprintf("function=%s/metrics=%v", name, observed), func(b *testing.B) {
				p := newInputOf(b, name)
				begun := cpuTime(b)
				b.ResetTimer()
				if observed {
					p.start(name)
					p.awaitStepped(b.N)
				} else {
					p.awaitUnobserved(name, b.N)
				}
				b.StopTimer()
				b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N), "cpu-ns/op")
				p.stop()
			})
		}
	}
}

// cpuTime is the time that the cores have worked for this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// awaitUnobserved starts a function that nobody observes, but for the number of
// its events, and waits until it has stepped n of them.
func (p *pipeline) awaitUnobserved(name string, n int) {
	p.t.Helper()
	var def step.Definition
	var err error
	switch name {
	case "enrich":
		def, err = enrich.Definition(enrich.DefaultConfig())
	case "detect":
		def, err = detect.Definition(detect.DefaultConfig())
	case "aggregate":
		def, err = aggregate.Definition(aggregate.DefaultConfig())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	counted := &countedOnly{}
	e, err := stream.Open(context.Background(), stream.Options{
		Definition: def, Kafka: p.Opts(), Consume: true, Owner: stream.Static{}, CommitInterval: p.config.Commit,
		Logger: slog.New(slog.DiscardHandler), Observer: counted, Limits: limits(&p.config),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.engines = append(p.engines, e)
	for deadline := time.Now().Add(5 * time.Minute); counted.n.Load() < int64(n); {
		if err := e.Err(); err != nil || time.Now().After(deadline) {
			p.t.Fatalf("%d of %d events were stepped: %v", counted.n.Load(), n, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// countedOnly counts as stepped does, without the metrics.
type countedOnly struct{ n atomic.Int64 }

// Committed implements stream.Observer.
func (c *countedOnly) Committed(_ string, commit *stream.Commit) { count(&c.n, commit) }

// The rest of stream.Observer does nothing.
func (*countedOnly) Watermark(string, int, int64)                               {}
func (*countedOnly) Restoring(string, int, int64)                               {}
func (*countedOnly) Restored(string, int, int, time.Duration, stream.StateSize) {}
func (*countedOnly) Failed(string, int, stream.Lost)                            {}
func (*countedOnly) Released(string, int)                                       {}
func (*countedOnly) Rebalanced(string)                                          {}
func (*countedOnly) Client(string) []kgo.Hook                                   { return nil }

var _ stream.Observer = (*countedOnly)(nil)
