package backtest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/generate/handbook"
)

// small is the data set of few customers and days.
func small(changed func(*events.Label)) Config {
	return Config{Source: &Handbook{Customers: 150, Through: 45, Changed: changed}}
}

func measured(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every label that became known at some time or later is turned round: no score of
// an earlier transaction changes, and later ones do.
func TestNoLabelIsUsedBeforeItIsKnown(t *testing.T) {
	known := handbook.Start().UnixMilli() + 30*day + day/3
	want := measured(t, small(nil))
	turned := measured(t, small(func(l *events.Label) {
		if l.LabelTime >= known {
			l.Fraud = !l.Fraud
		}
	}))
	if len(want.Rows) != len(turned.Rows) {
		t.Fatalf("%d and %d transactions", len(want.Rows), len(turned.Rows))
	}
	later, models := 0, 0
	for i := range want.Rows {
		a, b := &want.Rows[i], &turned.Rows[i]
		if a.Score == b.Score && a.RuleScore == b.RuleScore {
			continue
		}
		if a.Time < known {
			t.Fatalf("the transaction of %d, before %d, has the score %v, and %v when labels are others that were not known", a.Time, known, a.Score, b.Score)
		}
		later++
	}
	for _, m := range want.Models {
		if m.From < known && m.Version != want.Models[0].Version {
			models++
		}
	}
	if later == 0 || models == 0 {
		t.Errorf("%d later scores are others, %d models were learnt before: the test shows nothing", later, models)
	}
}

// What comes after a transaction does not change its score.
func TestScoresDoNotDependOnWhatFollows(t *testing.T) {
	whole := measured(t, small(nil))
	short := small(nil)
	short.Source.(*Handbook).Through = 30
	part := measured(t, short)
	if len(part.Rows) == 0 || len(part.Rows) >= len(whole.Rows) {
		t.Fatalf("%d and %d transactions", len(part.Rows), len(whole.Rows))
	}
	for i := range part.Rows {
		if part.Rows[i].Score != whole.Rows[i].Score {
			t.Fatalf("the score of transaction %d is %v, and %v with what follows", i, part.Rows[i].Score, whole.Rows[i].Score)
		}
	}
}

func TestReport(t *testing.T) {
	config := small(nil)
	config.Against = []byte("id: everything\nversion: 1\ndescription: All.\nseverity: low\nweight: 0.5\nwhen: baseAmount > 0.0\n")
	result := measured(t, config)
	report, err := NewReport(result, Protocol{handbook.Start().UnixMilli() + 28*day, 7})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	report.Print(&text)
	for _, want := range []string{
		"test 2018-04-29 to 2018-05-05", "DataSurge, rules alone", "the most there can be", "compromised-terminal", "handbook-large",
		"from 2018-04-01 on", "with the rules of --against", "everything", "more frauds are flagged",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, text.String())
		}
	}
	if c := report.Comparison; c.FraudsLost > 0 || c.FalseAlarmsLost < len(report.Set)/2 {
		t.Errorf("a rule that always fires: %+v", c)
	}
	for name, plot := range report.Plots() {
		if !strings.HasPrefix(plot, "<svg") || !strings.HasSuffix(plot, "</svg>\n") || strings.Contains(plot, "NaN") {
			t.Errorf("%s is no chart:\n%.400s", name, plot)
		}
	}
	if _, err := NewReport(result, Protocol{handbook.Start().UnixMilli() + 400*day, 7}); err == nil {
		t.Error("a test without transactions was measured")
	}
}

func TestWriteScores(t *testing.T) {
	at := handbook.Start().UnixMilli()
	r := &Result{
		Customers: []string{"596", "a,\"b\""}, Merchants: []string{"3156"},
		Rows: []Row{{Customer: 0, Time: at + 31_000, Amount: 5716, Score: 0.25}, {Customer: 1, Time: at + 130_000, Amount: 0, Score: 1e-6}},
	}
	var text bytes.Buffer
	if err := r.WriteScores(&text); err != nil {
		t.Fatal(err)
	}
	want := "customer,terminal,second,amount,score\n596,3156,31,57.16,0.25\n\"a,\"\"b\"\"\",3156,130,0.00,1e-06\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}
