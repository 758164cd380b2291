package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/window"
)

// start is the begin of a minute, ms since the epoch.
const start = 1_700_000_040_000

// pipeline makes the records that a pipeline without faults writes.
type pipeline struct {
	t       *testing.T
	records []*kgo.Record
	offsets map[string]int64 // next, of partition 0 of each topic
	counted map[int64]int64  // transactions by minute
}

func newPipeline(t *testing.T) *pipeline {
	return &pipeline{t: t, offsets: make(map[string]int64), counted: make(map[int64]int64)}
}

// write appends a record of e to a topic.
func (p *pipeline) write(topic string, e events.Event, extensions ...events.Extension) *kgo.Record {
	e.Extensions = append(e.Extensions, extensions...)
	rec := &kgo.Record{Topic: topic, Offset: p.offsets[topic]}
	p.offsets[topic]++
	kafkarecord.Write(&e, rec)
	p.records = append(p.records, rec)
	return rec
}

func transaction(n int) events.Transaction {
	return events.Transaction{
		TransactionID: fmt.Sprintf("5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b%03d", n), UserID: fmt.Sprint("user_", n%7), Amount: 1250, Currency: "EUR",
		Time: start + int64(n)*1000, MerchantID: "merchant_1", Type: "purchase", Location: "Berlin, DE", PaymentMethod: "paypal",
	}
}

func enriched(n int) events.Enriched {
	return events.Enriched{Transaction: transaction(n), Category: "shopping", Country: "DE", BaseAmount: 1300, BaseCurrency: "USD"}
}

func scored(n int) events.Scored {
	return events.Scored{Enriched: enriched(n), RuleSet: "1", ModelVersion: "1"}
}

func (p *pipeline) send(n int) {
	t := transaction(n)
	p.write(events.TopicTransactions, events.NewTransaction(&t))
}
func (p *pipeline) enrich(n int) {
	t := enriched(n)
	p.write(events.TopicEnriched, events.NewEnriched(&t))
}

func (p *pipeline) detect(n int, flagged bool) {
	t := scored(n)
	if t.Flagged = flagged; flagged {
		t.Severity = "low"
	}
	p.write(events.TopicScored, events.NewScored(&t))
	if flagged {
		p.write(events.TopicAnomalies, events.NewAnomaly(&events.Anomaly{Scored: t, Reasons: []events.Reason{{Rule: "r", Text: "t"}}}))
	}
	p.counted[window.Floor(t.Time, minute, 0)]++
}

// through sends transaction n through all hops.
func (p *pipeline) through(n int) {
	p.send(n)
	p.enrich(n)
	p.detect(n, n%3 == 0)
}

var minutes = []window.Spec{{Size: minute, Slide: minute}}

// partial publishes count transactions of the minute that begins at from.
func (p *pipeline) partial(dimension, value string, at, count int64) {
	p.write(events.TopicPartials, events.NewPartial(&events.Partial{
		Dimension: dimension, Value: value, Width: minute, Start: at, From: at + minute, Version: count, Count: count, State: []byte{1},
	}))
}

func (p *pipeline) result(dimension, value string, at, count, pane int64, final bool) {
	p.write(events.TopicAggregates, events.NewAggregate(&events.Aggregate{
		Dimension: dimension, Value: value, Window: "1m", Start: at, End: at + minute, Currency: "USD", Count: count, Pane: pane, Final: final,
	}))
}

// aggregate publishes what has been counted, the first minutes final.
func (p *pipeline) aggregate(final int) {
	var at []int64
	for m := range p.counted {
		at = append(at, m)
	}
	slices.Sort(at)
	for i, m := range at {
		n := p.counted[m]
		p.partial("all", "all", m, n-n/2)
		p.partial("all", "all", m, n)
		p.partial("country", "DE", m, n)
		p.partial("rule", "r", m, n/3)
		p.result("all", "all", m, n-n/2, 0, false)
		p.result("all", "all", m, n, 1, i < final)
		p.result("country", "DE", m, n, 0, i < final)
	}
}

