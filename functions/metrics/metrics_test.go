package metrics

import (
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/stream"
)

// valueOf is what a counter has counted.
func valueOf(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Counter.GetValue()
}

var quiet = slog.New(slog.DiscardHandler)

func enriched(n int) *events.Enriched {
	t := &events.Enriched{BaseAmount: 1234, BaseCurrency: "USD", Category: "groceries"}
	t.TransactionID, t.UserID, t.MerchantID = fmt.Sprint("t", n), fmt.Sprint("user-", n%5000), fmt.Sprint("merchant-", n%500)
	t.Amount, t.Currency, t.PaymentMethod, t.Time = 1234, "EUR", "paypal", 1_780_000_000_000+int64(n)
	return t
}

// What a task has stepped is counted by its commit, once, and what a task that
// failed had stepped is not.
func TestCountedAtCommit(t *testing.T) {
	m := New("enrich", "test", quiet)
	count := func() float64 {
		return valueOf(t, m.enrich.transactions[indexOf(currencies[:], "EUR")][indexOf(channels[:], "paypal")][accepted])
	}
	task := m.Enrich().Task(0)
	task.Enriched(enriched(1))
	if n := count(); n != 0 {
		t.Errorf("%v before the commit", n)
	}
	m.Committed("enrich", &stream.Commit{At: time.Now()})
	m.Committed("enrich", &stream.Commit{At: time.Now()})
	if n := count(); n != 1 {
		t.Errorf("%v after it", n)
	}
	task.Enriched(enriched(2))
	m.Failed("enrich", 0, stream.Lost{Events: 1, Messages: 1, Committing: true})
	m.Committed("enrich", &stream.Commit{At: time.Now()}) // of another attempt, before its first step
	task = m.Enrich().Task(0)
	task.Enriched(enriched(2))
	m.Committed("enrich", &stream.Commit{At: time.Now()})
	if n := count(); n != 2 {
		t.Errorf("%v after a commit that failed and one that did not", n)
	}
	if n := valueOf(t, m.engine.commits); n != 1 {
		t.Errorf("%v commits failed", n)
	}
	if n := valueOf(t, m.engine.failed); n != 1 {
		t.Errorf("%v messages failed", n)
	}
}

// The results of events become those of the catalogue.
func TestResults(t *testing.T) {
	m := New("enrich", "test", quiet)
	kinds := []stream.EventCount{
		{Type: events.TypePlain, Result: stream.ResultOK, N: 1},
		{Type: events.TypePlain, Result: stream.ResultDuplicate, N: 2},
		{Type: events.TypePlain, Result: stream.ResultLate, N: 4},
		{Type: events.TypePlain, Result: stream.ResultFuture, N: 8},
		{Type: events.TypePlain, Result: stream.ResultRefused, Reason: stream.ReasonInvalid, N: 16},
		{Type: stream.OtherType, Result: stream.ResultDeadLetter, Reason: stream.ReasonUnknownType, N: 32},
	}
	m.Committed("enrich", &stream.Commit{At: time.Now(), Events: kinds})
	got := map[string]float64{}
	for _, result := range []string{"ok", "error", "dead_letter", "dropped"} {
		got[result] = valueOf(t, m.engine.events.WithLabelValues(events.TypePlain, result))
	}
	if diff := cmp.Diff(map[string]float64{"ok": 1, "error": 0, "dead_letter": 16, "dropped": 14}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := valueOf(t, m.engine.late.WithLabelValues(actionFuture)); n != 8 {
		t.Errorf("%v from the future", n)
	}
	if n := valueOf(t, m.engine.deadLetters.WithLabelValues(stream.ReasonUnknownType)); n != 32 {
		t.Errorf("%v of an unknown type", n)
	}
}

// The batch histogram is what client_golang's is, classic and native.
func TestHistogram(t *testing.T) {
	bounds := []float64{.01, 1, 100}
	h := newHistogram("test", "Test.", bounds, nil)
	reference := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "reference", Help: "Test.", Buckets: bounds, NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: zeroThreshold,
	})
	var values []float64
	for i := range 2000 {
		values = append(values, math.Exp(float64(i%97)/5-10)*float64(1+i%3))
	}
	values = append(values, 0, 0, 1, 2, 4, .5, .25, 100, 1e9)
	h.observe(values)
	for _, v := range values {
		reference.Observe(v)
	}
	var got, want dto.Metric
	if err := h.Write(&got); err != nil {
		t.Fatal(err)
	}
	if err := reference.Write(&want); err != nil {
		t.Fatal(err)
	}
	if got.Histogram.GetSampleCount() != want.Histogram.GetSampleCount() || math.Abs(got.Histogram.GetSampleSum()/want.Histogram.GetSampleSum()-1) > 1e-9 {
		t.Errorf("count %d, sum %v; want %d, %v", got.Histogram.GetSampleCount(), got.Histogram.GetSampleSum(),
			want.Histogram.GetSampleCount(), want.Histogram.GetSampleSum())
	}
	for i, b := range want.Histogram.Bucket {
		if n := got.Histogram.Bucket[i].GetCumulativeCount(); n != b.GetCumulativeCount() {
			t.Errorf("up to %v: %d, want %d", b.GetUpperBound(), n, b.GetCumulativeCount())
		}
	}
	if got.Histogram.GetSchema() != want.Histogram.GetSchema() || got.Histogram.GetZeroCount() != want.Histogram.GetZeroCount() {
		t.Errorf("schema %d, zeros %d; want %d, %d", got.Histogram.GetSchema(), got.Histogram.GetZeroCount(), want.Histogram.GetSchema(), want.Histogram.GetZeroCount())
	}
	if diff := cmp.Diff(nativeCounts(want.Histogram), nativeCounts(got.Histogram)); diff != "" {
		t.Errorf("native buckets (-want +got)\n%s", diff)
	}
}

