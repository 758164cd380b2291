package metrics

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"datasurge/functions/stream"
)

// engineMetrics are those of every function.
type engineMetrics struct {
	events      *prometheus.CounterVec
	duration    *histogram
	latency     *histogram
	latencies   []float64 // scratch, guarded by Metrics.mu
	retries     prometheus.Counter
	deadLetters *prometheus.CounterVec
	late        *prometheus.CounterVec
	duplicates  prometheus.Counter
	produced    *prometheus.CounterVec
	failed      prometheus.Counter
	producing   *histogram
	watermark   *prometheus.GaugeVec
	lagRecords  *prometheus.GaugeVec
	lagSeconds  *prometheus.GaugeVec
	rebalances  prometheus.Counter
	commits     prometheus.Counter
	evictions   prometheus.Counter
	restore     *histogram
	restored    prometheus.Counter
}

// Actions of late_events_total.
const (
	actionLate   = "diverted"        // all that the event belongs to was closed
	actionFuture = "diverted_future" // it was too far ahead of the clock
)

func newEngineMetrics(m *Metrics) engineMetrics {
	byFunction := prometheus.Labels{"function": m.function}
	byGroup := prometheus.Labels{"group": m.function}
	byStore := prometheus.Labels{"store": stream.ChangelogTopic(m.function)}
	e := engineMetrics{
		events: counters("function_events_total", "Events by type and what became of them: ok, error (the commit failed and they come again), dead_letter (refused for good) or dropped (duplicate, or late and diverted).", byFunction, "type", "result"),
		duration: newHistogram("function_duration_seconds", "Time from the first step of a commit to its end.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}, byFunction),
		latency: newHistogram("end_to_end_latency_seconds", "Time from the event time of an event to the commit of what came of it.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300}, byFunction),
		retries:     counter("retries_total", "Partitions that were given up after an error and taken over again.", byFunction),
		deadLetters: counters("dead_letters_total", "Events refused for good, by reason.", byFunction, "reason"),
		late:        counters("late_events_total", "Events that went to the topic late_events: diverted because they were too late, diverted_future because they were too far ahead of the clock.", byFunction, "action"),
		duplicates:  counter("duplicates_dropped_total", "Events dropped because they, or a transaction of the same id, had been processed.", byFunction),
		produced:    counters("messages_produced_total", "Records that the function wrote and committed, by topic.", byFunction, "topic"),
		failed:      counter("messages_failed_total", "Records that the function wrote and that were not committed. They are written again.", byFunction),
		producing: newHistogram("message_produce_duration_seconds", "Time from the flush of a commit's records to the end of its transaction.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}, byFunction),
		watermark:  gauges("watermark_timestamp_seconds", "Event time before which nothing more is expected.", byFunction, "partition"),
		lagRecords: gauges("consumer_lag_records", "Offsets of the input that are not processed, 0 when the partition has caught up.", byGroup, "topic", "partition"),
		lagSeconds: gauges("consumer_lag_seconds", "Age of what was processed last, 0 when the partition has caught up.", byGroup, "topic", "partition"),
		rebalances: counter("rebalances_total", "How often this process was given another set of partitions.", byGroup),
		commits:    counter("commit_failures_total", "Commits that failed. What was in them is done again.", byGroup),
		evictions:  counter("state_evictions_total", "Keys of the state that were deleted.", byStore),
		restore: newHistogram("state_restore_duration_seconds", "Time that the restore of a partition took.",
			[]float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300}, byStore),
		restored: counter("state_restored_records_total", "Changelog records read by restores.", byStore),
	}
	m.registry.MustRegister(e.events, e.duration, e.latency, e.retries, e.deadLetters, e.late, e.duplicates, e.produced, e.failed,
		e.producing, e.watermark, e.lagRecords, e.lagSeconds, e.rebalances, e.commits, e.evictions, e.restore, e.restored,
		gaugeFunc("function_in_flight", "Events that wait or are stepped and not committed.", byFunction, m.inFlight),
		gaugeFunc("state_entries", "Keys in the state of the partitions of this process.", byStore,
			m.sum(func(t taskState) int64 { return int64(t.size.Entries) })),
		gaugeFunc("state_bytes", "Size of that state as it stands in the changelog.", byStore,
			m.sum(func(t taskState) int64 { return t.size.Bytes })),
		gaugeFunc("state_restoring", "Whether a partition of this process is being restored.", byStore, func() float64 {
			return min(1, m.sum(func(t taskState) int64 {
				if t.restoring {
					return 1
				}
				return 0
			})())
		}),
		gaugeFunc("state_restore_remaining_records", "Changelog records that restores have still to read.", byStore,
			m.sum(func(t taskState) int64 { return t.remaining })),
	)
	for _, name := range append(knownTypes(m.function), stream.OtherType) {
		for _, result := range []string{"ok", "error", "dead_letter", "dropped"} {
			e.events.WithLabelValues(name, result)
		}
	}
	for _, reason := range []string{stream.ReasonInvalid, stream.ReasonUnknownType, stream.ReasonFailed} {
		e.deadLetters.WithLabelValues(reason)
	}
	e.late.WithLabelValues(actionLate)
	e.late.WithLabelValues(actionFuture)
	return e
}

// sum returns a function that adds up what f says of the tasks.
func (m *Metrics) sum(f func(taskState) int64) func() float64 {
	return func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		var n int64
		for _, t := range m.mu.tasks {
			n += f(t)
		}
		return float64(n)
	}
}

// Committed implements stream.Observer.
func (m *Metrics) Committed(_ string, c *stream.Commit) {
	e := &m.engine
	for _, n := range c.Events {
		m.count(n)
	}
	for _, n := range c.Output {
		e.produced.WithLabelValues(n.Topic).Add(float64(n.N))
	}
	e.duration.observe([]float64{c.Took.Seconds()})
	if c.Ending > 0 {
		e.producing.observe([]float64{c.Ending.Seconds()})
	}
	e.evictions.Add(float64(c.Deleted))

	m.mu.Lock()
	defer m.mu.Unlock()
	now := c.At.UnixMilli()
	e.latencies = e.latencies[:0]
	for _, at := range c.Times {
		e.latencies = append(e.latencies, max(0, float64(now-at)/1000))
	}
	e.latency.observe(e.latencies)
	if c.TraceID != "" {
		e.latency.exemplify(max(0, float64(now-c.TraceTime)/1000), c.TraceID, c.At)
	}
	t := m.mu.tasks[c.Task]
	t.size = c.State
	m.mu.tasks[c.Task] = t
	if tally := m.mu.tallies[c.Task]; tally != nil {
		tally.commit()
	}
}

func (m *Metrics) count(c stream.EventCount) {
	e, n := &m.engine, float64(c.N)
	result := "ok"
	switch c.Result {
	case stream.ResultDuplicate:
		result = "dropped"
		e.duplicates.Add(n)
	case stream.ResultLate:
		result = "dropped"
		e.late.WithLabelValues(actionLate).Add(n)
	case stream.ResultFuture:
		result = "dropped"
		e.late.WithLabelValues(actionFuture).Add(n)
	case stream.ResultRefused, stream.ResultDeadLetter:
		result = "dead_letter"
		e.deadLetters.WithLabelValues(c.Reason).Add(n)
	}
	e.events.WithLabelValues(c.Type, result).Add(n)
}

// Watermark implements stream.Observer.
func (m *Metrics) Watermark(_ string, task int, ms int64) {
	if ms > 0 { // before the first event it is none
		m.engine.watermark.WithLabelValues(partition(task)).Set(float64(ms) / 1000)
	}
}

// Restoring implements stream.Observer.
func (m *Metrics) Restoring(_ string, task int, remaining int64) {
	m.setTask(task, taskState{restoring: true, remaining: max(0, remaining)})
}

// Restored implements stream.Observer.
func (m *Metrics) Restored(_ string, task, n int, d time.Duration, size stream.StateSize) {
	m.setTask(task, taskState{size: size})
	m.engine.restored.Add(float64(n))
	m.engine.restore.observe([]float64{d.Seconds()})
}

func (m *Metrics) setTask(task int, t taskState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.tasks[task] = t
}

// Failed implements stream.Observer.
func (m *Metrics) Failed(_ string, task int, lost stream.Lost) {
	m.setTask(task, taskState{restoring: true})
	m.setTally(task, nil)
	e := &m.engine
	e.retries.Inc()
	e.failed.Add(float64(lost.Messages))
	e.events.WithLabelValues(m.mainType(), "error").Add(float64(lost.Events))
	if lost.Committing {
		e.commits.Inc()
	}
}

// mainType is the type that failed events are counted under: of a commit that
// failed only their number is known.
func (m *Metrics) mainType() string {
	if types := knownTypes(m.function); len(types) > 0 {
		return types[0]
	}
	return stream.OtherType
}

// Released implements stream.Observer.
func (m *Metrics) Released(_ string, task int) {
	m.mu.Lock()
	delete(m.mu.tasks, task)
	delete(m.mu.tallies, task)
	m.mu.Unlock()
	of := prometheus.Labels{"partition": partition(task)}
	m.engine.watermark.DeletePartialMatch(of)
	m.engine.lagRecords.DeletePartialMatch(of)
	m.engine.lagSeconds.DeletePartialMatch(of)
}

// Rebalanced implements stream.Observer.
func (m *Metrics) Rebalanced(string) { m.engine.rebalances.Inc() }

// Engine is what Follow asks. [stream.Engine] is one.
type Engine interface {
	Lag(ctx context.Context) ([]stream.Lag, error)
	InFlight() int
}

func (m *Metrics) inFlight() float64 {
	m.mu.Lock()
	e := m.mu.engine
	m.mu.Unlock()
	if e == nil {
		return 0
	}
	return float64(e.InFlight())
}

// lagEvery is how often the lag is looked at. It is asked of a broker, which a
// scrape must not wait for.
const lagEvery = 5 * time.Second

// Follow exports the lag of e until ctx ends.
func (m *Metrics) Follow(ctx context.Context, e Engine) {
	m.mu.Lock()
	m.mu.engine = e
	m.mu.Unlock()
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		m.lag(ctx, e)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *Metrics) lag(ctx context.Context, e Engine) {
	ctx, cancel := context.WithTimeout(ctx, lagEvery)
	defer cancel()
	lags, err := e.Lag(ctx)
	if err != nil {
		m.log.Debug("the lag cannot be found out", slog.Any("error", err))
		return
	}
	for _, l := range lags {
		m.engine.lagRecords.WithLabelValues(l.Topic, partition(l.Partition)).Set(float64(l.Records))
		m.engine.lagSeconds.WithLabelValues(l.Topic, partition(l.Partition)).Set(l.Behind.Seconds())
	}
}
