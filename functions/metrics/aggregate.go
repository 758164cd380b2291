package metrics

import (
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"datasurge/events"
	"datasurge/functions/aggregate"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
)

// aggregateMetrics are about how verdicts compare with the truth.
type aggregateMetrics struct {
	labels    *prometheus.CounterVec
	overflows *prometheus.CounterVec
	names     *ruleNames
	joins     map[int]*labelJoin // by task, kept over restarts of the task; guarded by Metrics.mu
}

// anyRule is the label of the system as a whole.
const anyRule = "any"

var outcomes = [...]string{"tp", "fp", "fn"}

const (
	truePositive  = 0
	falsePositive = 1
	falseNegative = 2
)

func newAggregateMetrics(r *prometheus.Registry) aggregateMetrics {
	a := aggregateMetrics{
		labels: counters("labels_total", "Labels by whether the rule flagged the transaction: tp and fp, frauds and others that it flagged; fn, frauds that it did not. The rule any stands for all together.", nil, "rule", "outcome"),
		overflows: counters("sum_overflows_total", "Sums of money that reached the largest number that can be kept, by dimension.", nil,
			"dimension"),
		names: newRuleNames(),
		joins: map[int]*labelJoin{},
	}
	for _, dimension := range []string{"all", "currency", "merchant", "category", "country", "type", "payment", "rule"} {
		a.overflows.WithLabelValues(dimension)
	}
	a.makeChildren()
	r.MustRegister(a.labels, a.overflows)
	return a
}

// makeChildren makes the children of the built-in rules. Others come with their
// first verdict.
func (a *aggregateMetrics) makeChildren() {
	names := []string{anyRule}
	if definition, err := detect.Definition(detect.DefaultConfig()); err == nil {
		for _, r := range definition.Tables[0].Initial.(*rules.Set).Rules() {
			names = append(names, r.ID)
		}
	}
	for _, name := range names {
		for _, outcome := range outcomes {
			a.labels.WithLabelValues(name, outcome)
		}
	}
}

// Aggregate returns the observer of aggregate.
func (m *Metrics) Aggregate() aggregate.Observer { return aggregateObserver{m} }

type aggregateObserver struct{ *Metrics }

// SumOverflow implements aggregate.Observer.
func (o aggregateObserver) SumOverflow(dimension string) {
	o.aggregate.overflows.WithLabelValues(dimension).Inc()
}

// Task implements aggregate.Observer.
func (o aggregateObserver) Task(task int) aggregate.TaskObserver {
	o.mu.Lock()
	join := o.aggregate.joins[task]
	if join == nil {
		join = newLabelJoin(verdictsKept)
		o.aggregate.joins[task] = join
	}
	o.mu.Unlock()
	t := &aggregateTally{m: &o.Metrics.aggregate, join: join, counts: map[string]*[len(outcomes)]int{}}
	o.setTally(task, t)
	return t
}

// aggregateTally is what one task of aggregate counted since its last commit.
type aggregateTally struct {
	m      *aggregateMetrics
	join   *labelJoin
	counts map[string]*[len(outcomes)]int
}

// Verdict implements aggregate.TaskObserver.
func (t *aggregateTally) Verdict(x *events.Scored) { t.join.verdict(x) }

// Label implements aggregate.TaskObserver.
func (t *aggregateTally) Label(l *events.Label) {
	t.join.label(l, func(rule string, outcome int) {
		n := t.counts[rule]
		if n == nil {
			n = new([len(outcomes)]int)
			t.counts[rule] = n
		}
		n[outcome]++
	})
}

// commit implements tally.
func (t *aggregateTally) commit() {
	for rule, counts := range t.counts {
		for outcome, n := range counts {
			if n > 0 {
				t.m.labels.WithLabelValues(rule, outcomes[outcome]).Add(float64(n))
			}
		}
		*counts = [len(outcomes)]int{}
	}
}

// verdictsKept bounds the flagged transactions that one task remembers, at about
// 50 bytes each.
const verdictsKept = 100_000

// labelJoin remembers the latest flagged transactions of a task, so that their
// labels, which may come days later, tell how good the rules are. It is an
// estimate for a dashboard: in memory, of bounded size, begun anew by a restart.
// Labels of transactions from before what it remembers are not counted.
type labelJoin struct {
	size  int
	index map[uint64]int // place in ring by hash of the transaction id
	ring  []verdict
	next  int
	since int64 // event time from which on every flagged transaction is remembered
	begun bool
	names []string // of rules, by bit
}

type verdict struct {
	id    uint64
	time  int64
	rules uint64 // bits
}

func newLabelJoin(size int) *labelJoin { return &labelJoin{size: size, index: map[uint64]int{}} }

func (j *labelJoin) verdict(x *events.Scored) {
	if !j.begun {
		j.begun, j.since = true, x.Time
	}
	if !x.Flagged {
		return
	}
	v := verdict{id: xxhash.Sum64String(x.TransactionID), time: x.Time}
	for i := range x.Rules {
		v.rules |= j.bit(x.Rules[i].ID)
	}
	if at, ok := j.index[v.id]; ok {
		j.ring[at] = v // it comes again after a failed commit
		return
	}
	if len(j.ring) < j.size {
		j.index[v.id] = len(j.ring)
		j.ring = append(j.ring, v)
		return
	}
	old := &j.ring[j.next]
	delete(j.index, old.id)
	j.since = max(j.since, old.time+1)
	*old = v
	j.index[v.id] = j.next
	j.next = (j.next + 1) % j.size
}

// bit returns the bit of a rule, that of "other" when there are too many.
func (j *labelJoin) bit(rule string) uint64 {
	i := slices.Index(j.names, rule)
	if i < 0 {
		if len(j.names) >= MaxRules {
			rule = other
			i = slices.Index(j.names, rule)
		}
		if i < 0 {
			i = len(j.names)
			j.names = append(j.names, strings.Clone(rule)) // which is a piece of a record
		}
	}
	return 1 << i
}

// label calls count for each rule that l says something about.
func (j *labelJoin) label(l *events.Label, count func(rule string, outcome int)) {
	if !j.begun || l.TransactionTime < j.since {
		return
	}
	at, flagged := j.index[xxhash.Sum64String(l.TransactionID)]
	var fired uint64
	if flagged {
		fired = j.ring[at].rules
	}
	switch {
	case flagged && l.Fraud:
		count(anyRule, truePositive)
	case flagged:
		count(anyRule, falsePositive)
	case l.Fraud:
		count(anyRule, falseNegative)
	}
	for i, name := range j.names {
		hit := fired&(1<<i) != 0
		switch {
		case hit && l.Fraud:
			count(name, truePositive)
		case hit:
			count(name, falsePositive)
		case l.Fraud:
			count(name, falseNegative)
		}
	}
}
