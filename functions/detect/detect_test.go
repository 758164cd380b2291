package detect

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
)

// fixture is detect over a test transaction context.
type fixture struct {
	*steptest.Tx
	def      step.Definition
	function step.Function
	observer *recorder
	task     int
}

// recorder is an Observer that writes down what it is told.
type recorder struct{ told []string }

func (r *recorder) Task(int) TaskObserver { return r }
func (r *recorder) Timer() *rules.Timer   { return nil }

func (r *recorder) Scored(t *events.Scored, _ *rules.Set) {
	r.told = append(r.told, fmt.Sprintf("scored %.2f %v %q", t.Score, t.Flagged, t.Severity))
}

func (r *recorder) RuleFired(id, severity string, shadow bool) {
	r.told = append(r.told, fmt.Sprintf("fired %s %s shadow=%v", id, severity, shadow))
}

func (r *recorder) RuleSuppressed(id string) { r.told = append(r.told, "suppressed "+id) }

func (r *recorder) RuleFailed(id string, err error) {
	r.told = append(r.told, fmt.Sprintf("failed %s: %v", id, err))
}

func (r *recorder) Labelled(rule string, fired, fraud bool) {
	r.told = append(r.told, fmt.Sprintf("labelled %q fired=%v fraud=%v", rule, fired, fraud))
}
func (r *recorder) RuleRefused(err error) { r.told = append(r.told, "refused "+err.Error()) }
func (r *recorder) RulesChanged(set *rules.Set) {
	r.told = append(r.told, fmt.Sprintf("changed to %d rules", len(set.Rules())))
}

func (r *recorder) take() []string {
	told := r.told
	r.told = nil
	return told
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{observer: &recorder{}}
	config := DefaultConfig()
	config.Observer = f.observer
	def, err := Definition(config)
	if err != nil {
		t.Fatal(err)
	}
	f.def = def
	f.Tx = steptest.New(t, def)
	f.function = def.New(f.Task(0, 1))
	return f
}

// restart commits and goes on with what was committed.
func (f *fixture) restart() {
	f.EndCommit()
	f.Tx = f.Restart()
	f.function = f.def.New(f.Task(f.task, f.task+1))
}

// table applies records to the rules table.
func (f *fixture) table(t testing.TB, records ...step.Change) {
	t.Helper()
	table := f.def.Tables[0]
	view, err := table.Apply(f.Tables[table.Topic], records)
	if err != nil {
		t.Fatal(err)
	}
	f.Tables[table.Topic] = view
}

func (f *fixture) set() *rules.Set { return f.Tables[events.TopicRules].(*rules.Set) }

