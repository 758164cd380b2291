package run

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

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

// Metrics counts what a function does. It is the observer of the engine and of
// the functions.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger // what an operator should read, not only count

	events     *prometheus.CounterVec
	batches    prometheus.Histogram
	latency    prometheus.Histogram
	watermark  *prometheus.GaugeVec
	restored   prometheus.Counter
	restore    prometheus.Histogram
	takeovers  prometheus.Counter
	duplicates prometheus.Counter
	anomalies  *prometheus.CounterVec
	fired      *prometheus.CounterVec
	failures   *prometheus.CounterVec
	refused    prometheus.Counter
	skipped    prometheus.Counter
	reference  prometheus.Counter
	overflows  *prometheus.CounterVec
}

func newMetrics(function, version string, log *slog.Logger) *Metrics {
	labels := prometheus.Labels{"function": function}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "datasurge", Name: name, Help: help, ConstLabels: labels})
	}
	counters := func(name, help string, by ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "datasurge", Name: name, Help: help, ConstLabels: labels}, by)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "datasurge", Name: name, Help: help, ConstLabels: labels, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1,
		})
	}
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		log:        log,
		events:     counters("function_events_total", "Events stepped, by type and result.", "type", "result"),
		batches:    histogram("function_duration_seconds", "Time from the first step of a commit to its end.", []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}),
		latency:    histogram("end_to_end_latency_seconds", "Time from the event time of a commit's last event to the end of the commit.", []float64{.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60}),
		restored:   counter("state_restored_records_total", "Changelog records read by restores."),
		restore:    histogram("state_restore_duration_seconds", "Time that a restore took.", []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60}),
		takeovers:  counter("task_failures_total", "Partitions given up after an error, to be taken over again."),
		duplicates: counter("duplicates_dropped_total", "Transactions dropped because their id was known."),
		anomalies:  counters("anomalies_total", "Transactions flagged, by severity.", "severity"),
		fired:      counters("rule_fired_total", "Rules that fired, by rule.", "rule", "mode"),
		failures:   counters("rule_errors_total", "Rules whose evaluation failed, by rule.", "rule"),
		refused:    counter("rules_refused_total", "Records of the rules table that were not accepted."),
		skipped:    counter("transactions_skipped_total", "Transactions not generated because they were due in a long pause."),
		reference:  counter("reference_errors_total", "Records of a reference table that could not be read."),
		overflows:  counters("sum_overflows_total", "Sums of money that reached the largest number that can be kept, by dimension.", "dimension"),
		watermark: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "datasurge", Name: "watermark_timestamp_seconds", Help: "Event time before which nothing more is expected.", ConstLabels: labels,
		}, []string{"partition"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "datasurge", Name: "build_info", Help: "1, labelled with what is running.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.events, m.batches, m.latency, m.restored, m.restore, m.takeovers, m.watermark, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	switch function {
	case "generate":
		m.registry.MustRegister(m.skipped)
	case "aggregate":
		m.registry.MustRegister(m.overflows)
	case "enrich":
		m.registry.MustRegister(m.duplicates, m.reference)
	case "detect":
		m.registry.MustRegister(m.anomalies, m.fired, m.failures, m.refused)
		for _, severity := range []string{"low", "medium", "high", "critical"} {
			m.anomalies.WithLabelValues(severity)
		}
	}
	return m
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: m.registry})
}

// Event implements stream.Observer.
func (m *Metrics) Event(_, eventType, result string) {
	if !slices.Contains(knownTypes[:], eventType) {
		eventType = "other" // whoever sends events may not choose labels
	}
	m.events.WithLabelValues(eventType, result).Inc()
}

// knownTypes are the event types that functions take.
var knownTypes = [...]string{
	events.TypeTransaction, events.TypePlain, events.TypeEnriched, events.TypeScored, events.TypePartial, events.TypeLabel,
}

// Batch implements stream.Observer.
func (m *Metrics) Batch(_ string, _ int, d time.Duration) { m.batches.Observe(d.Seconds()) }

// Latency implements stream.Observer.
func (m *Metrics) Latency(_ string, d time.Duration) { m.latency.Observe(d.Seconds()) }

// Watermark implements stream.Observer.
func (m *Metrics) Watermark(_ string, task int, ms int64) {
	m.watermark.WithLabelValues(strconv.Itoa(task)).Set(float64(ms) / 1000)
}

// Restored implements stream.Observer.
func (m *Metrics) Restored(_ string, _, n int, d time.Duration) {
	m.restored.Add(float64(n))
	m.restore.Observe(d.Seconds())
}

// Failed implements stream.Observer.
func (m *Metrics) Failed(string, int) { m.takeovers.Inc() }

// Duplicate implements enrich.Observer.
func (m *Metrics) Duplicate() { m.duplicates.Inc() }

// BadReference implements enrich.Observer.
func (m *Metrics) BadReference(topic string, err error) {
	m.reference.Inc()
	m.log.Error("a record of a reference table was skipped", slog.String("topic", topic), slog.Any("error", err))
}

// Skipped implements generate.Observer.
func (m *Metrics) Skipped(n uint64) { m.skipped.Add(float64(n)) }

// Scored implements detect.Observer.
func (m *Metrics) Scored(_ float64, flagged bool, severity string) {
	if flagged {
		m.anomalies.WithLabelValues(severity).Inc()
	}
}

// RuleFired implements detect.Observer.
func (m *Metrics) RuleFired(id, _ string, shadow bool) {
	mode := "active"
	if shadow {
		mode = "shadow"
	}
	m.fired.WithLabelValues(id, mode).Inc()
}

// SumOverflow implements aggregate.Observer.
func (m *Metrics) SumOverflow(dimension string) { m.overflows.WithLabelValues(dimension).Inc() }

// RuleFailed implements detect.Observer.
func (m *Metrics) RuleFailed(id string, _ error) { m.failures.WithLabelValues(id).Inc() }

// RuleRefused implements detect.Observer.
func (m *Metrics) RuleRefused(err error) {
	m.refused.Inc()
	m.log.Error("a rule was refused and the last good one stays in force", slog.Any("error", err))
}

// RulesChanged implements detect.Observer.
func (m *Metrics) RulesChanged(version string, rules int) {
	m.log.Info("a new rule set is in force", slog.String("version", version), slog.Int("rules", rules))
}

var (
	_ stream.Observer   = (*Metrics)(nil)
	_ enrich.Observer   = (*Metrics)(nil)
	_ generate.Observer = (*Metrics)(nil)
	_ detect.Observer   = (*Metrics)(nil)

	_ aggregate.Observer = (*Metrics)(nil)
)