func (p *pipeline) options() Options {
	return Options{Windows: minutes, Lateness: 10 * time.Second, Horizon: 10 * time.Minute, Whole: true}
}

// account adds all records in their order.
func (p *pipeline) account() Account {
	l := newLedger(p.options())
	for _, rec := range p.records {
		l.Add(rec)
	}
	return l.Account()
}

// hop returns one hop of an account.
func hopNamed(t *testing.T, a *Account, name string) Hop {
	t.Helper()
	for _, h := range a.Hops {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("there is no hop %s", name)
	return Hop{}
}

func TestBalanced(t *testing.T) {
	p := newPipeline(t)
	for n := range 150 {
		p.through(n)
	}
	p.aggregate(2)
	a := p.account()
	want := Account{
		Topics: map[string]int64{
			events.TopicTransactions: 150, events.TopicEnriched: 150, events.TopicScored: 150, events.TopicAnomalies: 50,
			events.TopicPartials: 12, events.TopicAggregates: 9,
		},
		Transactions: 150,
		Hops: []Hop{
			{Name: "generate", Out: 150}, {Name: "enrich", In: 150, Out: 150}, {Name: "detect", In: 150, Out: 150},
			{Name: "anomalies", In: 50, Out: 50}, {Name: "aggregate", In: 150, Out: 150},
		},
		Windows:     &Windows{Final: 2, Open: 1},
		DeadLetters: Reasons{}, Late: Reasons{},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	if err := a.Err(); err != nil {
		t.Error(err)
	}
}

// Every record of the hops that is taken away is missing, and every one that is
// there twice is doubled: nothing else is wrong.
func TestEveryRecordCounts(t *testing.T) {
	p := newPipeline(t)
	for n := range 30 {
		p.through(n)
	}
	p.aggregate(1)
	all := p.records
	for i, rec := range all {
		name := fmt.Sprintf("%s %d", rec.Topic, rec.Offset)
		p.records = slices.Delete(slices.Clone(all), i, i+1)
		a := p.account()
		switch rec.Topic {
		case events.TopicTransactions:
			// Not sent is not lost; its results are of somebody else.
			if a.Missing() != 0 || a.Doubled() != 0 || hopNamed(t, &a, "enrich").Outside != 1 {
				t.Errorf("without %s: %+v", name, a.Hops)
			}
		case events.TopicPartials, events.TopicAggregates:
			// Some of them are replaced by later ones.
		default:
			if a.Err() == nil {
				t.Errorf("without %s the account balances", name)
			}
		}
		p.records = slices.Insert(slices.Clone(all), i, rec)
		a = p.account()
		if rec.Topic == events.TopicPartials {
			if a.Err() != nil {
				t.Errorf("%s twice: partial results may come again: %v", name, a.Err())
			}
		} else if a.Doubled() == 0 {
			t.Errorf("%s twice is not seen", name)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name             string
		do               func(p *pipeline)
		missing, doubled int64
		hop              string
		want             Hop // of hop
	}{
		{"lost by enrich", func(p *pipeline) { p.send(1) }, 1, 0, "enrich", Hop{In: 1, Missing: 1}},
		{"lost by detect", func(p *pipeline) { p.send(1); p.enrich(1) }, 1, 0, "detect", Hop{In: 1, Missing: 1}},
		{"enriched twice", func(p *pipeline) { p.through(1); p.enrich(1) }, 1, 1, "enrich", Hop{In: 1, Out: 2, Doubled: 1}},
		{"scored twice", func(p *pipeline) { p.through(1); p.detect(1, false) }, 0, 1, "detect", Hop{In: 1, Out: 2, Doubled: 1}},
		{"no anomaly", func(p *pipeline) { p.through(3); p.records = p.records[:3] }, 1, 0, "anomalies", Hop{In: 1, Missing: 1}},
		{"sent by generate twice", func(p *pipeline) { p.through(1); p.send(1) }, 0, 1, "generate", Hop{Out: 2, Doubled: 1}},
		{"sent again by a producer", func(p *pipeline) {
			for range 3 {
				tr := transaction(1)
				e := events.NewTransaction(&tr)
				e.Source, e.ID = "/producer", strconv.FormatInt(p.offsets[events.TopicTransactions], 10)
				p.write(events.TopicTransactions, e)
			}
			p.enrich(1)
			p.detect(1, false)
		}, 0, 0, "enrich", Hop{In: 3, Out: 1, Duplicates: 2}},
		{"sent again in capitals, as a plain record", func(p *pipeline) {
			p.through(1)
			tr := transaction(1)
			tr.TransactionID = strings.ToUpper(tr.TransactionID)
			p.records = append(p.records, &kgo.Record{Topic: events.TopicTransactions, Offset: 7, Value: events.AppendTransaction(nil, &tr)})
		}, 0, 0, "enrich", Hop{In: 2, Out: 1, Duplicates: 1}},
		{"sent again after the horizon", func(p *pipeline) {
			p.through(1)
			tr := enriched(1)
			e := events.NewTransaction(&tr.Transaction)
			e.Source = "/producer"
			p.write(events.TopicTransactions, e)
			p.write(events.TopicEnriched, events.NewEnriched(&tr), events.Extension{Name: events.ExtWatermark, Value: strconv.Itoa(start + 11*minute)})
			p.detect(1, false)
		}, 0, 0, "enrich", Hop{In: 2, Out: 2}},
		{"sent again within the horizon", func(p *pipeline) {
			p.through(1)
			tr := enriched(1)
			e := events.NewTransaction(&tr.Transaction)
			e.Source = "/producer"
			p.write(events.TopicTransactions, e)
			p.write(events.TopicEnriched, events.NewEnriched(&tr), events.Extension{Name: events.ExtWatermark, Value: strconv.Itoa(start + 11*minute - 1)})
			p.detect(1, false)
		}, 0, 1, "enrich", Hop{In: 2, Out: 2, Doubled: 1}},
		{"from the future", func(p *pipeline) {
			tr := transaction(1)
			e := events.NewTransaction(&tr)
			p.write(events.TopicTransactions, e)
			p.write(events.TopicLate, events.NewLate("enrich", "future", &e))
		}, 0, 0, "enrich", Hop{In: 1, Late: 1}},
		{"late and enriched", func(p *pipeline) {
			p.through(1)
			tr := transaction(1)
			e := events.NewTransaction(&tr)
			p.write(events.TopicLate, events.NewLate("enrich", "future", &e))
		}, 0, 1, "enrich", Hop{In: 1, Out: 1, Late: 1, Doubled: 1}},
		{"too late for every window", func(p *pipeline) {
			p.send(1)
			p.enrich(1)
			tr := scored(1)
			e := events.NewScored(&tr)
			p.write(events.TopicScored, e)
			p.write(events.TopicLate, events.NewLate("aggregate", "every window of the transaction is closed", &e))
		}, 0, 0, "aggregate", Hop{}},
		{"a letter of a function", func(p *pipeline) {
			rec := &kgo.Record{Topic: events.TopicTransactions, Offset: 5, Value: []byte("no JSON"), Key: []byte("k")}
			p.records = append(p.records, rec)
			p.write(events.TopicDeadLetters, events.NewDeadLetter("enrich", "is no JSON", kafkarecord.Original(rec)))
		}, 0, 0, "enrich", Hop{In: 1, Dead: 1}},
		{"a record that cannot be read, lost", func(p *pipeline) {
			p.records = append(p.records, &kgo.Record{Topic: events.TopicTransactions, Offset: 5, Value: []byte("no JSON")})
		}, 1, 0, "enrich", Hop{In: 1, Missing: 1}},
		{"not delivered", func(p *pipeline) {
			tr := transaction(1)
			e := events.NewTransaction(&tr)
			p.write(events.TopicTransactions, e)
			p.write(events.TopicDeadLetters, e, refusal(events.TopicTransactions)...)
		}, 0, 0, "enrich", Hop{In: 1, Dead: 1}},
		{"not delivered, and done", func(p *pipeline) {
			p.through(1)
			tr := enriched(1)
			p.write(events.TopicDeadLetters, events.NewEnriched(&tr), refusal(events.TopicEnriched)...)
		}, 0, 0, "detect", Hop{In: 1, Out: 1, Dead: 1, DeadAndDone: 1}},
		{"labelled without having been sent", func(p *pipeline) {
			tr := transaction(1)
			p.write(events.TopicLabels, events.NewLabel(&events.Label{TransactionID: tr.TransactionID, UserID: tr.UserID, MerchantID: "m", TransactionTime: start, LabelTime: start}))
		}, 1, 0, "generate", Hop{Missing: 1}},
		{"came by HTTP", func(p *pipeline) { p.enrich(1); p.detect(1, false) }, 0, 0, "enrich", Hop{Out: 1, Outside: 1}},
		{"came by HTTP, lost by detect", func(p *pipeline) { p.enrich(1) }, 1, 0, "detect", Hop{In: 1, Missing: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPipeline(t)
			c.do(p)
			p.aggregate(0)
			a := p.account()
			if a.Missing() != c.missing || a.Doubled() != c.doubled {
				t.Errorf("%d missing, %d doubled, want %d, %d\n%s", a.Missing(), a.Doubled(), c.missing, c.doubled, strings.Join(a.Lines(), "\n"))
			}
			c.want.Name = c.hop
			if diff := cmp.Diff(c.want, hopNamed(t, &a, c.hop)); diff != "" {
				t.Errorf("hop (-want +got):\n%s", diff)
			}
			if (a.Err() != nil) != (c.missing+c.doubled > 0) {
				t.Errorf("Err: %v", a.Err())
			}
		})
	}
}

// refusal is what a KafkaSource says of an event of topic that it gives up.
func refusal(topic string) []events.Extension {
	return []events.Extension{
		{Name: "knativeerrordest", Value: "http://f/"}, {Name: "knativeerrorcode", Value: "400"}, {Name: "knativeerrordata", Value: "bm8="},
		{Name: events.ExtTopic, Value: topic}, {Name: events.ExtPartition, Value: "0"}, {Name: events.ExtOffset, Value: "0"},
	}
}

func TestWindowFaults(t *testing.T) {
	const second = start + minute
	for _, c := range []struct {
		name             string
		do               func(p *pipeline)
		missing, doubled int64
		wrong            string
	}{
		{"one too few in the partial results", func(p *pipeline) { p.partial("all", "all", start, 59); p.result("all", "all", start, 59, 0, true) }, 1, 0, "partial results of all count 59"},
		{"one too many", func(p *pipeline) { p.partial("all", "all", start, 61); p.result("all", "all", start, 61, 0, true) }, 0, 1, "count 61"},
		{"the result is not the sum", func(p *pipeline) { p.partial("all", "all", start, 60); p.result("all", "all", start, 58, 0, true) }, 2, 0, "counts 58, want 60"},
		{"a dimension counts less", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.partial("type", "purchase", start, 57)
			p.partial("type", "refund", start, 2)
			p.result("all", "all", start, 60, 0, false)
		}, 1, 0, "type"},
		{"a dimension's final results count more", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.partial("type", "purchase", start, 60)
			p.result("all", "all", start, 60, 0, true)
			p.result("type", "purchase", start, 61, 0, true)
		}, 0, 1, "type, window 1m"},
		{"a result follows the final one", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.result("all", "all", start, 60, 0, true)
			p.result("all", "all", start, 60, 1, false)
		}, 0, 1, ""},
		{"a result is there twice", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.result("all", "all", start, 60, 0, false)
			p.result("all", "all", start, 60, 0, false)
		}, 0, 1, ""},
		{"no final result, but a later one", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.result("all", "all", start, 60, 0, false)
			p.result("all", "all", second, 0, 0, true)
		}, 60, 0, "no final result"},
		{"of another value, none is missed", func(p *pipeline) {
			p.partial("all", "all", start, 60)
			p.result("all", "all", start, 60, 0, true)
			p.partial("rule", "r", start, 5)
		}, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPipeline(t)
			for n := range 60 {
				p.through(n)
			}
			c.do(p)
			a := p.account()
			if a.Missing() != c.missing || a.Doubled() != c.doubled {
				t.Errorf("%d missing, %d doubled, want %d, %d\n%s", a.Missing(), a.Doubled(), c.missing, c.doubled, strings.Join(a.Lines(), "\n"))
			}
			if got := strings.Join(a.Windows.Wrong, "\n"); !strings.Contains(got, c.wrong) {
				t.Errorf("wrong windows: %s, want %q", got, c.wrong)
			}
		})
	}
}

