package metrics

import (
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
)

// MaxRules is how many rules have a label of their own; others are counted
// together under "other".
const MaxRules = 50

// scoreRule is the label of what the score alone flagged.
const scoreRule = "score"

// anyRule is the label of the system as a whole.
const anyRule = "any"

// outcomes are what a label says about a rule.
var outcomes = [...]string{"tp", "fp", "fn"}

const (
	truePositive = iota
	falsePositive
	falseNegative
)

// severities are the severities of anomalies.
var severities = [...]string{rules.Low, rules.Medium, rules.High, rules.Critical}

// detectMetrics are about decisions.
type detectMetrics struct {
	detected    [len(severities)]prometheus.Counter
	anomalies   *prometheus.CounterVec
	value       *prometheus.CounterVec
	evaluations *prometheus.CounterVec
	errors      *prometheus.CounterVec
	duration    *prometheus.SummaryVec
	fired       *prometheus.CounterVec
	refused     prometheus.Counter
	labels      *prometheus.CounterVec
	active      *active
	top         *top
	names       *ruleNames
	failures    *ruleFailures
}

func newDetectMetrics(r *prometheus.Registry, log *slog.Logger) detectMetrics {
	detected := counters("anomalies_detected_total", "Transactions flagged, each counted once, by severity.", nil, "severity")
	d := detectMetrics{
		anomalies:   counters("anomalies_total", "Flagged transactions by each rule that flagged them; those of several rules count for each.", nil, "rule", "severity"),
		value:       counters("anomaly_value_total", "Sum of the amounts of flagged transactions in the base currency, by rule.", nil, "rule", "currency"),
		evaluations: counters("rule_evaluations_total", "Evaluations of each rule.", nil, "rule"),
		errors:      counters("rule_errors_total", "Evaluations that failed and counted as not fired.", nil, "rule"),
		duration: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Namespace: namespace, Name: "rule_duration_seconds", Help: "Time of an evaluation, of one transaction in 256.",
		}, []string{"rule"}),
		fired:   counters("rule_fired_total", "Rules that fired: active ones that flagged, shadow ones, and suppressed ones.", nil, "rule", "mode"),
		refused: counter("rules_refused_total", "Records of the tables of rules and of lists that were not accepted.", nil),
		labels: counters("labels_total", "Labels by whether the rule had fired on the transaction, in shadow included: tp and fp, frauds and others on which it had; fn, frauds on which it had not. The rule any stands for flagged transactions.", nil,
			"rule", "outcome"),
		active: newActive(), top: newTop(), names: newRuleNames(), failures: newRuleFailures(log),
	}
	for i, severity := range severities {
		d.detected[i] = detected.WithLabelValues(severity)
	}
	r.MustRegister(detected, d.anomalies, d.value, d.evaluations, d.errors, d.duration, d.fired, d.refused, d.labels, d.active, d.top)
	return d
}

// Detect returns the observer of detect.
func (m *Metrics) Detect() detect.Observer { return detectObserver{m} }

type detectObserver struct{ *Metrics }

// RuleRefused implements detect.Observer.
func (o detectObserver) RuleRefused(err error) {
	o.detect.refused.Inc()
	o.log.Error("a rule was refused and the last good one stays in force", slog.Any("error", err))
}

// RulesChanged implements detect.Observer. The children of new rules are made at
// once, so that their first count is an increase.
func (o detectObserver) RulesChanged(set *rules.Set) {
	d := &o.Metrics.detect
	d.failures.forget()
	gone := d.names.set(set.Rules())
	for _, name := range gone {
		of := prometheus.Labels{"rule": name}
		for _, vec := range []*prometheus.CounterVec{d.anomalies, d.value, d.evaluations, d.errors, d.fired, d.labels} {
			vec.DeletePartialMatch(of)
		}
		d.duration.DeletePartialMatch(of)
	}
	for _, r := range set.Rules() {
		name := d.names.of(r.ID)
		d.evaluations.WithLabelValues(name)
		d.errors.WithLabelValues(name)
		d.duration.WithLabelValues(name)
		d.fired.WithLabelValues(name, "active")
		d.fired.WithLabelValues(name, "shadow")
		d.fired.WithLabelValues(name, "suppressed")
		d.anomalies.WithLabelValues(name, r.Severity)
		for _, outcome := range outcomes {
			d.labels.WithLabelValues(name, outcome)
		}
	}
	for _, outcome := range outcomes {
		d.labels.WithLabelValues(anyRule, outcome)
	}
	for _, severity := range severities {
		d.anomalies.WithLabelValues(scoreRule, severity)
	}
	o.log.Info("a new rule set is in force", slog.String("version", set.Version()), slog.Int("rules", len(set.Rules())))
}

