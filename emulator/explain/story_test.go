package explain

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

const id = "5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b001"

var begun = time.Date(2026, 1, 2, 15, 4, 30, 0, time.UTC)

// record makes a record that was written ms after begun.
func record(topic string, ms int, e events.Event, extensions ...events.Extension) *kgo.Record {
	e.Extensions = append(e.Extensions, extensions...)
	rec := &kgo.Record{Topic: topic, Partition: 2, Offset: int64(ms), Timestamp: begun.Add(time.Duration(ms) * time.Millisecond)}
	kafkarecord.Write(&e, rec)
	return rec
}

func anomaly(id string) events.Anomaly {
	return events.Anomaly{
		Scored: events.Scored{
			Enriched: events.Enriched{
				Transaction: events.Transaction{
					TransactionID: id, UserID: "user_1", Amount: 12345678, Currency: "EUR", Time: begun.UnixMilli(), MerchantID: "merchant_7",
					Type: "purchase", Location: "Berlin, DE", PaymentMethod: "paypal",
				},
				Category: "travel", Country: "DE", BaseAmount: 13333333, BaseCurrency: "USD", LocalHour: 16, DistanceKm: 3.5,
			},
			Score: 0.75, Flagged: true, Severity: "high", Rules: []events.FiredRule{{ID: "large-transaction", Version: 3}},
			RuleSet: "abc", ModelVersion: "baseline-1", Features: []events.Feature{{Name: "count1m", Value: 2}},
		},
		Reasons: []events.Reason{{Rule: "large-transaction", Text: "amount 123456.78 EUR is over 100000"}},
	}
}

// all are the records of a transaction that went through everything.
func all(id string) []*kgo.Record {
	a := anomaly(id)
	return []*kgo.Record{
		record(events.TopicTransactions, 0, events.NewTransaction(&a.Transaction)),
		record(events.TopicScored, 80, events.NewScored(&a.Scored)), // partitions are read in any order
		record(events.TopicEnriched, 30, events.NewEnriched(&a.Enriched)),
		record(events.TopicAnomalies, 81, events.NewAnomaly(&a)),
		record(events.TopicLabels, 120_000, events.NewLabel(&events.Label{
			TransactionID: id, UserID: "user_1", MerchantID: "merchant_7", TransactionTime: begun.UnixMilli(), LabelTime: begun.UnixMilli() + 1, Fraud: true, Scenario: "card",
		})),
	}
}

func window(dimension, value string, start time.Time, pane, count int64, final bool) *kgo.Record {
	return record(events.TopicAggregates, 1000, events.NewAggregate(&events.Aggregate{
		Dimension: dimension, Value: value, Window: "1m", Start: start.UnixMilli(), End: start.Add(time.Minute).UnixMilli(), Pane: pane, Final: final,
		Currency: "USD", Count: count, Anomalies: 1,
	}))
}

