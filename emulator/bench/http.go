package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// HTTPConfig says what to measure of the pipeline as an emulator runs it: six
// processes, to which KafkaSources deliver over HTTP.
type HTTPConfig struct {
	Transactions int           // of the measurement at full speed
	Steady       time.Duration // how long that at a steady rate is
	Command      []string      // starts an emulator
	Env          []string
	Progress     io.Writer
}

// HTTPReport is what was measured.
type HTTPReport struct {
	CPUs   int    `json:"cpus"`
	Steady Steady `json:"steady"`
	Full   Full   `json:"full"`
}

// Steady is the measurement at 1,000 transactions a second, within the bounds of a
// cluster's KafkaSource.
type Steady struct {
	Latency
	Seconds   float64            `json:"seconds"`
	Processes map[string]Process `json:"processes"`
}

// Full is the measurement of transactions that are there at once.
type Full struct {
	Rate                         // through all hops
	Hops      map[string]Rate    `json:"hops"`
	Pace      int                `json:"pace"` // times the bounds of a cluster's KafkaSource
	Processes map[string]Process `json:"processes"`
	Chain     Chain              `json:"-"` // what came out
}

// Process is what one process took.
type Process struct {
	CPUMicros float64 `json:"cpuMicros"` // a transaction
	RSSMB     float64 `json:"rssMB"`     // resident memory at the end, what is shared included
	PSSMB     float64 `json:"pssMB"`     // with its share of that; 0 where the system does not tell
}

const (
	fullPace = 16
	// probes is how many of the transactions of the steady measurement are in the
	// original format, half of them over 100,000; generate makes the others.
	probes     = 100
	steadyWarm = 10 * time.Second
)

// RunHTTP measures. It fails when a transaction is lost or doubled.
func RunHTTP(ctx context.Context, c HTTPConfig) (*HTTPReport, error) {
	r := &HTTPReport{CPUs: runtime.NumCPU()}
	if err := c.steady(ctx, &r.Steady); err != nil {
		return r, err
	}
	if err := c.full(ctx, &r.Full); err != nil {
		return r, err
	}
	return r, (&Report{Transactions: c.Transactions, Chain: r.Full.Chain}).check()
}

func (c *HTTPConfig) say(format string, args ...any) { fmt.Fprintf(c.Progress, format+"\n", args...) }

// steady measures latency and memory.
func (c *HTTPConfig) steady(ctx context.Context, s *Steady) (err error) {
	c.say("%d transactions a second for %v", steadyRate, c.Steady)
	e, err := c.start(ctx, "--rate", strconv.Itoa(steadyRate-probes))
	if err != nil {
		return err
	}
	defer func() { err = e.stop(err) }()
	warm := make(chan usage, 1)
	timer := time.AfterFunc(steadyWarm, func() {
		u, _ := e.usage(ctx)
		warm <- u
	})
	defer timer.Stop()
	s.Latency, err = latency(ctx, e.kafka, probes, c.Steady, min(steadyWarm, c.Steady/2))
	if err != nil {
		return err
	}
	s.PerSecond = steadyRate
	after, err := e.usage(ctx)
	if err != nil {
		return err
	}
	s.Seconds, s.Processes = c.Steady.Seconds(), after.since(<-warm)
	return nil
}

// full measures how fast transactions go through.
func (c *HTTPConfig) full(ctx context.Context, f *Full) (err error) {
	c.say("%d transactions at once, %d times as many under way as a cluster's KafkaSource has", c.Transactions, fullPace)
	e, err := c.start(ctx, "--profile", "none", "--pace", strconv.Itoa(fullPace))
	if err != nil {
		return err
	}
	defer func() { err = e.stop(err) }()
	before, err := e.usage(ctx)
	if err != nil {
		return err
	}
	large, err := writeInput(ctx, e.kafka, c.Transactions)
	if err != nil {
		return err
	}
	type hop struct {
		began, ended time.Time
		err          error
	}
	hops := make([]hop, len(chain))
	var waiting sync.WaitGroup
	for i, name := range chain {
		waiting.Go(func() {
			h := &hops[i]
			if h.began, h.err = e.functions[name].awaitEvents(ctx, 1); h.err == nil {
				h.ended, h.err = e.functions[name].awaitEvents(ctx, c.Transactions)
			}
		})
	}
	waiting.Wait()
	f.Pace, f.Hops = fullPace, make(map[string]Rate)
	for i, name := range chain {
		if hops[i].err != nil {
			return fmt.Errorf("%s: %w", name, hops[i].err)
		}
		f.Hops[name] = rate(c.Transactions, hops[i].ended.Sub(hops[i].began))
	}
	f.Rate = rate(c.Transactions, hops[len(chain)-1].ended.Sub(hops[0].began))
	after, err := e.usage(ctx)
	if err != nil {
		return err
	}
	f.Processes = after.since(before)
	c.say("counting what came out")
	f.Chain.Rate = f.Rate
	return f.Chain.count(ctx, e.kafka, large)
}

// Print writes r as tables.
func (r *HTTPReport) Print(w io.Writer) {
	s := &r.Steady
	fmt.Fprintf(w, "\nEvents delivered over HTTP by the emulator's KafkaSources, exactly once, on %d CPUs\n", r.CPUs)
	fmt.Fprintf(w, "\n%d transactions a second for %v, within the bounds of a cluster:\n", s.PerSecond, time.Duration(s.Seconds*float64(time.Second)))
	fmt.Fprintf(w, "p50 %.0f ms, p99 %.0f ms from produce to transaction_anomalies (%d anomalies)\n", 1000*s.P50, 1000*s.P99, s.Count)
	if s.Missing > 0 {
		fmt.Fprintf(w, "%d more had not come %v after the last transaction: this machine does not keep up now\n", s.Missing, patience)
	}
	printProcesses(w, s.Processes)
	f := &r.Full
	fmt.Fprintf(w, "\n%d transactions at once, with --pace %d:\n", f.Count, f.Pace)
	for _, name := range chain {
		fmt.Fprintf(w, "%-16s %12.0f events/s\n", name, f.Hops[name].PerSecond)
	}
	fmt.Fprintf(w, "%-16s %12.0f transactions/s\n", "through all", f.PerSecond)
	printProcesses(w, f.Processes)
	fmt.Fprintf(w, "counts: %d enriched, %d scored; %d over 100000, all flagged once: %v\n",
		f.Chain.Enriched, f.Chain.Scored, f.Chain.Large, f.Chain.Flagged == f.Chain.Large && f.Chain.Doubled == 0)
}
