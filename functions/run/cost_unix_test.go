//go:build unix

package run

import (
	"fmt"
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
					var counted countedOnly
					p.open(unobserved(b, name), &counted)
					p.awaitCount(&counted.n, b.N)
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

// unobserved is a function that nobody observes.
func unobserved(b *testing.B, name string) step.Definition {
	b.Helper()
	var definition step.Definition
	var err error
	switch name {
	case "enrich":
		definition, err = enrich.Definition(enrich.DefaultConfig())
	case "detect":
		definition, err = detect.Definition(detect.DefaultConfig())
	case "aggregate":
		definition, err = aggregate.Definition(aggregate.DefaultConfig())
	}
	if err != nil {
		b.Fatal(err)
	}
	return definition
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
