package run

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"datasurge/events"
	"datasurge/functions/metrics"
	"datasurge/functions/stream/kafkatest"
)

// maxSeries is what one process may export. The budget is 2,000, and this is kept
// well below it, so that one more metric is not at once too much.
const maxSeries = 1_200

// A process exports few series in the largest configuration that there is: all
// twelve partitions of a function are one process's, on three brokers, with 500
// merchants, every currency of the generator, labels, and more rules than have a
// label of their own.
func TestSeries(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		const many = 12
		names := []string{"generate", "enrich", "detect", "aggregate", "learn"}
		p := &pipeline{Backend: b, t: t}
		for _, name := range names { // before newPipeline makes them smaller
			config, err := ReadConfig()
			if err != nil {
				t.Fatal(err)
			}
			p.config = config
			def := p.definition(name)
			for _, in := range def.Inputs {
				p.createTopic(in.Topic, many, nil)
			}
			if len(def.Inputs) > 0 {
				p.createTopic(name+"_state", many, map[string]string{"cleanup.policy": "compact"})
			}
		}
		p = newPipeline(t, b, func(c *Config) { c.Rate, c.LabelDelay = 60, 5*time.Second })
		for i := range metrics.MaxRules + 10 {
			p.produceTable(events.TopicRules, fmt.Sprint("rule-", i),
				fmt.Sprintf("id: rule-%d\nversion: 1\ndescription: A rule.\nseverity: high\nweight: 0.1\nwhen: amount > %d\n", i, i))
		}
		ctx, cancel := context.WithCancel(context.Background())
		var followers sync.WaitGroup
		observers := map[string]*metrics.Metrics{}
		for _, name := range names {
			p.start(name)
			observers[name] = p.stepped.Metrics
			m, e := p.stepped.Metrics, p.engines[len(p.engines)-1]
			followers.Go(func() { m.Follow(ctx, e) })
		}
		time.Sleep(14 * time.Second) // more than the ten that busy merchants are counted by
		for _, name := range names {
			families, series := scrape(t, observers[name])
			t.Logf("%s: %d series", name, series)
			if series > maxSeries {
				t.Errorf("%s exports %d series, more than %d", name, series, maxSeries)
			}
			for _, want := range seen[name] {
				if families[want] == 0 {
					t.Errorf("%s: nothing of %s was exported, so it was not the largest configuration", name, want)
				}
			}
			for label, least := range map[string]int{`node_id="`: 3, `partition="11"`: min(1, len(seen[name]))} {
				if n := strings.Count(text(t, observers[name]), label); n < least {
					t.Errorf("%s: %d series with %s", name, n, label)
				}
			}
		}
		cancel()
		followers.Wait()
		p.stop()
	}, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094))
}

// seen are metrics whose series come with traffic.
var seen = map[string][]string{
	"enrich":    {"datasurge_consumer_lag_seconds", "datasurge_kafka_fetch_records_total", "datasurge_watermark_timestamp_seconds"},
	"detect":    {"datasurge_top_merchant_transactions_per_second", "datasurge_labels_total", "datasurge_anomaly_value_total", "datasurge_kafka_produce_records_total"},
	"aggregate": {"datasurge_consumer_lag_records", "datasurge_messages_produced_total"},
}

// text is what a scrape gets.
func text(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// scrape returns the series that a scrape gets, by name and in all.
func scrape(t *testing.T, m *metrics.Metrics) (byName map[string]int, n int) {
	t.Helper()
	byName = map[string]int{}
	for line := range strings.Lines(text(t, m)) {
		if !strings.HasPrefix(line, "#") {
			byName[line[:strings.IndexAny(line, "{ ")]]++
			n++
		}
	}
	return byName, n
}
