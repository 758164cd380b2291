// Package explain tells the story of one transaction: where it stands in every
// topic, what was decided about it and why, and the windows that it is in.
//
// A [Story] is made of records and knows no Kafka; [Read] finds them.
package explain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// Topics are those in which a transaction may stand, in the order in which it
// goes through them.
func Topics() []string {
	return []string{
		events.TopicTransactions, events.TopicEnriched, events.TopicScored, events.TopicAnomalies, events.TopicLabels,
		events.TopicLate, events.TopicDeadLetters,
	}
}

// Story is what is known of one transaction.
type Story struct {
	TransactionID string `json:"transactionId"`
	Hops          []Hop  `json:"hops"` // by time
	// Verdict is that of the last of its records in scored_transactions.
	Verdict *Verdict `json:"verdict,omitempty"`
	// Windows are the latest results of those that it counts for, by dimension,
	// size and start.
	Windows []Window `json:"windows,omitempty"`
}

// Hop is one record about the transaction.
type Hop struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Written   time.Time `json:"written"`
	// After is how long after the hop before it was written; of the first 0.
	After  time.Duration   `json:"afterNanoseconds"`
	Type   string          `json:"type"`
	Source string          `json:"source"`
	Note   string          `json:"note,omitempty"` // what is to be said about it
	Data   json.RawMessage `json:"data,omitempty"` // when it is JSON
}

// Verdict is what detect decided, and from what.
type Verdict struct {
	Score        float64   `json:"score"`
	Flagged      bool      `json:"flagged"`
	Severity     string    `json:"severity,omitempty"`
	Decision     string    `json:"decision,omitempty"` // what to do: approve, review or decline
	RuleSet      string    `json:"ruleSet"`
	ListSet      string    `json:"listSet,omitempty"`
	ModelVersion string    `json:"modelVersion"`
	Rules        []Rule    `json:"rules"`                // that fired
	Shadow       []Rule    `json:"shadow,omitempty"`     // that fired and are only tried
	Suppressed   []Rule    `json:"suppressed,omitempty"` // that fired and do not count for this customer or merchant
	Reasons      []Reason  `json:"reasons,omitempty"`    // of the anomaly
	Features     []Feature `json:"features"`
}

// Rule is one that fired.
type Rule struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
	// ExactFrom is the event time from which its windows miss nothing, when the
	// transaction came before that.
	ExactFrom time.Time `json:"exactFrom,omitzero"`
}

// Reason is one of an anomaly.
type Reason struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
}

