// Package sample has an event of every type of DataSurge, to try functions with.
// Each is made as the function that emits it makes it, so that it is valid.
package sample

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/model"
	"datasurge/functions/outcome"
	"datasurge/functions/window"
)

// Kinds are the names of the samples, in the order of the pipeline.
func Kinds() []string {
	names := make([]string, len(samples))
	for i, s := range samples {
		names[i] = s.name
	}
	return names
}

// New returns the sample of a kind. id is the transaction's, and now its time.
func New(kind, id string, now time.Time) (events.Event, error) {
	for _, s := range samples {
		if s.name == kind {
			return s.make(maker{id: id, now: now.UnixMilli()}), nil
		}
	}
	return events.Event{}, fmt.Errorf("there is no sample %q; there are %s", kind, strings.Join(Kinds(), ", "))
}

//nolint:gochecknoglobals // a constant table
var samples = []struct {
	name string
	make func(maker) events.Event
}{
	{"transaction", func(m maker) events.Event { t := m.transaction(); return events.NewTransaction(&t) }},
	{"plain", maker.plain},
	{"enriched", func(m maker) events.Event { t := m.enriched(); return events.NewEnriched(&t) }},
	{"scored", func(m maker) events.Event { t := m.scored(); return events.NewScored(&t) }},
	{"anomaly", func(m maker) events.Event { t := m.anomaly(); return events.NewAnomaly(&t) }},
	{"label", maker.label},
	{"partial", maker.partial},
	{"aggregate", maker.aggregate},
	{"risk", maker.risk},
	{"merchant", maker.merchant},
	{"rule", maker.rule},
	{"list", maker.list},
	{"suppression", maker.suppression},
	{"windowstart", maker.windowStart},
	{"windowpanes", maker.windowPanes},
	{"outcome", maker.outcome},
	{"outcomes", maker.outcomes},
	{"example", maker.example},
	{"model", maker.model},
	{"late", maker.late},
	{"deadletter", maker.deadLetter},
	{"watermark", maker.watermark},
}

// maker makes the events of one transaction.
type maker struct {
	id  string
	now int64 // ms since the epoch
}

const (
	user     = "user-000042"
	merchant = "merchant-0007"
	minute   = int64(time.Minute / time.Millisecond)
)

// transaction is one that the built-in rule large-transaction flags.
func (m maker) transaction() events.Transaction {
	return events.Transaction{
		TransactionID: m.id, UserID: user, Amount: 123_456_78, Currency: "EUR", Time: m.now, MerchantID: merchant,
		Type: "purchase", Location: "Berlin, DE", PaymentMethod: "credit_card",
	}
}

// plain is a transaction as a KafkaSource delivers it from a record that is no
// CloudEvent, such as the original producer writes.
func (m maker) plain() events.Event {
	t := m.transaction()
	return events.Event{
		ID: "partition:0/offset:0", Source: "/apis/v1/namespaces/default/kafkasources/enrich-transactions#" + events.TopicTransactions,
		Type: events.TypePlain, Subject: "partition:0#0", Time: time.UnixMilli(m.now).UTC(), Key: user,
		DataContentType: "application/json", Data: events.AppendTransaction(nil, &t),
	}
}

func (m maker) enriched() events.Enriched {
	return events.Enriched{
		Transaction: m.transaction(), Category: "electronics", Country: "DE", BaseAmount: 133_333_32, BaseCurrency: "USD",
		LocalHour: 14, DistanceKm: 3.5, MerchantRisk: 0.01,
	}
}

func (m maker) scored() events.Scored {
	return events.Scored{
		Enriched: m.enriched(), Score: 0.9, Flagged: true, Severity: "high",
		Rules: []events.FiredRule{{ID: "large-transaction", Version: 1}}, RuleSet: "sample", ModelVersion: "sample",
		Features: []events.Feature{{Name: "baseAmount", Value: 133333.32}, {Name: "count1d", Value: 2}},
	}
}

func (m maker) anomaly() events.Anomaly {
	return events.Anomaly{
		Scored:  m.scored(),
		Reasons: []events.Reason{{Rule: "large-transaction", Text: "amount 123456.78 EUR is over 100000 (large-transaction)"}},
	}
}

func (m maker) label() events.Event {
	return events.NewLabel(&events.Label{
		TransactionID: m.id, UserID: user, MerchantID: merchant, TransactionTime: m.now, LabelTime: m.now + minute, Fraud: true,
	})
}

// minuteStart is the begin of the minute of the transaction.
func (m maker) minuteStart() int64 { return window.Floor(m.now, minute, 0) }

func (m maker) partial() events.Event {
	t := m.enriched()
	var acc window.Acc
	acc.Add(window.Value{Amount: t.BaseAmount, User: 42, Anomaly: true})
	start := m.minuteStart()
	return events.NewPartial(&events.Partial{
		Dimension: "merchant", Value: merchant, Width: minute, Start: start, From: start + minute,
		Version: acc.Count, Count: acc.Count, State: acc.Append(nil),
	})
}