// ruleNames says which rules have a label of their own.
type ruleNames struct {
	mu    sync.Mutex
	known map[string]string // by id; a clone, since ids are pieces of records
}

func newRuleNames() *ruleNames { return &ruleNames{known: map[string]string{}} }

// set makes the labels be those of list, and returns the ones that are no more.
func (n *ruleNames) set(list []*rules.Compiled) (gone []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.known {
		if !slices.ContainsFunc(list, func(r *rules.Compiled) bool { return r.ID == name }) {
			delete(n.known, name)
			gone = append(gone, name)
		}
	}
	for _, r := range list {
		if len(n.known) < MaxRules {
			n.known[r.ID] = r.ID
		}
	}
	return gone
}

// of returns the label of a rule.
func (n *ruleNames) of(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known[id]; ok {
		return id
	}
	return other
}

// Task implements detect.Observer.
func (o detectObserver) Task(task int) detect.TaskObserver {
	t := &detectTally{m: &o.Metrics.detect, rules: map[string]*ruleTally{}, merchants: newMerchantCounts()}
	t.timer = &rules.Timer{Now: time.Now, Took: t.took}
	o.setTally(task, t)
	return t
}

// detectTally is what one task of detect counted since its last commit.
type detectTally struct {
	m         *detectMetrics
	timer     *rules.Timer
	untilTime int
	denied    bool // a list has flagged the transaction that comes to Scored next

	detected  [len(severities)]int
	sets      []setCount
	rules     map[string]*ruleTally
	all       [len(outcomes)]int // labels, of flagged transactions
	base      string
	users     []uint64 // hashes
	merchants merchantCounts
}

// setCount is how often a rule set was evaluated, and so each rule of it.
type setCount struct {
	set *rules.Set
	n   int
}

type ruleTally struct {
	active, shadow, failed int
	failure                error // the last one
	suppressed             int
	labels                 [len(outcomes)]int
	severity               string
	flagged                [len(severities)]int // by severity, of the score
	value                  float64
	timed                  []time.Duration
}

// timeEvery is how many transactions there are for one whose rules are timed.
const timeEvery = 256

// Timer implements detect.TaskObserver.
func (t *detectTally) Timer() *rules.Timer {
	if t.untilTime--; t.untilTime > 0 {
		return nil
	}
	t.untilTime = timeEvery
	return t.timer
}

func (t *detectTally) took(r *rules.Compiled, d time.Duration) {
	of := t.rule(r.ID)
	of.timed = append(of.timed, d)
}

func (t *detectTally) rule(id string) *ruleTally {
	r := t.rules[id]
	if r == nil {
		r = &ruleTally{}
		t.rules[id] = r
	}
	return r
}

// Scored implements detect.TaskObserver.
func (t *detectTally) Scored(x *events.Scored, set *rules.Set) {
	if n := len(t.sets); n > 0 && t.sets[n-1].set == set {
		t.sets[n-1].n++
	} else {
		t.sets = append(t.sets, setCount{set, 1})
	}
	t.users = append(t.users, xxhash.Sum64String(x.UserID))
	t.merchants.of(xxhash.Sum64String(x.MerchantID), x.MerchantID).n++
	if !x.Flagged {
		return
	}
	severity := rules.SeverityRank(x.Severity) - 1
	t.detected[severity]++
	digits, _ := events.CurrencyDigits(x.BaseCurrency)
	value := float64(x.BaseAmount) / math.Pow10(digits)
	t.base = x.BaseCurrency
	for i := range x.Rules {
		t.rule(x.Rules[i].ID).value += value
	}
	denied := t.denied
	t.denied = false
	if len(x.Rules) == 0 && !denied {
		r := t.rule(scoreRule)
		r.flagged[severity]++
		r.value += value
	}
}

