package metrics

import "github.com/prometheus/client_golang/prometheus"

type generateMetrics struct{ skipped prometheus.Counter }

func newGenerateMetrics(r *prometheus.Registry) generateMetrics {
	g := generateMetrics{skipped: counter("transactions_skipped_total", "Transactions not generated because they were due in a long pause.", nil)}
	r.MustRegister(g.skipped)
	return g
}

// Skipped implements generate.Observer.
func (m *Metrics) Skipped(n uint64) { m.generate.skipped.Add(float64(n)) }