func TestStory(t *testing.T) {
	teller := NewTeller(id)
	for _, rec := range append(all("another"), all(id)...) {
		if about := teller.Add(rec); about != strings.Contains(string(rec.Value), id) {
			t.Errorf("%s: about the transaction: %v", rec.Topic, about)
		}
	}
	if since, ok := teller.Since(); !ok || !since.Equal(begun) {
		t.Errorf("windows since %v, %v", since, ok)
	}
	minute := begun.Truncate(time.Minute)
	for _, rec := range []*kgo.Record{
		window("all", "all", minute, 0, 5, false), window("all", "all", minute, 1, 9, true),
		window("all", "all", minute.Add(time.Minute), 0, 7, false), window("all", "all", minute.Add(-time.Minute), 0, 7, false),
		window("merchant", "merchant_7", minute, 0, 2, false), window("merchant", "merchant_8", minute, 0, 2, false),
		window("rule", "large-transaction", minute, 0, 1, false), window("rule", "velocity-1m", minute, 0, 1, false),
		window("currency", "EUR", minute, 0, 3, false), window("payment", "paypal", minute, 0, 3, false), window("type", "purchase", minute, 0, 3, false),
		window("category", "travel", minute, 0, 3, false), window("country", "unknown", minute, 0, 3, false),
	} {
		teller.AddWindow(rec)
	}
	s := teller.Story()
	var hops, windows []string
	for _, h := range s.Hops {
		hops = append(hops, h.Topic+" "+h.After.String()+" "+h.Note)
	}
	for _, w := range s.Windows {
		windows = append(windows, w.Dimension+" "+w.Value)
	}
	if diff := cmp.Diff([]string{
		"financial_transactions 0s ", "enriched_transactions 30ms ", "scored_transactions 50ms ", "transaction_anomalies 1ms ",
		"transaction_labels 1m59.919s fraud, scenario card",
	}, hops); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"all all", "category travel", "currency EUR", "merchant merchant_7", "payment paypal", "rule large-transaction", "type purchase",
	}, windows); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
	if w := s.Windows[0]; !w.Final || w.Count != 9 {
		t.Errorf("the latest result of the whole: %+v", w)
	}
	text := strings.Join(s.Lines(), "\n")
	for _, want := range []string{
		id, "+30ms", "+1m59.92s", "enriched_transactions    2/30", "rule large-transaction version 3 fired", "because amount 123456.78 EUR is over 100000",
		"score 0.750, flagged as high, by rule set abc and model baseline-1", "count1m                  2", "fraud, scenario card",
		"purchase of 123456.78 EUR by user_1 at merchant_7", "133333.33 USD, travel, DE, 16 o'clock", "9 transactions, 1 anomalies, final",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if encoded, err := json.Marshal(s); err != nil || !strings.Contains(string(encoded), `"ruleSet":"abc"`) {
		t.Errorf("JSON: %v %s", err, encoded)
	}
}

// What goes wrong is part of the story.
func TestEnds(t *testing.T) {
	a := anomaly(id)
	sent := events.NewTransaction(&a.Transaction)
	plain := &kgo.Record{Topic: events.TopicTransactions, Timestamp: begun, Value: sent.Data}
	refused := []events.Extension{{Name: "knativeerrordest", Value: "http://f"}, {Name: "knativeerrorcode", Value: "400"}, {Name: events.ExtTopic, Value: events.TopicTransactions}}
	for _, c := range []struct {
		name    string
		records []*kgo.Record
		want    string
	}{
		{"unknown", nil, "nothing is known of it"},
		{"plain, on its way", []*kgo.Record{plain}, "it has not been enriched (yet)"},
		{"enriched", []*kgo.Record{plain, record(events.TopicEnriched, 1, events.NewEnriched(&a.Enriched))}, "it has not been scored (yet)"},
		{"without its anomaly", all(id)[:3], "there is no anomaly of it"},
		{"late", []*kgo.Record{plain, record(events.TopicLate, 1, events.NewLate("enrich", "future", &sent))}, "enrich found it late: future"},
		{"refused by a function", []*kgo.Record{record(events.TopicDeadLetters, 1, events.NewDeadLetter("enrich", "no rate", kafkarecord.Original(plain)))}, "enrich refused it: no rate"},
		{"not delivered", []*kgo.Record{record(events.TopicDeadLetters, 1, sent, refused...)}, "could not be delivered from financial_transactions: answered 400"},
		{"sent twice", append(all(id), plain), "it is 2 times in financial_transactions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			teller := NewTeller(id)
			for _, rec := range c.records {
				if !teller.Add(rec) {
					t.Errorf("%s: not about the transaction", rec.Topic)
				}
			}
			s := teller.Story()
			if text := strings.Join(s.Lines(), "\n"); !strings.Contains(text, c.want) {
				t.Errorf("no %q in:\n%s", c.want, text)
			}
		})
	}
}