// What the watermarks on the events say may have been too late is not lost.
func TestTooLateForSomeWindows(t *testing.T) {
	p := newPipeline(t)
	p.through(0)
	tr := scored(1)
	p.send(1)
	p.enrich(1)
	late := p.write(events.TopicScored, events.NewScored(&tr), events.Extension{Name: events.ExtWatermark, Value: strconv.Itoa(start + minute + 10_000)})
	p.partial("all", "all", start, 1)
	p.result("all", "all", start, 1, 0, true)
	a := p.account()
	if a.Err() != nil || a.Windows.TooLate != 1 {
		t.Errorf("%v\n%s", a.Err(), strings.Join(a.Lines(), "\n"))
	}
	for i := range late.Headers {
		if late.Headers[i].Key == "ce_"+events.ExtWatermark {
			late.Headers[i].Value = []byte(strconv.Itoa(start + minute + 9_999))
		}
	}
	if a = p.account(); a.Missing() != 1 {
		t.Errorf("the window was open, and the account balances")
	}
}

// A transaction that was sent behind the end of the account is not missed.
func TestUntil(t *testing.T) {
	p := newPipeline(t)
	p.through(0)
	p.send(1)
	p.aggregate(0)
	options := p.options()
	for end, missing := range map[int64]int64{1: 0, 2: 1} {
		options.Until = map[string]map[int32]int64{events.TopicTransactions: {0: end}}
		l := newLedger(options)
		for _, rec := range p.records {
			l.Add(rec)
		}
		if a := l.Account(); a.Missing() != missing {
			t.Errorf("up to %d: %d missing, want %d", end, a.Missing(), missing)
		}
	}
}

