package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"datasurge/functions/aggregate"
)

// aggregateMetrics are about results that are wrong.
type aggregateMetrics struct {
	overflows *prometheus.CounterVec
}

func newAggregateMetrics(r *prometheus.Registry) aggregateMetrics {
	a := aggregateMetrics{
		overflows: counters("sum_overflows_total", "Sums of money that reached the largest number that can be kept, by dimension.", nil,
			"dimension"),
	}
	for _, dimension := range []string{"all", "currency", "merchant", "category", "country", "type", "payment", "rule"} {
		a.overflows.WithLabelValues(dimension)
	}
	r.MustRegister(a.overflows)
	return a
}

// Aggregate returns the observer of aggregate.
func (m *Metrics) Aggregate() aggregate.Observer { return aggregateObserver{m} }

type aggregateObserver struct{ *Metrics }

// SumOverflow implements aggregate.Observer.
func (o aggregateObserver) SumOverflow(dimension string) {
	o.aggregate.overflows.WithLabelValues(dimension).Inc()
}