// step hands transactions to the function.
func (f *fixture) step(t testing.TB, transactions ...events.Enriched) {
	t.Helper()
	for i := range transactions {
		e := events.NewEnriched(&transactions[i])
		if err := f.function.Step(f, &e); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) scored(t testing.TB) []events.Scored {
	t.Helper()
	var all []events.Scored
	for _, e := range f.Take(events.TopicScored) {
		var s events.Scored
		if err := events.ParseScored(e.Data, &s); err != nil {
			t.Fatalf("%v in %s", err, e.Data)
		}
		all = append(all, s)
	}
	return all
}

func (f *fixture) anomalies(t testing.TB) []events.Anomaly {
	t.Helper()
	var all []events.Anomaly
	for _, e := range f.Take(events.TopicAnomalies) {
		var a events.Anomaly
		if err := events.ParseAnomaly(e.Data, &a); err != nil {
			t.Fatalf("%v in %s", err, e.Data)
		}
		all = append(all, a)
	}
	return all
}

func ruleRecord(id, mode, when string) step.Change {
	return step.Change{Key: id, Value: fmt.Appendf(nil,
		"id: %s\nversion: 7\ndescription: A rule.\nseverity: critical\nweight: 0.5\nmode: %s\nwhen: %q\n", id, mode, when)}
}

// TestLargeTransactions: every transaction over 100000 in its own currency is an
// anomaly exactly once and says so; no other one is for that reason.
func TestLargeTransactions(t *testing.T) {
	f := newFixture(t)
	want := map[string]string{}
	for i, test := range []struct {
		amount   int64
		currency string
		reason   string
	}{
		{10_000_000, "USD", ""},
		{10_000_001, "USD", "amount 100000.01 USD is over 100000 (large-transaction)"},
		{12_345_678, "EUR", "amount 123456.78 EUR is over 100000 (large-transaction)"},
		{100_001, "JPY", "amount 100001 JPY is over 100000 (large-transaction)"},
		{100_000, "JPY", ""},
		{100_000_001, "KWD", "amount 100000.001 KWD is over 100000 (large-transaction)"},
		{events.MaxAmount, "USD", "amount 10000000000000.00 USD is over 100000 (large-transaction)"},
		{events.MaxAmount, "JPY", "amount 1000000000000000 JPY is over 100000 (large-transaction)"},
		{5_000_000, "GBP", ""},
	} {
		next := bought(day0, 100)
		next.TransactionID = fmt.Sprintf("id-%d", i)
		next.UserID = next.TransactionID
		next.Amount, next.Currency = test.amount, test.currency
		if i%2 == 0 {
			next.Type = "refund"
		}
		if test.reason != "" {
			want[next.TransactionID] = test.reason
		}
		f.step(t, next)
	}
	got := map[string]string{}
	for _, a := range f.anomalies(t) {
		if _, twice := got[a.TransactionID]; twice {
			t.Errorf("two anomalies for %s", a.TransactionID)
		}
		for _, reason := range a.Reasons {
			if reason.Rule == "large-transaction" {
				got[a.TransactionID] = reason.Text
			}
		}
		if !a.Flagged || a.Severity != "high" {
			t.Errorf("%s: flagged %v, severity %q", a.TransactionID, a.Flagged, a.Severity)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(f.scored(t)); n != 9 {
		t.Errorf("%d scored transactions, want 9", n)
	}
}

// TestBuiltInRules drives each built-in rule over its threshold and looks at
// what is said.
func TestBuiltInRules(t *testing.T) {
	burst := func(n int, gap int64) []events.Enriched {
		var list []events.Enriched
		for i := range n {
			list = append(list, bought(day0+int64(i)*gap, 1000))
		}
		return list
	}
	days := func(n int, cents int64) []events.Enriched {
		var list []events.Enriched
		for i := range n {
			list = append(list, bought(day0+int64(i)*day, cents))
		}
		return list
	}
	risky := bought(day0, 1000)
	risky.MerchantRisk = 0.25
	for _, test := range []struct {
		name         string
		transactions []events.Enriched
		reasons      []string // of all anomalies, in order
	}{
		{"nothing unusual", days(60, 5000), nil},
		{"four in a minute", burst(4, second), nil},
		{"five in a minute", burst(5, second), []string{"5 transactions within a minute, usually 0 in ten minutes (velocity-1m)"}},
		{"nine in ten minutes", burst(9, minute), nil},
		{"ten in ten minutes", burst(10, minute), []string{"10 transactions within ten minutes, usually 0 (velocity-10m)"}},
		{"as usual", append(burst(600, 2*minute), bought(day0+600*2*minute+1, 1000), bought(day0+600*2*minute+2, 1000)), nil},
		{"amount spike", append(days(10, 5000), bought(day0+10*day, 30_000)), []string{
			"amount 300.00 USD is 4.12 times the customer's 30-day mean 72.73 (amount-spike)",
		}},
		{"no spike of a new customer", append(days(3, 5000), bought(day0+3*day, 90_000)), nil},
		{"a refund is no spike", append(days(10, 5000), refund(bought(day0+10*day, 30_000))), nil},
		{"country", []events.Enriched{bought(day0, 1000), in("FR", bought(day0+hour-1, 1000))}, []string{
			"purchase in FR within an hour of one in DE (new-country)",
		}},
		{"merchant", []events.Enriched{risky}, []string{"share of frauds at merchant m1 is 0.25 (risky-merchant)"}},
		{"card test is in shadow", []events.Enriched{bought(day0, 100), bought(day0+minute, 50_000)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.step(t, test.transactions...)
			var got []string
			for _, a := range f.anomalies(t) {
				for _, r := range a.Reasons {
					got = append(got, r.Text)
				}
			}
			if diff := cmp.Diff(test.reasons, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestShadowAndOffNeverFlag(t *testing.T) {
	f := newFixture(t)
	f.table(t, ruleRecord("shadow", "shadow", "amount > 1"), ruleRecord("off", "off", "amount > 1"),
		ruleRecord("large-transaction", "off", "amount > 100000"))
	f.observer.take()
	f.step(t, bought(day0, 99_999_999))
	if a := f.anomalies(t); a != nil {
		t.Errorf("anomalies %+v", a)
	}
	s := f.scored(t)[0]
	if s.Flagged || s.Rules != nil || s.Severity != "" || s.Score > 0.01 {
		t.Errorf("scored %+v", s)
	}
	want := []string{"fired shadow critical shadow=true", `scored 0.00 false ""`}
	if diff := cmp.Diff(want, f.observer.take()); diff != "" {
		t.Error(diff)
	}
}

func TestFailingRuleDoesNotStopTheTransaction(t *testing.T) {
	f := newFixture(t)
	f.table(t, ruleRecord("divides", "active", "transactionTime / (transactionTime - transactionTime) > 1"))
	f.observer.take()
	f.step(t, bought(day0, 20_000_000))
	if a := f.anomalies(t); len(a) != 1 || len(a[0].Reasons) != 1 || a[0].Reasons[0].Rule != "large-transaction" {
		t.Errorf("anomalies %+v", a)
	}
	want := []string{
		"fired large-transaction high shadow=false",
		`failed divides: evaluate rule "divides": division by zero`,
		`scored 0.30 true "high"`,
	}
	if diff := cmp.Diff(want, f.observer.take()); diff != "" {
		t.Error(diff)
	}
}

func TestTableChangesTheRules(t *testing.T) {
	f := newFixture(t)
	before := f.set().Version()
	f.table(t, ruleRecord("large-transaction", "active", "amount > 50"), ruleRecord("broken", "active", "amout > 50"))
	want := []string{
		"changed to 7 rules",
		`refused rule "broken": line 7, column 8: when: undeclared reference to 'amout' (did you mean 'amount'?)`,
		"changed to 7 rules",
	}
	if diff := cmp.Diff(want, f.observer.take()); diff != "" {
		t.Error(diff)
	}
	f.step(t, bought(day0, 5001))
	a := f.anomalies(t)
	if len(a) != 1 || a[0].Severity != "critical" || a[0].RuleSet != f.set().Version() || a[0].RuleSet == before {
		t.Fatalf("anomalies %+v", a)
	}
	if diff := cmp.Diff([]events.FiredRule{{ID: "large-transaction", Version: 7}}, a[0].Rules); diff != "" {
		t.Error(diff)
	}
	// A bad successor: the last good one stays.
	f.table(t, ruleRecord("large-transaction", "active", "amount > 'x'"))
	f.step(t, bought(day0+hour, 5001))
	if a := f.anomalies(t); len(a) != 1 {
		t.Errorf("anomalies %+v", a)
	}
	f.table(t, step.Change{Key: "large-transaction"})
	if f.set().Version() != before {
		t.Errorf("version %s after deletion, want %s", f.set().Version(), before)
	}
	f.step(t, bought(day0+2*hour, 5001))
	if a := f.anomalies(t); a != nil {
		t.Errorf("anomalies %+v", a)
	}
}

// TestScoreAloneFlags: without a rule, a transaction is flagged by the model,
// with the largest contributions in words.
func TestScoreAloneFlags(t *testing.T) {
	f := newFixture(t)
	f.table(t, ruleRecord("amount-spike", "off", "true"))
	for i := range int64(10) {
		f.step(t, bought(day0+i*day, 5000))
	}
	odd := bought(day0+10*day, 60_000)
	odd.MerchantRisk = 0.24
	odd.DistanceKm = 7000
	odd.Night = true
	f.step(t, odd)
	a := f.anomalies(t)
	want := []events.Reason{{Rule: "score", Text: "score 0.906 is 0.9 or more: amount is 6.0 times the 30-day mean, amount is 100.0 deviations above earlier purchases, share of frauds at the merchant is 24.0%"}}
	if len(a) != 1 {
		t.Fatalf("anomalies %+v", a)
	}
	if diff := cmp.Diff(want, a[0].Reasons); diff != "" {
		t.Error(diff)
	}
}

// stream is a deterministic stream of odd and ordinary transactions of several
// customers.
func stream(n int) []events.Enriched {
	random := rand.New(rand.NewPCG(11, 12))
	countries := []string{"DE", "DE", "DE", "FR", ""}
	var list []events.Enriched
	now := day0
	for i := range n {
		now += random.Int64N(3 * minute)
		next := bought(now-random.Int64N(2*minute), 100+random.Int64N(15_000_000))
		next.TransactionID = fmt.Sprintf("t-%d", i)
		next.UserID = fmt.Sprintf("u%d", random.IntN(8))
		next.Country = countries[random.IntN(len(countries))]
		next.MerchantRisk = random.Float64() / 3
		next.Night = random.IntN(4) == 0
		if random.IntN(6) == 0 {
			next.Type = "refund"
		}
		list = append(list, next)
	}
	return list
}

// TestRestartChangesNothing: the events with restarts in between are, byte for
// byte, those without.
func TestRestartChangesNothing(t *testing.T) {
	run := func(restartEvery int) []steptest.Emitted {
		f := newFixture(t)
		var emitted []steptest.Emitted
		for i, next := range stream(300) {
			if restartEvery > 0 && i%restartEvery == restartEvery-1 {
				f.restart()
			}
			f.step(t, next)
			emitted = append(emitted, f.Emitted...)
			f.Emitted = nil
		}
		return emitted
	}
	want := run(0)
	for _, every := range []int{1, 7, 100} {
		got := run(every)
		if len(got) != len(want) {
			t.Fatalf("restart every %d: %d events, want %d", every, len(got), len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("restart every %d, event %d:\n%s %s\nwant\n%s %s",
					every, i, got[i].Topic, got[i].Event.Data, want[i].Topic, want[i].Event.Data)
			}
		}
	}
}

// TestDecisionCanBeDerivedAgain: the features and the rule set that a decision
// carries give the same score and the same rules.
func TestDecisionCanBeDerivedAgain(t *testing.T) {
	f := newFixture(t)
	f.step(t, stream(300)...)
	set := f.set()
	s := &subject{}
	input := set.NewInput(s)
	var outcome rules.Outcome
	flagged := 0
	for _, d := range f.scored(t) {
		s.transaction = d.Enriched
		for i, feature := range d.Features {
			if feature.Name != featureNames[i] {
				t.Fatalf("feature %d is %s, want %s", i, feature.Name, featureNames[i])
			}
			s.features[i] = feature.Value
		}
		s.modelScore = baseline(&s.features)
		input.Next()
		set.Evaluate(input, &outcome)
		var fired []events.FiredRule
		var weights []float64
		for _, r := range outcome.Active {
			fired = append(fired, events.FiredRule{ID: r.ID, Version: r.Version})
			weights = append(weights, r.Weight)
		}
		if diff := cmp.Diff(d.Rules, fired); diff != "" {
			t.Fatalf("%s: rules (-decision, +derived):\n%s", d.TransactionID, diff)
		}
		if got := combine(s.modelScore, weights...); got != d.Score || d.RuleSet != set.Version() || d.ModelVersion != baselineVersion {
			t.Fatalf("%s: score %v, derived %v", d.TransactionID, d.Score, got)
		}
		if d.Flagged {
			flagged++
		}
	}
	if n := len(f.anomalies(t)); n != flagged || n == 0 {
		t.Errorf("%d anomalies for %d flagged transactions", n, flagged)
	}
}

func TestStepRefusesWithoutAChange(t *testing.T) {
	f := newFixture(t)
	f.Time = time.UnixMilli(day0)
	f.MaxAhead = time.Minute
	f.step(t, bought(day0, 100))
	f.EndCommit()
	f.Emitted = nil
	future := bought(day0+hour, 100)
	good := events.NewEnriched(&future)
	for _, test := range []struct {
		name string
		data []byte
	}{
		{"future", good.Data},
		{"no JSON", []byte("x")},
		{"no data", nil},
		{"no customer", []byte(strings.Replace(string(good.Data), `"userId":"u1"`, `"userId":""`, 1))},
	} {
		e := good
		e.Data = test.data
		before := fmt.Sprint(f.Changelog)
		if err := f.function.Step(f, &e); err == nil {
			t.Errorf("%s: accepted", test.name)
		}
		f.EndCommit()
		if len(f.Emitted) != 0 || fmt.Sprint(f.Changelog) != before {
			t.Errorf("%s: something was changed", test.name)
		}
	}
	// The next one is not disturbed.
	f.step(t, bought(day0+1, 100))
	if s := f.scored(t); len(s) != 1 || !slices.Contains(s[0].Features, events.Feature{Name: "count1m", Value: 2}) {
		t.Errorf("scored %+v", s)
	}
}

func TestReasonNeverHoldsACardNumber(t *testing.T) {
	f := newFixture(t)
	next := bought(day0, 411_111_111_111_111) // 4111111111111.11
	f.step(t, next)
	for _, a := range f.anomalies(t) {
		for _, r := range a.Reasons {
			if events.HasCardNumber(r.Text) {
				t.Errorf("reason %q", r.Text)
			}
		}
	}
}

// TestDocumentationIsComplete: the package documentation names every variable
// and window that rules may use.
func TestDocumentationIsComplete(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Schema().Variables {
		if !regexp.MustCompile(`\b` + v.Name + `\b`).Match(text) {
			t.Errorf("doc.go does not name %s", v.Name)
		}
	}
	for _, w := range Schema().Windows {
		if !regexp.MustCompile(`\b` + w.Name + `\b`).Match(text) {
			t.Errorf("doc.go does not name the window %s", w.Name)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"flag score", func(c *Config) { c.FlagScore = 0 }, "flag score 0"},
		{"severities", func(c *Config) { c.High = 0.1 }, "ascending"},
		{"limits", func(c *Config) { c.Limits.RunCost = 0 }, "rule limits"},
		{"too many rules", func(c *Config) { c.Limits.Rules = 1000 }, "at most 254"},
	} {
		config := DefaultConfig()
		test.change(&config)
		if _, err := Definition(config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// TestReadmeHasEveryVariable: the README's table of what rules may use is the
// schema, with types and defaults.
func TestReadmeHasEveryVariable(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "| variable | type | when not known | meaning |\n|---|---|---|---|\n")
	table, _, ok2 := strings.Cut(rest, "\n\n")
	if !ok || !ok2 {
		t.Fatal("the README has no table of variables of rules")
	}
	var got, want []string
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		if len(cells) != 4 {
			t.Fatalf("row %q", row)
		}
		got = append(got, strings.Join(cells[:3], " | "))
	}
	for _, v := range Schema().Variables {
		unknown := ""
		switch x := v.Unknown.(type) {
		case string:
			unknown = fmt.Sprintf("`%q`", x)
		case float64:
			unknown = strconv.FormatFloat(x, 'f', -1, 64)
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s", v.Name, v.Kind, unknown))
	}
	want = append(want, "| `lists.allow`, `lists.deny`, `lists.watch` | list | empty")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-schema +README):\n%s", diff)
	}
}

// TestReadmeRule: the rule that the README shows is a good one.
func TestReadmeRule(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\nid: ")
	document, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("the README shows no rule")
	}
	compiler, err := rules.NewCompiler(Schema(), rules.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compiler.Compile([]byte("id: " + document)); err != nil {
		t.Error(err)
	}
}
