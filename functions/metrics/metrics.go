// Package metrics counts what functions do, for Prometheus. Its names are those
// of the original system where that had one.
//
// Everything that a transaction leads to is counted when it is committed: a task
// counts into memory of its own, and a commit adds that to what is exported. What
// was not committed is forgotten, because it comes again.
//
// Labels are bounded: users, cards and transactions never are one; merchants,
// rules and currencies only up to a fixed number.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"datasurge/events"
	"datasurge/functions/aggregate"
	"datasurge/functions/detect"
	"datasurge/functions/enrich"
	"datasurge/functions/generate"
	"datasurge/functions/stream"
)

// namespace is the prefix of all names.
const namespace = "datasurge"

// Metrics is the observer of a function and of the engine under it.
type Metrics struct {
	function string
	log      *slog.Logger // what an operator should read, not only count
	registry *prometheus.Registry

	engine    engineMetrics
	generate  generateMetrics
	enrich    enrichMetrics
	detect    detectMetrics
	aggregate aggregateMetrics
	clients   *clients

	mu struct {
		sync.Mutex
		tallies map[int]tally     // what tasks have counted since their last commit
		tasks   map[int]taskState // what is to be said about the tasks of this process
		engine  Engine            // nil until Follow
	}
}

// tally is what one task counted since its last commit. Everything but the call
// of commit happens on the task's goroutine, and that too.
type tally interface{ commit() }

// taskState is what is known of a task.
type taskState struct {
	size      stream.StateSize
	restoring bool
	remaining int64 // records to restore
}

// New returns the metrics of a function. version is what build_info says.
func New(function, version string, log *slog.Logger) *Metrics {
	m := &Metrics{function: function, log: log, registry: prometheus.NewRegistry()}
	m.mu.tallies, m.mu.tasks = map[int]tally{}, map[int]taskState{}
	m.engine = newEngineMetrics(m)
	m.clients = newClients(function, m.registry)
	m.registry.MustRegister(
		buildInfo(version),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	switch function {
	case "generate":
		m.generate = newGenerateMetrics(m.registry)
	case "enrich":
		m.enrich = newEnrichMetrics(m.registry)
	case "detect":
		m.detect = newDetectMetrics(m.registry, log)
	case "aggregate":
		m.aggregate = newAggregateMetrics(m.registry)
	}
	return m
}

func buildInfo(version string) prometheus.Collector {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, labelled with what is running.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}

// Handler serves the metrics: OpenMetrics with exemplars, or protobuf with native
// histograms, to those who ask for it.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: m.registry})
}

// Gatherer gives what is exported.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Describe sends the descriptor of everything that the function can export,
// Kafka clients included.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.registry.Describe(ch)
}

// setTally makes t what the task counts into. What the one before had counted
// and not committed is forgotten with it.
func (m *Metrics) setTally(task int, t tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.tallies[task] = t
}

// opts is what all metrics have in common.
func opts(name, help string, labels prometheus.Labels) prometheus.Opts {
	return prometheus.Opts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}
}

func counter(name, help string, labels prometheus.Labels) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help, labels)))
}

func counters(name, help string, labels prometheus.Labels, by ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help, labels)), by)
}

func gauges(name, help string, labels prometheus.Labels, by ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help, labels)), by)
}

func gaugeFunc(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help, labels)), f)
}

// partition is a task's or partition's number as a label.
func partition(n int) string { return strconv.Itoa(n) }

// knownTypes are the event types that the function takes.
func knownTypes(function string) []string {
	switch function {
	case "enrich":
		return []string{events.TypeTransaction, events.TypePlain}
	case "detect":
		return []string{events.TypeEnriched}
	case "aggregate":
		return []string{events.TypeScored, events.TypePartial, events.TypeLabel}
	}
	return nil
}

var (
	_ stream.Observer    = (*Metrics)(nil)
	_ generate.Observer  = (*Metrics)(nil)
	_ enrich.Observer    = enrichObserver{}
	_ detect.Observer    = detectObserver{}
	_ aggregate.Observer = aggregateObserver{}
)