// Feature is one input of the rules and the score.
type Feature struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Window is the latest result of a window.
type Window struct {
	Dimension string    `json:"dimension"`
	Value     string    `json:"value"`
	Window    string    `json:"window"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Final     bool      `json:"final"`
	Pane      int64     `json:"pane"`
	Count     int64     `json:"count"`
	Anomalies int64     `json:"anomalies"`
}

// Teller collects the records of one transaction.
type Teller struct {
	id      string
	text    []byte // id
	story   Story
	scored  *events.Scored
	windows map[string]Window
}

// NewTeller returns a teller for a transaction.
func NewTeller(id string) *Teller {
	return &Teller{id: id, text: []byte(id), story: Story{TransactionID: id}, windows: make(map[string]Window)}
}

// Add takes a record of one of [Topics] and reports whether it is about the
// transaction.
func (t *Teller) Add(rec *kgo.Record) bool {
	// Only a record that holds the id is looked at closely.
	if rec.Attrs.IsControl() || !t.isIn(rec) {
		return false
	}
	var e events.Event
	if kafkarecord.Read(rec, &e, kafkarecord.Mapping{}) != nil {
		return false
	}
	h := Hop{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Written: rec.Timestamp.UTC(), Type: e.Type, Source: e.Source,
	}
	ok := false
	switch rec.Topic {
	case events.TopicLate:
		var late events.Late
		if ok = events.ParseLate(e.Data, &late) == nil && t.names(late.Event.ID, late.Event.Data); ok {
			h.Note = late.Function + " found it late: " + late.Reason
		}
	case events.TopicDeadLetters:
		h.Note, ok = t.deadLetter(&e)
	case events.TopicScored:
		ok = t.names(e.ID, e.Data)
		if scored := new(events.Scored); ok && events.ParseScored(e.Data, scored) == nil {
			t.judge(scored)
		}
	case events.TopicAnomalies:
		ok = t.names(e.ID, e.Data)
		if a := new(events.Anomaly); ok && events.ParseAnomaly(e.Data, a) == nil {
			t.judge(&a.Scored)
			t.story.Verdict.Reasons = nil
			for _, r := range a.Reasons {
				t.story.Verdict.Reasons = append(t.story.Verdict.Reasons, Reason(r))
			}
		}
	case events.TopicLabels:
		var l events.Label
		if ok = events.ParseLabel(e.Data, &l) == nil && l.TransactionID == t.id; ok {
			h.Note = "legitimate"
			if l.Fraud {
				h.Note = "fraud"
			}
			if l.Scenario != "" {
				h.Note += ", scenario " + l.Scenario
			}
		}
	default:
		ok = t.names(e.ID, e.Data)
	}
	if !ok {
		return false
	}
	if json.Valid(e.Data) {
		h.Data = slices.Clone(e.Data)
	}
	t.story.Hops = append(t.story.Hops, h)
	return true
}

// isIn reports whether the id stands somewhere in a record.
func (t *Teller) isIn(rec *kgo.Record) bool {
	if bytes.Contains(rec.Value, t.text) {
		return true
	}
	for i := range rec.Headers {
		if bytes.Contains(rec.Headers[i].Value, t.text) {
			return true
		}
	}
	return false
}

// names reports whether an event is about the transaction.
func (t *Teller) names(id string, data []byte) bool {
	var d struct {
		TransactionID string `json:"transactionId"`
	}
	if json.Unmarshal(data, &d) == nil && d.TransactionID != "" {
		return d.TransactionID == t.id
	}
	return id == t.id
}

// deadLetter says why an event or record became one; ok is false when it is about
// another transaction.
func (t *Teller) deadLetter(e *events.Event) (note string, ok bool) {
	if e.Type == events.TypeDeadLetter {
		var l events.DeadLetter
		if events.ParseDeadLetter(e.Data, &l) != nil {
			return "", false
		}
		return l.Function + " refused it: " + l.Reason, t.names("", l.Value)
	}
	note = "could not be delivered"
	if topic := e.Extension(events.ExtTopic); topic != "" {
		note += " from " + topic
	}
	if code := e.Extension("knativeerrorcode"); code != "" {
		note += ": answered " + code
	}
	return note, t.names(e.ID, e.Data)
}

func (t *Teller) judge(s *events.Scored) {
	t.scored = s
	v := &Verdict{
		Score: s.Score, Flagged: s.Flagged, Severity: s.Severity, Decision: s.Decision,
		RuleSet: s.RuleSet, ListSet: s.ListSet, ModelVersion: s.ModelVersion,
		Rules: fired(s.Rules), Shadow: fired(s.Shadow), Suppressed: fired(s.Suppressed), Features: []Feature{},
	}
	for _, f := range s.Features {
		v.Features = append(v.Features, Feature(f))
	}
	if t.story.Verdict != nil {
		v.Reasons = t.story.Verdict.Reasons
	}
	t.story.Verdict = v
}

func fired(list []events.FiredRule) []Rule {
	rules := make([]Rule, len(list))
	for i, r := range list {
		rules[i] = Rule{ID: r.ID, Version: r.Version}
		if r.ExactFrom > 0 {
			rules[i].ExactFrom = time.UnixMilli(r.ExactFrom).UTC()
		}
	}
	return rules
}

// Since is the event time from which on windows of the transaction may have been
// written; ok is false when it was not scored, and so is in none.
func (t *Teller) Since() (at time.Time, ok bool) {
	if t.scored == nil {
		return time.Time{}, false
	}
	return time.UnixMilli(t.scored.Time), true
}

// AddWindow takes a record of transaction_aggregates.
func (t *Teller) AddWindow(rec *kgo.Record) {
	if t.scored == nil || rec.Attrs.IsControl() || !t.inSeries(string(rec.Key)) {
		return
	}
	var e events.Event
	var a events.Aggregate
	if kafkarecord.Read(rec, &e, kafkarecord.Mapping{}) != nil || events.ParseAggregate(e.Data, &a) != nil {
		return
	}
	if at := t.scored.Time; at < a.Start || at >= a.End {
		return
	}
	t.windows[e.Key] = Window{
		Dimension: a.Dimension, Value: a.Value, Window: a.Window, Start: time.UnixMilli(a.Start).UTC(), End: time.UnixMilli(a.End).UTC(),
		Final: a.Final, Pane: a.Pane, Count: a.Count, Anomalies: a.Anomalies,
	}
}

// inSeries reports whether a key, "dimension|value|window|start", is of a series
// that the transaction counts for.
func (t *Teller) inSeries(key string) bool {
	dimension, rest, ok := strings.Cut(key, "|")
	end := strings.LastIndexByte(rest, '|')
	if !ok || end < 0 {
		return false
	}
	end = strings.LastIndexByte(rest[:end], '|')
	if end < 0 {
		return false
	}
	value, s := rest[:end], t.scored
	switch dimension {
	case "all":
		return true
	case "currency":
		return value == s.Currency
	case "merchant":
		return value == s.MerchantID
	case "category":
		return value == cmp.Or(s.Category, "unknown")
	case "country":
		return value == cmp.Or(s.Country, "unknown")
	case "type":
		return value == s.Type
	case "payment":
		return value == s.PaymentMethod
	case "rule":
		return slices.ContainsFunc(s.Rules, func(r events.FiredRule) bool { return r.ID == value })
	}
	return false
}

// Story returns what has been collected.
func (t *Teller) Story() Story {
	s := t.story
	order := Topics()
	slices.SortStableFunc(s.Hops, func(a, b Hop) int {
		return cmp.Or(a.Written.Compare(b.Written), slices.Index(order, a.Topic)-slices.Index(order, b.Topic), cmp.Compare(a.Offset, b.Offset))
	})
	for i := range s.Hops {
		if i > 0 {
			s.Hops[i].After = s.Hops[i].Written.Sub(s.Hops[i-1].Written)
		}
	}
	for _, w := range t.windows {
		s.Windows = append(s.Windows, w)
	}
	slices.SortFunc(s.Windows, func(a, b Window) int {
		return cmp.Or(strings.Compare(a.Dimension, b.Dimension), strings.Compare(a.Value, b.Value),
			cmp.Compare(a.End.Sub(a.Start), b.End.Sub(b.Start)), a.Start.Compare(b.Start))
	})
	return s
}
