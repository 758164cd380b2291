package metrics

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"datasurge/events"
	"datasurge/functions/enrich"
	"datasurge/functions/enrich/reference"
)

// largeTransaction is the amount in the base currency above which a transaction
// is a large one, as in the original system.
const largeTransaction = 100_000

// enrichMetrics are about the transactions that come in: every transaction
// passes enrich once.
type enrichMetrics struct {
	transactions [len(currencies)][len(channels)][len(acceptances)]prometheus.Counter
	value        [len(currencies)]prometheus.Counter
	large        [len(currencies)]prometheus.Counter
	byCategory   []prometheus.Counter
	categories   []string
	amounts      histograms // by currency
	amount       *histogram // in the base currency
	last         *highest
	reference    prometheus.Counter
	average      *recentMean
}

// acceptances are the results of transactions_total.
var acceptances = [...]string{"accepted", "duplicate"}

const (
	accepted  = 0
	duplicate = 1
)

func newEnrichMetrics(r *prometheus.Registry) enrichMetrics {
	amountBounds := []float64{1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000}
	e := enrichMetrics{
		categories: append(reference.Categories(), reference.UnknownCategory, other),
		amount:     newHistogram("business_transaction_amount", "Amounts of accepted transactions in the base currency.", amountBounds, nil),
		last:       &highest{},
		reference:  counter("reference_errors_total", "Records of a reference table that could not be read.", nil),
		average:    &recentMean{},
	}
	transactions := counters("transactions_total", "Transactions by what enrich made of them: accepted, or duplicate of one that was. Those refused are in dead_letters_total.", nil, "currency", "channel", "result")
	value := counters("transaction_value_total", "Sum of the amounts of accepted transactions, in units of their currency.", nil, "currency")
	large := counters("large_transactions_total", "Accepted transactions of more than 100,000 in the base currency, by their own.", nil, "currency")
	categories := counters("transactions_by_mcc_total", "Accepted transactions by group of merchant category codes.", nil, "mcc_group")
	for i, currency := range currencies {
		for j, channel := range channels {
			for k, result := range acceptances {
				e.transactions[i][j][k] = transactions.WithLabelValues(currency, channel, result)
			}
		}
		e.value[i], e.large[i] = value.WithLabelValues(currency), large.WithLabelValues(currency)
		e.amounts = append(e.amounts, newHistogram("transaction_amount", "Amounts of accepted transactions in units of their currency.",
			amountBounds, prometheus.Labels{"currency": currency}))
	}
	for _, category := range e.categories {
		e.byCategory = append(e.byCategory, categories.WithLabelValues(category))
	}
	r.MustRegister(transactions, value, large, categories, e.amounts, e.amount, e.reference,
		gaugeFunc("last_transaction_timestamp_seconds", "Event time of the latest accepted transaction, 0 before the first.", nil, e.last.get),
		gaugeFunc("avg_transaction_amount", "Mean amount in the base currency of the transactions accepted in the last five minutes, 0 without any.", nil,
			func() float64 { return e.average.of(time.Now()) }))
	return e
}

// Enrich returns the observer of enrich.
func (m *Metrics) Enrich() enrich.Observer { return enrichObserver{m} }

type enrichObserver struct{ *Metrics }

// BadReference implements enrich.Observer.
func (o enrichObserver) BadReference(topic string, err error) {
	o.enrich.reference.Inc()
	o.log.Error("a record of a reference table was skipped", slog.String("topic", topic), slog.Any("error", err))
}

// Task implements enrich.Observer.
func (o enrichObserver) Task(task int) enrich.TaskObserver {
	t := &enrichTally{m: &o.Metrics.enrich, duplicates: o.engine.duplicates}
	t.byCategory = make([]int, len(t.m.categories))
	o.setTally(task, t)
	return t
}

// enrichTally is what one task of enrich counted since its last commit.
type enrichTally struct {
	m          *enrichMetrics
	duplicates prometheus.Counter
	units      [len(currencies)]float64 // minor units in one unit; 0 when not looked up yet
	base       baseUnit

	counts     [len(currencies)][len(channels)][len(acceptances)]int
	amounts    [len(currencies)][]float64
	large      [len(currencies)]int
	bases      []float64
	byCategory []int
	last       int64
}