// Read in several shares of the hashes, the account is the same.
func TestShares(t *testing.T) {
	p := newPipeline(t)
	for n := range 200 {
		p.through(n)
	}
	p.aggregate(1)
	p.send(200)
	p.enrich(17)
	want := p.account()
	options := p.options()
	var got Account
	options.shards = 3
	for options.shard = range options.shards {
		l := newLedger(options)
		for _, rec := range p.records {
			l.Add(rec)
		}
		if a := l.Account(); options.shard == 0 {
			got = a
		} else {
			got.add(a)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in shares (-want +got):\n%s", diff)
	}
	if got.Err() == nil {
		t.Error("the account balances")
	}
}

func TestReasons(t *testing.T) {
	p := newPipeline(t)
	p.send(1)
	tr := transaction(1)
	p.write(events.TopicDeadLetters, events.NewTransaction(&tr), refusal(events.TopicTransactions)...)
	p.write(events.TopicDeadLetters, events.NewTransaction(&tr))
	a := p.account()
	want := Reasons{"not delivered from financial_transactions: answered 400, no": 1, "written to dead_letters by somebody else": 1}
	if diff := cmp.Diff(want, a.DeadLetters); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	text := strings.Join(a.Lines(), "\n")
	for _, want := range []string{"dead letters by reason", "answered 400, no", "late events: none", "0 missing, 0 doubled"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