// RuleFired implements detect.TaskObserver.
func (t *detectTally) RuleFired(id, severity string, shadow bool) {
	r := t.rule(id)
	t.denied = t.denied || id == rules.DenyReason
	if shadow {
		r.shadow++
		return
	}
	r.active++
	r.severity = severity
}

// RuleSuppressed implements detect.TaskObserver.
func (t *detectTally) RuleSuppressed(id string) { t.rule(id).suppressed++ }

// RuleFailed implements detect.TaskObserver.
func (t *detectTally) RuleFailed(id string, err error) {
	r := t.rule(id)
	r.failed++
	r.failure = err
}

// Labelled implements detect.TaskObserver.
func (t *detectTally) Labelled(rule string, fired, fraud bool) {
	of := &t.all
	if rule != "" {
		of = &t.rule(rule).labels
	}
	switch {
	case fired && fraud:
		of[truePositive]++
	case fired:
		of[falsePositive]++
	case fraud:
		of[falseNegative]++
	}
}

// commit implements tally.
func (t *detectTally) commit() {
	m := t.m
	for i, n := range t.detected {
		m.detected[i].Add(float64(n))
	}
	for _, c := range t.sets {
		for _, r := range c.set.Rules() {
			if r.Mode != rules.Off {
				m.evaluations.WithLabelValues(m.names.of(r.ID)).Add(float64(c.n))
			}
		}
	}
	base := currencies[indexOf(currencies[:], t.base)]
	now := time.Now()
	for id, r := range t.rules {
		t.commitRule(now, id, base, r)
	}
	m.commitLabels(anyRule, t.all)
	t.all = [len(outcomes)]int{}
	m.active.add(now, t.users, t.merchants.list)
	m.top.add(now, t.merchants.list)
	t.detected = [len(severities)]int{}
	t.sets, t.users = t.sets[:0], t.users[:0]
	t.merchants.clear()
	if len(t.rules) > 2*MaxRules { // rules come and go
		clear(t.rules)
	}
}

func (t *detectTally) commitRule(now time.Time, id, base string, r *ruleTally) {
	m := t.m
	name := id
	if id != scoreRule && id != rules.DenyReason {
		name = m.names.of(id)
	}
	if r.active > 0 {
		m.fired.WithLabelValues(name, "active").Add(float64(r.active))
		m.anomalies.WithLabelValues(name, r.severity).Add(float64(r.active))
	}
	if r.shadow > 0 {
		m.fired.WithLabelValues(name, "shadow").Add(float64(r.shadow))
	}
	if r.suppressed > 0 {
		m.fired.WithLabelValues(name, "suppressed").Add(float64(r.suppressed))
	}
	if r.failed > 0 {
		m.errors.WithLabelValues(name).Add(float64(r.failed))
		m.failures.add(now, id, r.failed, r.failure)
	}
	m.commitLabels(name, r.labels)
	if r.value > 0 {
		m.value.WithLabelValues(name, base).Add(r.value)
	}
	for i, n := range r.flagged {
		if n > 0 {
			m.anomalies.WithLabelValues(name, severities[i]).Add(float64(n))
		}
	}
	for _, d := range r.timed {
		m.duration.WithLabelValues(name).Observe(d.Seconds())
	}
	*r = ruleTally{timed: r.timed[:0]}
}

func (m *detectMetrics) commitLabels(name string, counts [len(outcomes)]int) {
	for i, n := range counts {
		if n > 0 {
			m.labels.WithLabelValues(name, outcomes[i]).Add(float64(n))
		}
	}
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
