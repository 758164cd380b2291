package detect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/model"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
)

// learntModel is a model of default size that knows frauds by a run of frauds at
// the merchant or by an unusual amount, to be used from since on.
func learntModel(t testing.TB, since int64, names ...string) *model.Model {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	e := &model.Examples{Names: append([]string{"usualRatio", "merchantFraudRun", "baseAmount", "merchantFraudShare"}, names...)}
	e.Columns = make([][]float32, len(e.Names))
	for range 5000 {
		ratio, run := 4*r.Float32(), float32(r.IntN(4))
		e.Columns[0], e.Columns[1] = append(e.Columns[0], ratio), append(e.Columns[1], run)
		for f := 2; f < len(e.Columns); f++ {
			e.Columns[f] = append(e.Columns[f], r.Float32())
		}
		e.Fraud, e.Weight = append(e.Fraud, ratio > 3 || run > 1), append(e.Weight, 1)
	}
	m, err := model.Train(e, model.DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	return m.At(since)
}

func (f *fixture) apply(t testing.TB, topic string, records ...step.Change) error {
	t.Helper()
	i := slices.IndexFunc(f.def.Tables, func(table step.Table) bool { return table.Topic == topic })
	view, err := f.def.Tables[i].Apply(f.Tables[topic], records)
	if view != nil {
		f.Tables[topic] = view
	}
	return err
}

func modelRecord(data []byte) step.Change { return step.Change{Key: events.ModelKey, Value: data} }

// The latest model whose time has come scores; the others wait or are over.
func TestTheModelOfTheTimeScores(t *testing.T) {
	f := newFixture(t)
	first, second := learntModel(t, day0+hour), learntModel(t, day0+3*hour)
	if err := f.apply(t, events.TopicModels, modelRecord(second.Append(nil)), modelRecord(first.Append(nil))); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at   int64
		want string
	}{
		{day0, baselineVersion}, {day0 + hour - 1, baselineVersion}, {day0 + hour, first.Version},
		{day0 + 3*hour, second.Version}, {day0 + 2*hour, first.Version},
	} {
		f.step(t, bought(test.at, 1000))
		if got := f.scored(t)[0].ModelVersion; got != test.want {
			t.Errorf("at %d: model %s, want %s", test.at, got, test.want)
		}
	}
	if err := f.apply(t, events.TopicModels, modelRecord(nil)); err != nil {
		t.Fatal(err)
	}
	f.step(t, bought(day0+4*hour, 1000))
	if got := f.scored(t)[0].ModelVersion; got != baselineVersion {
		t.Errorf("without a record: model %s", got)
	}
}

// A record that is no good model is refused in words, and the last good one stays
// in force.
func TestBadModelsAreRefused(t *testing.T) {
	f := newFixture(t)
	good := learntModel(t, day0)
	text := string(good.Append(nil))
	if err := f.apply(t, events.TopicModels, modelRecord([]byte(text))); err != nil {
		t.Fatal(err)
	}
	unknown := learntModel(t, day0+1, "shoeSize")
	for _, test := range []struct {
		name   string
		change step.Change
		want   string
	}{
		{"corrupt", modelRecord([]byte(strings.Replace(text, `"prior":`, `"prior":1`, 1))), "was changed on its way"},
		{"cut off", modelRecord([]byte(text[:100])), "unexpected end"},
		{"newer", modelRecord([]byte(strings.Replace(text, `"format":1`, `"format":2`, 1))), "newer format"},
		{"unknown feature", modelRecord(unknown.Append(nil)), `"shoeSize"`},
		{"another key", step.Change{Key: "other", Value: []byte(text)}, `"other"`},
	} {
		err := f.apply(t, events.TopicModels, test.change)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v does not say %s", test.name, err, test.want)
		}
		f.step(t, bought(day0+hour, 1000))
		if got := f.scored(t)[0].ModelVersion; got != good.Version {
			t.Errorf("%s: model %s is in force, want %s", test.name, got, good.Version)
		}
	}
}

