package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Client implements stream.Observer: datasurge_kafka_* of one Kafka client.
func (m *Metrics) Client(string) []kgo.Hook {
	return []kgo.Hook{kprom.NewMetrics(namespace,
		kprom.Registerer(replacing{m.registry}),
		kprom.Gatherer(m.registry),
		kprom.Subsystem("kafka"),
		kprom.WithClientLabel(),
		kprom.HistogramsFromOpts(
			kprom.HistogramOpts{Enable: kprom.RequestDurationE2E, Buckets: []float64{.005, .025, .1, .5, 1, 5}},
			kprom.HistogramOpts{Enable: kprom.RequestThrottled, Buckets: []float64{.1, 1, 10}},
		),
		kprom.FetchAndProduceDetail(kprom.ByTopic, kprom.Batches, kprom.Records, kprom.CompressedBytes, kprom.UncompressedBytes, kprom.ConsistentNaming),
	)}
}

// replacing is a registry in which a client's metrics take the place of those of
// an earlier client of the same name that has not been closed quite yet.
type replacing struct{ *prometheus.Registry }

// MustRegister implements prometheus.Registerer.
func (r replacing) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if r.Register(c) != nil {
			r.Unregister(c) // goes by the descriptors
			r.Registry.MustRegister(c)
		}
	}
}
