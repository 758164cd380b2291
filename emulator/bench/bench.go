// Package bench measures the functions over Kafka: transactions in the original
// system's format go through enrich, detect and aggregate, transport kafka,
// exactly once, and what comes out is counted.
package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says what to measure.
type Config struct {
	Transactions int
	// Open starts a Kafka with empty topics of the pipeline, and returns what
	// connects to it, its addresses, and how to end it.
	Open func(ctx context.Context) (*Kafka, error)
	// Command starts a function, whose name is in the variable FUNCTION.
	Command []string
	Env     []string
	// Progress is told what is going on, a line each.
	Progress io.Writer
}

// Kafka is a Kafka with empty topics.
type Kafka struct {
	Addrs  []string
	Client []kgo.Opt
	Close  func() error
}

// Report is what was measured.
type Report struct {
	Transactions int                 `json:"transactions"`
	CPUs         int                 `json:"cpus"`
	Produce      Rate                `json:"produce"`   // writing the input
	Functions    map[string]Function `json:"functions"` // each alone
	Chain        Chain               `json:"chain"`     // all three at once
	Restore      Rate                `json:"restore"`   // detect's changelog, a partition
	Latency      Latency             `json:"latency"`   // at a steady rate
}

// Rate is a number of things in a time.
type Rate struct {
	Count     int     `json:"count"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
}

// Function is one function's measurement.
type Function struct {
	Rate
	CPUMicros float64 `json:"cpuMicros"` // CPU time an event, the function's process
	CommitP50 float64 `json:"commitP50"` // seconds from a commit's first step to its end
	CommitP99 float64 `json:"commitP99"`
	PeakMB    float64 `json:"peakMB"` // resident memory
}

// Chain is the measurement of all functions at once.
type Chain struct {
	Rate
	Functions map[string]Function `json:"functions"`
	Enriched  int                 `json:"enriched"`
	Scored    int                 `json:"scored"`
	// Large is the number of transactions over 100,000, Flagged how many of them
	// are in transaction_anomalies, and Doubled how many are there twice.
	Large   int `json:"large"`
	Flagged int `json:"flagged"`
	Doubled int `json:"doubled"`
}

// Latency is from the production of a transaction to its anomaly.
type Latency struct {
	PerSecond int     `json:"perSecond"`
	Count     int     `json:"count"`
	Missing   int     `json:"missing"` // anomalies that did not come in half a minute
	P50       float64 `json:"p50"`     // seconds
	P99       float64 `json:"p99"`
}

// chain is the functions in the order of the pipeline.
var chain = [...]string{"enrich", "detect", "aggregate"}

func rate(n int, d time.Duration) Rate {
	return Rate{Count: n, Seconds: d.Seconds(), PerSecond: float64(n) / d.Seconds()}
}

// Run measures. It fails when a transaction is lost or doubled.
func Run(ctx context.Context, c Config) (*Report, error) {
	r := &Report{Transactions: c.Transactions, CPUs: runtime.NumCPU(), Functions: map[string]Function{}}
	if err := c.each(ctx, r); err != nil {
		return r, err
	}
	if err := c.together(ctx, r); err != nil {
		return r, err
	}
	return r, r.check()
}

// each runs the functions one after the other, each over all that the one before
// it has written.
func (c *Config) each(ctx context.Context, r *Report) (err error) {
	kafka, err := c.Open(ctx)
	if err != nil {
		return err
	}
	defer closing(kafka.Close, &err)
	c.say("writing %d transactions", c.Transactions)
	began := time.Now()
	if _, err := writeInput(ctx, kafka, c.Transactions); err != nil {
		return err
	}
	r.Produce = rate(c.Transactions, time.Since(began))
	for _, name := range chain {
		c.say("%s alone", name)
		f, err := c.alone(ctx, kafka, name)
		if err != nil {
			return err
		}
		r.Functions[name] = f
	}
	c.say("restore of detect")
	r.Restore, err = c.restore(ctx, kafka)
	return err
}

func (c *Config) alone(ctx context.Context, kafka *Kafka, name string) (f Function, err error) {
	p, err := c.start(ctx, kafka, name)
	if err != nil {
		return f, err
	}
	began, err := p.awaitEvents(ctx, 1)
	if err != nil {
		return f, p.stop(err)
	}
	ended, err := p.awaitEvents(ctx, c.Transactions)
	if err != nil {
		return f, p.stop(err)
	}
	f, err = p.measure(ctx, c.Transactions, ended.Sub(began))
	return f, p.stop(err)
}

func (c *Config) restore(ctx context.Context, kafka *Kafka) (Rate, error) {
	p, err := c.start(ctx, kafka, "detect")
	if err != nil {
		return Rate{}, err
	}
	r, err := p.restored(ctx)
	return r, p.stop(err)
}

// together runs all functions at once over a fresh input, then sends a steady
// stream and looks at when its anomalies come.
func (c *Config) together(ctx context.Context, r *Report) (err error) {
	kafka, err := c.Open(ctx)
	if err != nil {
		return err
	}
	defer closing(kafka.Close, &err)
	c.say("writing %d transactions", c.Transactions)
	large, err := writeInput(ctx, kafka, c.Transactions)
	if err != nil {
		return err
	}
	c.say("all functions at once")
	running := make([]*process, len(chain))
	defer func() {
		for _, p := range running {
			if p != nil {
				err = p.stop(err)
			}
		}
	}()
	for i := len(chain) - 1; i >= 0; i-- {
		if running[i], err = c.start(ctx, kafka, chain[i]); err != nil {
			return err
		}
	}
	began, err := running[0].awaitEvents(ctx, 1)
	if err != nil {
		return err
	}
	ended, err := running[len(chain)-1].awaitEvents(ctx, c.Transactions)
	if err != nil {
		return err
	}
	r.Chain.Rate = rate(c.Transactions, ended.Sub(began))
	r.Chain.Functions = map[string]Function{}
	for i, name := range chain {
		if r.Chain.Functions[name], err = running[i].measure(ctx, c.Transactions, ended.Sub(began)); err != nil {
			return err
		}
	}
	c.say("counting what came out")
	if err := r.Chain.count(ctx, kafka, large); err != nil {
		return err
	}
	c.say("latency at %d transactions a second", steadyRate)
	r.Latency, err = latency(ctx, kafka, steadyRate, steadyFor, warmUp)
	return err
}

func (r *Report) check() error {
	ch := &r.Chain
	if ch.Enriched != r.Transactions || ch.Scored != r.Transactions || ch.Flagged != ch.Large || ch.Doubled != 0 {
		return fmt.Errorf("of %d transactions %d were enriched and %d scored; of %d over 100000, %d were flagged, %d of them twice",
			r.Transactions, ch.Enriched, ch.Scored, ch.Large, ch.Flagged, ch.Doubled)
	}
	return nil
}

func (c *Config) say(format string, args ...any) { fmt.Fprintf(c.Progress, format+"\n", args...) }

// closing runs f and keeps its error if there is none yet.
func closing(f func() error, err *error) {
	if e := f(); *err == nil {
		*err = e
	}
}

// Print writes r as a table.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%d transactions in the original format, exactly once, on %d CPUs\n\n", r.Transactions, r.CPUs)
	fmt.Fprintf(w, "%-22s %12s %14s %12s %12s %10s\n", "", "events/s", "CPU us/event", "commit p50", "commit p99", "peak MB")
	row := func(name string, f Function) {
		fmt.Fprintf(w, "%-22s %12.0f %14.2f %11.0fms %11.0fms %10.0f\n", name, f.PerSecond, f.CPUMicros, 1000*f.CommitP50, 1000*f.CommitP99, f.PeakMB)
	}
	for _, name := range chain {
		row(name+" alone", r.Functions[name])
	}
	fmt.Fprintf(w, "%-22s %12.0f\n", "chain, all at once", r.Chain.PerSecond)
	for _, name := range chain {
		row("  "+name, r.Chain.Functions[name])
	}
	fmt.Fprintf(w, "\nrestore: %.0f changelog records/s in each partition, all of them at once (%d records)\n", r.Restore.PerSecond, r.Restore.Count)
	fmt.Fprintf(w, "latency: p50 %.0f ms, p99 %.0f ms from produce to transaction_anomalies at %d/s (%d anomalies)\n",
		1000*r.Latency.P50, 1000*r.Latency.P99, r.Latency.PerSecond, r.Latency.Count)
	fmt.Fprintf(w, "counts: %d enriched, %d scored; %d over 100000, all flagged once: %v\n",
		r.Chain.Enriched, r.Chain.Scored, r.Chain.Large, r.Chain.Flagged == r.Chain.Large && r.Chain.Doubled == 0)
}