// baseUnit is the base currency, which does not change, and its unit.
type baseUnit struct {
	currency string
	unit     float64
}

// Enriched implements enrich.TaskObserver.
func (t *enrichTally) Enriched(x *events.Enriched) {
	currency := indexOf(currencies[:], x.Currency)
	t.counts[currency][indexOf(channels[:], x.PaymentMethod)][accepted]++
	if t.units[currency] == 0 || currency == len(currencies)-1 { // the last stands for many
		t.units[currency] = unitOf(x.Currency)
	}
	t.amounts[currency] = append(t.amounts[currency], float64(x.Amount)/t.units[currency])
	if t.base.unit == 0 || t.base.currency != x.BaseCurrency {
		t.base = baseUnit{strings.Clone(x.BaseCurrency), unitOf(x.BaseCurrency)} // it is a piece of a record
	}
	base := float64(x.BaseAmount) / t.base.unit
	t.bases = append(t.bases, base)
	if base > largeTransaction {
		t.large[currency]++
	}
	t.byCategory[indexOf(t.m.categories, x.Category)]++
	t.last = max(t.last, x.Time)
}

// Duplicate implements enrich.TaskObserver.
func (t *enrichTally) Duplicate(x *events.Transaction) {
	t.counts[indexOf(currencies[:], x.Currency)][indexOf(channels[:], x.PaymentMethod)][duplicate]++
}

// unitOf is the number of minor units in one unit of a currency.
func unitOf(currency string) float64 {
	unit := 1.0
	digits, _ := events.CurrencyDigits(currency)
	for range digits {
		unit *= 10
	}
	return unit
}

// commit implements tally.
func (t *enrichTally) commit() {
	for i := range t.counts {
		for j := range t.counts[i] {
			for k, n := range t.counts[i][j] {
				if n > 0 {
					t.m.transactions[i][j][k].Add(float64(n))
					if k == duplicate {
						t.duplicates.Add(float64(n))
					}
				}
			}
		}
		if len(t.amounts[i]) > 0 {
			sum := 0.0
			for _, amount := range t.amounts[i] {
				sum += amount
			}
			t.m.value[i].Add(sum)
			t.m.amounts[i].observe(t.amounts[i])
			t.amounts[i] = t.amounts[i][:0]
		}
		if t.large[i] > 0 {
			t.m.large[i].Add(float64(t.large[i]))
		}
	}
	for i, n := range t.byCategory {
		if n > 0 {
			t.m.byCategory[i].Add(float64(n))
		}
	}
	if len(t.bases) > 0 {
		t.m.amount.observe(t.bases)
		t.m.average.add(time.Now(), t.bases)
		t.m.last.raise(float64(t.last) / 1000)
	}
	t.counts = [len(currencies)][len(channels)][len(acceptances)]int{}
	t.large = [len(currencies)]int{}
	clear(t.byCategory)
	t.bases = t.bases[:0]
}

// highest is the largest of the values it was given.
type highest struct {
	mu    sync.Mutex
	value float64
}

func (h *highest) raise(v float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.value = max(h.value, v)
}

func (h *highest) get() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.value
}

// recentMean is the mean of the values of the last five minutes, to the minute.
type recentMean struct {
	mu      sync.Mutex
	minutes []minuteSum // the oldest first
}

type minuteSum struct {
	minute int64
	sum    float64
	count  int
}

const meanMinutes = 5

func (r *recentMean) add(now time.Time, values []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	minute := now.Unix() / 60
	if n := len(r.minutes); n == 0 || r.minutes[n-1].minute != minute {
		r.minutes = append(r.minutes, minuteSum{minute: minute})
		r.forget(minute)
	}
	last := &r.minutes[len(r.minutes)-1]
	for _, v := range values {
		last.sum += v
	}
	last.count += len(values)
}

func (r *recentMean) forget(minute int64) {
	r.minutes = slices.DeleteFunc(r.minutes, func(s minuteSum) bool { return s.minute <= minute-meanMinutes })
}

func (r *recentMean) of(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now.Unix() / 60)
	sum, count := 0.0, 0
	for _, s := range r.minutes {
		sum += s.sum
		count += s.count
	}
	return sum / float64(max(1, count))
}