// The reason of a flagged transaction names in words what raised its score.
func TestLearntScoresAreExplained(t *testing.T) {
	f := newFixture(t)
	next := bought(day0+20*day, 5000)
	h := &outcome.History{MerchantID: next.MerchantID}
	for i := range int64(3) {
		h.Add(outcome.Outcome{Time: day0 + i*day, Known: day0 + (i+7)*day, Kind: outcome.UsualFraud})
	}
	if err := f.apply(t, events.TopicOutcomes, step.Change{Key: h.MerchantID, Value: h.Append(nil)}); err != nil {
		t.Fatal(err)
	}
	if err := f.apply(t, events.TopicModels, modelRecord(learntModel(t, day0).Append(nil))); err != nil {
		t.Fatal(err)
	}
	f.step(t, next)
	anomalies := f.anomalies(t)
	if len(anomalies) != 1 {
		t.Fatalf("%d anomalies", len(anomalies))
	}
	var text string
	for _, r := range anomalies[0].Reasons {
		if r.Rule == rules.ScoreReason {
			text = r.Text
		}
	}
	if !strings.Contains(text, "the last 3 payments known of the merchant are frauds") {
		t.Errorf("reasons %+v", anomalies[0].Reasons)
	}
	for i, x := range anomalies[0].Features {
		if x.Name == "merchantFraudRun" && x.Value != 3 || x.Name == "merchantAbuse" && !(x.Value > 0.3 && x.Value < 1) {
			t.Errorf("feature %d: %v", i, x)
		}
	}
}

// A merchant whose record is refused keeps the last good one; one without outcomes
// is forgotten.
func TestMerchantOutcomes(t *testing.T) {
	f := newFixture(t)
	h := &outcome.History{MerchantID: "m", Outcomes: []outcome.Outcome{{Time: 1, Known: 2, Kind: outcome.UsualFraud}}}
	other := &outcome.History{MerchantID: "n", Outcomes: h.Outcomes}
	if err := f.apply(t, events.TopicOutcomes, step.Change{Key: "m", Value: h.Append(nil)}); err != nil {
		t.Fatal(err)
	}
	err := f.apply(t, events.TopicOutcomes, step.Change{Key: "m", Value: []byte("{")}, step.Change{Key: "m", Value: other.Append(nil)}, step.Change{Key: "n", Value: other.Append(nil)})
	if err == nil || !strings.Contains(err.Error(), `"m"`) {
		t.Errorf("error %v", err)
	}
	view := f.Tables[events.TopicOutcomes].(*merchants)
	if view.get("m") == nil || view.get("n") == nil {
		t.Error("good records are missing")
	}
	h.Outcomes = nil
	if err := f.apply(t, events.TopicOutcomes, step.Change{Key: "m", Value: h.Append(nil)}, step.Change{Key: "n"}); err != nil {
		t.Fatal(err)
	}
	view = f.Tables[events.TopicOutcomes].(*merchants)
	if view.get("m") != nil || view.get("n") != nil {
		t.Error("merchants that were forgotten are there")
	}
}

// BenchmarkLearntStep is BenchmarkStep with ten and a hundred rules, a learnt model
// of full size and merchants with outcomes.
func BenchmarkLearntStep(b *testing.B) {
	for _, count := range []int{10, 100} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) {
			def, err := Definition(DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			tx := newBenchTx(def)
			conditions := []string{"amount > 50000 && international", "count1d > 20 && mean1d > 3.0 * mean30d", "night && distanceKm > 500 && country != 'DE'"}
			var records []step.Change
			for i := range count - len(tx.tables[events.TopicRules].(*rules.Set).Rules()) {
				records = append(records, ruleRecord(fmt.Sprintf("extra-%d", i), "active", conditions[i%3]))
			}
			if tx.tables[events.TopicRules], err = def.Tables[0].Apply(tx.tables[events.TopicRules], records); err != nil {
				b.Fatal(err)
			}
			view := models{}
			if err := view.add(learntModel(b, 0, "amountRatio", "unusual14d", "merchantFraudDays", "merchantCleanDays", "merchantAbuse", "count10m", "newCountry1h", "distanceKm", "international").Append(nil)); err != nil {
				b.Fatal(err)
			}
			tx.tables[events.TopicModels] = view
			var input []events.Event
			for i, t := range stream(20_000) {
				t.UserID = fmt.Sprintf("user_%d", i%200)
				t.BaseAmount = 1000 + int64(i%50)*100
				t.Amount, t.Country = t.BaseAmount, "DE"
				input = append(input, events.NewEnriched(&t))
				if i == 0 {
					h := &outcome.History{MerchantID: t.MerchantID}
					for k := range int64(outcome.Most) {
						h.Add(outcome.Outcome{Time: t.Time - (40-k/2)*day, Known: t.Time - (33-k/2)*day})
					}
					if tx.tables[events.TopicOutcomes], err = applyOutcomes(tx.tables[events.TopicOutcomes], []step.Change{{Key: h.MerchantID, Value: h.Append(nil)}}); err != nil {
						b.Fatal(err)
					}
				}
			}
			function := def.New(step.Task{State: func(func([]byte, any) bool) {}})
			took := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				if err := function.Step(tx, &input[i%len(input)]); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
		})
	}
}