// nativeCounts decodes native buckets.
func nativeCounts(h *dto.Histogram) map[int32]int64 {
	counts := map[int32]int64{}
	index, n, at := int32(0), int64(0), 0
	for _, s := range h.PositiveSpan {
		index += s.GetOffset()
		for range s.GetLength() {
			n += h.PositiveDelta[at]
			if n != 0 { // client_golang bridges small gaps with empty buckets
				counts[index] = n
			}
			at++
			index++
		}
	}
	return counts
}

// OpenMetrics shows the trace of an event in a bucket of its latency.
func TestExemplar(t *testing.T) {
	m := New("detect", "test", quiet)
	at := time.Now()
	m.Committed("detect", &stream.Commit{
		At: at, Times: []int64{at.Add(-300 * time.Millisecond).UnixMilli()},
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", TraceTime: at.Add(-300 * time.Millisecond).UnixMilli(),
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text")
	m.Handler().ServeHTTP(w, r)
	const want = `datasurge_end_to_end_latency_seconds_bucket{function="detect",le="0.5"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.3`
	if !strings.Contains(w.Body.String(), want) {
		for line := range strings.Lines(w.Body.String()) {
			if strings.Contains(line, "end_to_end") {
				t.Log(line)
			}
		}
		t.Errorf("no %s", want)
	}
}

// busy returns the metrics of a function that has seen 500 merchants and all
// currencies, with twelve partitions on three brokers.
func busy(t testing.TB, function string) *Metrics {
	t.Helper()
	m := New(function, "test", quiet)
	const partitions = 12
	for task := range partitions {
		m.Restored(function, task, 1, time.Second, stream.StateSize{})
		m.Watermark(function, task, 1)
		for _, topic := range []string{"a", "b"} {
			m.engine.lagRecords.WithLabelValues(topic, partition(task)).Set(1)
			m.engine.lagSeconds.WithLabelValues(topic, partition(task)).Set(1)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"), kgo.ClientID(fmt.Sprint("datasurge-", task)), kgo.WithHooks(m.Client("")...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
	}
	switch function {
	case "enrich":
		task := m.Enrich().Task(0)
		for i := range 10_000 {
			x := enriched(i)
			x.Currency, x.PaymentMethod = currencies[i%len(currencies)], channels[i%3]
			task.Enriched(x)
		}
	case "detect":
		set := ruleSet(t, 200)
		observer := m.Detect()
		observer.RulesChanged(set)
		task := observer.Task(0)
		for i := range 10_000 {
			x := &events.Scored{Enriched: *enriched(i), Flagged: true, Severity: "high"}
			x.Rules = []events.FiredRule{{ID: set.Rules()[i%200].ID}}
			task.Scored(x, set)
			task.RuleFired(set.Rules()[i%200].ID, "high", false)
		}
	}
	m.Committed(function, &stream.Commit{At: time.Now(), Times: []int64{time.Now().UnixMilli()}})
	return m
}

func ruleSet(t testing.TB, n int) *rules.Set {
	t.Helper()
	compiler, err := rules.NewCompiler(rules.Schema{Variables: []rules.Variable{{Name: "amount", Kind: rules.Number}}}, rules.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "---\nid: rule-%d\nversion: 1\ndescription: Test.\nseverity: high\nweight: 0.5\nwhen: amount > 3\nmode: active\n", i)
	}
	set, err := rules.NewSet(compiler, []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A process exports less than 2,000 series, whatever it has seen. functions/run
// counts them with engines and brokers.
func TestSeries(t *testing.T) {
	for _, function := range []string{"generate", "enrich", "detect", "aggregate"} {
		m := busy(t, function)
		families, err := m.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			for _, x := range f.Metric {
				switch {
				case x.Histogram != nil:
					n += len(x.Histogram.Bucket) + 3
				case x.Summary != nil:
					n += len(x.Summary.Quantile) + 2
				default:
					n++
				}
			}
		}
		t.Logf("%s: %d series", function, n)
		if n >= 1200 { // far from 2,000, so that one more metric is not at once too much
			t.Errorf("%s exports %d series", function, n)
		}
	}
}

// BenchmarkTransaction is what one transaction costs in metrics, its share of the
// commit included: compare with the time that a function takes for it.
func BenchmarkTransaction(b *testing.B) {
	const perCommit = 1000
	times := make([]int64, perCommit)
	b.Run("enrich", func(b *testing.B) {
		m := New("enrich", "test", quiet)
		task, x, n := m.Enrich().Task(0), enriched(1), 0
		for b.Loop() {
			task.Enriched(x)
			if n++; n%perCommit == 0 {
				m.Committed("enrich", &stream.Commit{At: time.Now(), Times: times})
			}
		}
	})
	b.Run("detect", func(b *testing.B) {
		m := New("detect", "test", quiet)
		set := ruleSet(b, 10)
		observer := m.Detect()
		observer.RulesChanged(set)
		task, n := observer.Task(0), 0
		list := make([]*events.Scored, 500)
		for i := range list {
			list[i] = &events.Scored{Enriched: *enriched(i)}
		}
		for b.Loop() {
			task.Timer()
			task.Scored(list[n%len(list)], set)
			if n++; n%perCommit == 0 {
				m.Committed("detect", &stream.Commit{At: time.Now(), Times: times})
			}
		}
	})
}