func (m maker) aggregate() events.Event {
	t := m.enriched()
	return events.NewAggregate(&events.Aggregate{
		Dimension: "currency", Value: t.Currency, Window: "1m", Start: m.minuteStart(), End: m.minuteStart() + minute, Pane: 3, Final: true,
		Currency: t.Currency, Count: 1, Anomalies: 1, Sum: t.Amount, Min: t.Amount, Max: t.Amount, Mean: float64(t.Amount),
		Sketched: true, P50: t.Amount, P90: t.Amount, P95: t.Amount, P99: t.Amount, Customers: 1,
	})
}

func (m maker) risk() events.Event {
	share := events.RiskWindow{Count: 200, Frauds: 2, Risk: 0.01}
	return events.NewRisk(&events.MerchantRisk{MerchantID: merchant, AsOf: m.now, Windows: [3]events.RiskWindow{share, share, share}})
}

func (maker) merchant() events.Event {
	e, err := reference.NewMerchant(reference.Merchant{ID: merchant, Category: "electronics", Country: "DE"})
	if err != nil {
		panic("sample merchant: " + err.Error()) // it is a constant
	}
	return e
}

// ruleDocument is a rule as emulator rules apply takes it.
const ruleDocument = `id: sample-expensive
version: 1
description: An amount that is worth a look.
reason: "amount {amount} {currency} is over 5000"
severity: low
weight: 0.1
mode: shadow
when: amount > 5000
`

// table is a record of a table that rules or people keep.
func table(key, kind, subject, contentType string, data []byte) events.Event {
	return events.Event{
		ID: key, Source: "/datasurge/sample", Type: kind, Subject: subject, Key: key, DataContentType: contentType, Data: data,
	}
}

func (maker) rule() events.Event {
	const id = "sample-expensive"
	return table(id, events.TypeRule, id, "application/yaml", []byte(ruleDocument))
}

func (m maker) list() events.Event {
	l := events.ListEntry{List: events.ListWatch, Value: user, Until: m.now + 60*minute, Note: "sample"}
	return table(l.Key(), events.TypeList, user, "application/json", events.AppendListEntry(nil, &l))
}

func (m maker) suppression() events.Event {
	s := events.Suppression{Rule: "large-transaction", Value: user, Until: m.now + 60*minute, Note: "sample"}
	return table(s.Key(), events.TypeSuppression, user, "application/json", events.AppendSuppression(nil, &s))
}

func (m maker) windowStart() events.Event {
	return events.NewWindowStart(&events.WindowStart{Window: "sample", ExactFrom: m.now})
}

func (maker) windowPanes() events.Event {
	return events.NewWindowPanes(&events.WindowPanes{MerchantID: merchant, Panes: []byte{1}})
}

// outcome and example are between tasks of learn.
func (m maker) outcome() events.Event {
	data := fmt.Sprintf(`{"merchantId":%q,"time":%d,"known":%d,"kind":%d}`, merchant, m.now, m.now+minute, outcome.UsualFraud)
	return table(m.id+"/outcome", events.TypeOutcome, merchant, "application/json", []byte(data))
}

func (m maker) example() events.Event {
	data := fmt.Sprintf(`{"transactionId":%q,"known":%d,"fraud":true,"weight":1,"values":[133333.32,2]}`, m.id, m.now+minute)
	return table(m.id+"/example", events.TypeExample, "model", "application/json", []byte(data))
}

func (m maker) outcomes() events.Event {
	h := outcome.History{MerchantID: merchant}
	h.Add(outcome.Outcome{Time: m.now, Known: m.now + minute, Kind: outcome.UsualFraud})
	return table(merchant, events.TypeOutcomes, merchant, "application/json", h.Append(nil))
}

func (m maker) model() events.Event {
	one := model.Model{Examples: 1000, Frauds: 10, Features: []string{"baseAmount"}, Borders: [][]float32{{100}}, Prior: -4.6}
	return table(events.ModelKey, events.TypeModel, events.ModelKey, "application/json", one.At(m.now).Append(nil))
}

func (m maker) late() events.Event {
	t := m.transaction()
	e := events.NewTransaction(&t)
	return events.NewLate("enrich", "future", &e)
}

func (m maker) deadLetter() events.Event {
	return events.NewDeadLetter("enrich", `$.currency: is no ISO 4217 code in use, such as USD`, events.Original{
		Topic: events.TopicTransactions, Timestamp: m.now, Key: []byte(user), Value: []byte(`{"transactionId":` + strconv.Quote(m.id) + `,"currency":"???"}`),
	})
}

// watermark is what an idle task of detect tells the tasks of aggregate.
func (m maker) watermark() events.Event {
	return events.Event{
		ID: "detect/0/" + strconv.FormatInt(m.now, 10), Source: events.SourceDetect, Type: events.TypeWatermark, Time: time.UnixMilli(m.now).UTC(),
		Extensions: []events.Extension{
			{Name: events.ExtTask, Value: "detect/0/4"}, {Name: events.ExtWatermark, Value: strconv.FormatInt(m.now, 10)}, {Name: events.ExtIdle, Value: "true"},
		},
	}
}
