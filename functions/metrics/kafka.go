package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Client implements stream.Observer: what the client does is counted in
// datasurge_kafka_*.
func (m *Metrics) Client(string) []kgo.Hook { return []kgo.Hook{m.clients} }

// clients is datasurge_kafka_* of all Kafka clients of the process together,
// under the client_id of the function: every partition has a client, and all of
// it for each would be over a thousand series that nobody reads.
type clients struct {
	*kprom.Metrics
	registry *prometheus.Registry
	labels   prometheus.Labels
	first    sync.Once

	mu   sync.Mutex
	open map[*kgo.Client]bool
}

func newClients(function string, r *prometheus.Registry) *clients {
	labels := prometheus.Labels{"client_id": namespace + "-" + function}
	return &clients{
		registry: r, labels: labels, open: map[*kgo.Client]bool{},
		Metrics: kprom.NewMetrics(namespace,
			kprom.Registerer(onlyVectors{r}),
			kprom.Gatherer(r),
			kprom.Subsystem("kafka"),
			kprom.WithStaticLabel(labels),
			kprom.HistogramsFromOpts(
				kprom.HistogramOpts{Enable: kprom.RequestDurationE2E, Buckets: []float64{.005, .025, .1, .5, 1, 5}},
				kprom.HistogramOpts{Enable: kprom.RequestThrottled, Buckets: []float64{.1, 1, 10}},
			),
			kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
		),
	}
}

// OnNewClient implements kgo.HookNewClient. kprom makes its metrics when it hears
// of a client, so it hears of the first only.
func (c *clients) OnNewClient(client *kgo.Client) {
	c.first.Do(func() {
		c.Metrics.OnNewClient(client)
		c.registry.MustRegister(
			c.sum("buffered_produce_records_total", "Records that wait to be produced.", (*kgo.Client).BufferedProduceRecords),
			c.sum("buffered_produce_bytes", "Bytes that wait to be produced.", (*kgo.Client).BufferedProduceBytes),
			c.sum("buffered_fetch_records_total", "Records that were fetched and wait to be processed.", (*kgo.Client).BufferedFetchRecords),
			c.sum("buffered_fetch_bytes", "Bytes that were fetched and wait to be processed.", (*kgo.Client).BufferedFetchBytes),
		)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[client] = true
}

// OnClientClosed implements kgo.HookClientClosed. What the client has counted
// stays.
func (c *clients) OnClientClosed(client *kgo.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, client)
}

// sum is a gauge that adds up what the open clients say. Its names are kprom's.
func (c *clients) sum(name, help string, of func(*kgo.Client) int64) prometheus.Collector {
	return gaugeFunc("kafka_"+name, help, c.labels, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := int64(0)
		for client := range c.open {
			n += of(client)
		}
		return float64(n)
	})
}

// onlyVectors is a registry that does not take kprom's gauges, which are of one
// client.
type onlyVectors struct{ *prometheus.Registry }

// MustRegister implements prometheus.Registerer.
func (r onlyVectors) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if _, gauge := c.(prometheus.GaugeFunc); !gauge {
			r.Registry.MustRegister(c)
		}
	}
}

var (
	_ kgo.HookNewClient    = (*clients)(nil)
	_ kgo.HookClientClosed = (*clients)(nil)
	_ kgo.HookBrokerE2E    = (*clients)(nil)
)
