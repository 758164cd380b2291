package backtest

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/generate/handbook"
)

// someDays is the data set of few customers and days.
var someDays = sync.OnceValue(func() []Step {
	const customers, days = 150, 45
	var steps []Step
	var source Handbook
	for range days {
		s, _, err := source.Next(context.Background())
		if err != nil {
			panic(err)
		}
		other := func(user string) bool {
			n, err := strconv.Atoi(user)
			return err != nil || n >= customers
		}
		s.Transactions = slices.DeleteFunc(s.Transactions, func(t Transaction) bool { return other(t.UserID) })
		s.Labels = slices.DeleteFunc(s.Labels, func(l Label) bool { return other(l.UserID) })
		steps = append(steps, s)
	}
	return steps
})

// recorded hands out steps again. Labels may be changed.
type recorded struct {
	steps   []Step
	changed func(*events.Label)
}

func (r *recorded) Next(context.Context) (Step, bool, error) {
	if len(r.steps) == 0 {
		return Step{}, false, nil
	}
	s := r.steps[0]
	r.steps = r.steps[1:]
	s.Done, s.All = 1, int64(1+len(r.steps))
	s.Transactions = slices.Clone(s.Transactions)
	for i := range s.Transactions {
		s.Transactions[i].Record = copyOf(s.Transactions[i].Record)
	}
	s.Labels = slices.Clone(s.Labels)
	for i := range s.Labels {
		l := &s.Labels[i]
		if r.changed != nil {
			r.changed(&l.Label)
		}
		e := events.NewLabel(&l.Label)
		l.Record = recordOf(&e)
	}
	return s, true, nil
}

func copyOf(rec *kgo.Record) *kgo.Record {
	return &kgo.Record{Key: rec.Key, Value: rec.Value, Headers: rec.Headers}
}

func measured(t *testing.T, c Config) *Result {
	t.Helper()
	if c.Rules == nil {
		c.Rules = DefaultRules()
	}
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// whole is the result of all of someDays, against a rule that always fires.
func whole(t *testing.T) *Result {
	t.Helper()
	wholeOnce.Do(func() {
		wholeResult = measured(t, Config{
			Source:  &recorded{steps: someDays()},
			Against: []byte("id: everything\nversion: 1\ndescription: All.\nseverity: low\nweight: 0.5\nwhen: baseAmount > 0.0\n"),
		})
	})
	if wholeResult == nil {
		t.Fatal("the whole could not be measured")
	}
	return wholeResult
}

var (
	wholeOnce   sync.Once
	wholeResult *Result
)

// Every label that became known at some time or later is turned round: no score of
// an earlier transaction changes, and later ones do.
func TestNoLabelIsUsedBeforeItIsKnown(t *testing.T) {
	known := handbook.Start().UnixMilli() + 30*day + day/3
	want := whole(t)
	turned := measured(t, Config{Source: &recorded{steps: someDays(), changed: func(l *events.Label) {
		if l.LabelTime >= known {
			l.Fraud = !l.Fraud
		}
	}}})
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

// Another run gives the same scores, byte for byte, with another number of tasks
// too, and whatever follows.
func TestScoresAreTheSameAgain(t *testing.T) {
	part := measured(t, Config{Source: &recorded{steps: someDays()[:30]}, Partitions: 3})
	if len(part.Rows) == 0 || len(part.Rows) >= len(whole(t).Rows) || part.Refused > 0 {
		t.Fatalf("%d and %d transactions, %d refused", len(part.Rows), len(whole(t).Rows), part.Refused)
	}
	if diff := cmp.Diff(scores(t, whole(t))[:len(part.Rows)], scores(t, part)); diff != "" {
		t.Error(diff)
	}
}

// scores are the lines of the file of scores.
func scores(t *testing.T, r *Result) []string {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteScores(&text); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(text.String()), "\n")[1:]
}

// A run that is interrupted says so, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result, err := Run(ctx, Config{Source: &recorded{steps: someDays()}, Progress: func(int64, int64) { cancel() }})
	if result != nil || err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("result %v, error %v", result, err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestReport(t *testing.T) {
	result := whole(t)
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
