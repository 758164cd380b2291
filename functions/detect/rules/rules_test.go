package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// values is a Source over a fixed set of variables.
type values struct {
	amount  float64
	count   float64
	time    int64
	country string
	night   bool
	asked   int
}

const (
	varAmount = iota
	varCount
	varTime
	varCountry
	varNight
)

func testSchema() Schema {
	return Schema{
		Variables: []Variable{
			varAmount:  {"amount", Number, nil},
			varCount:   {"count1m", Number, 0.0},
			varTime:    {"transactionTime", Integer, nil},
			varCountry: {"country", Text, ""},
			varNight:   {"night", Bool, nil},
		},
		Windows: []FixedWindow{
			{"count1m", "userId", "count", time.Minute},
			{"mean30d", "userId", "mean", 30 * 24 * time.Hour},
		},
	}
}

func (v *values) Number(i int) float64 {
	v.asked++
	if i == varAmount {
		return v.amount
	}
	return v.count
}
func (v *values) Integer(int) int64 { return v.time }
func (v *values) Text(int) string   { return v.country }
func (v *values) Bool(int) bool     { return v.night }

func (v *values) AppendText(dst []byte, i int) []byte {
	switch i {
	case varAmount:
		return strconv.AppendFloat(dst, v.amount, 'f', 2, 64)
	case varCountry:
		return append(dst, v.country...)
	}
	return fmt.Appendf(dst, "variable %d", i)
}

func newCompiler(t testing.TB) *Compiler {
	t.Helper()
	c, err := NewCompiler(testSchema(), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newSet(t testing.TB, documents string) *Set {
	t.Helper()
	s, err := NewSet(newCompiler(t), []byte(documents))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ruleWhen is a rule of the id a with this condition.
func ruleWhen(when string) string {
	return "id: a\nversion: 1\ndescription: A rule.\nseverity: low\nweight: 0.5\nwhen: " + when + "\n"
}

func TestCompileReadsEveryField(t *testing.T) {
	yamlText := `
id: velocity-1m
version: 3
description: Many payments within a minute.
reason: "{count1m} transactions"
severity: high
weight: 0.5
when: count1m >= 5
windows:
  - {name: count1m, key: userId, aggregate: count, duration: 60s}
  - {name: mean30d, duration: 30d}
mode: shadow
`
	jsonText := `{"id":"velocity-1m","version":3,"description":"Many payments within a minute.","reason":"{count1m} transactions",
		"severity":"high","weight":0.5,"when":"count1m >= 5","mode":"shadow",
		"windows":[{"name":"count1m","key":"userId","aggregate":"count","duration":"60s"},{"name":"mean30d","duration":"30d"}]}`
	want := Rule{
		ID: "velocity-1m", Version: 3, Description: "Many payments within a minute.", Reason: "{count1m} transactions",
		Severity: High, Weight: 0.5, When: "count1m >= 5", Mode: Shadow,
		Windows: []WindowClause{
			{Name: "count1m", Key: "userId", Aggregate: "count", Duration: "60s"},
			{Name: "mean30d", Duration: "30d"},
		},
	}
	for name, text := range map[string]string{"yaml": yamlText, "json": jsonText} {
		t.Run(name, func(t *testing.T) {
			got, err := newCompiler(t).Compile([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Rule); diff != "" {
				t.Error(diff)
			}
			if got.Metered {
				t.Error("a comparison is metered")
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	big := "[" + strings.TrimSuffix(strings.Repeat("1,", 60), ",") + "]"
	for _, test := range []struct{ name, document, want string }{
		{"unknown variable", ruleWhen("amout > 3"), "line 6, column 7: when: undeclared reference to 'amout'"},
		{"position within a line", ruleWhen("amount > 3 && counter > 1"), "line 6, column 21: when: undeclared reference to 'counter'"},
		{"position in quotes", ruleWhen(`"amount > 3 && counter > 1"`), "line 6, column 22: when: undeclared reference to 'counter'"},
		{"position in a block", ruleWhen("|\n  amount > 3 &&\n    counter > 1"), "line 8, column 5: when: undeclared reference to 'counter'"},
		{"position in a folded text", ruleWhen(">\n  amount > 3 &&\n  counter > 1"), "line 8, column 3: when: undeclared reference to 'counter'"},
		{"position in a plain text of lines", ruleWhen("amount > 3 &&\n  night &&\n\n    counter > 1"), "line 9, column 5: when: undeclared reference to 'counter'"},
		{"position in quoted lines", ruleWhen("'amount > 3 &&\n  counter > 1'"), "line 7, column 3: when: undeclared reference to 'counter'"},
		{"position behind letters of two bytes", ruleWhen("country == 'Österreich' && counter > 1"), "line 6, column 34: when: undeclared reference to 'counter'"},
		{"position behind an escape", ruleWhen(`"country == '\x41' && counter > 1"`), "line 6, column 7: when: undeclared reference to 'counter' (did you mean 'count1m' or 'country'?) (line 1, column 19 of the text)"},
		{"second document", ruleWhen("amount > 3") + "---\n" + ruleWhen("amount > 3"), "want one document, have 2"},
		{"no document", "", "want one document, have 0"},
		{"syntax", ruleWhen("amount >"), "line 6, column 15: when: Syntax error"},
		{"number, not bool", ruleWhen("amount"), "line 6, column 7: when: the condition is of type double, want bool"},
		{"dyn, not bool", ruleWhen("dyn(night)"), "the condition is of type dyn, want bool"},
		{"text with number", ruleWhen("country > 3"), "no matching overload"},
		{"int times double", ruleWhen("3 * amount > 4.0"), "write whole numbers as 3.0"},
		{"bad regular expression", ruleWhen("country.matches('(')"), "when: invalid matches argument"},
		{"cost", ruleWhen(fmt.Sprintf("|\n  %s.all(x, %s.all(y, x + y > 1))", big, big)), "the limit is 10000"},
		{"nested too deep", ruleWhen(strings.Repeat("(", 200) + "night" + strings.Repeat(")", 200)), "recursion"},
		{"bad id", strings.Replace(ruleWhen("night"), "id: a", "id: A b", 1), `id "A b": want 1 to 64 lower case letters`},
		{"no id", strings.Replace(ruleWhen("night"), "id: a", "id: ''", 1), `id "": want 1 to 64`},
		{"version", strings.Replace(ruleWhen("night"), "version: 1", "version: 0", 1), "version 0: want 1 or more"},
		{"version is text", strings.Replace(ruleWhen("night"), "version: 1", "version: one", 1), `line 2, column 10: version: want a number, not "one"`},
		{"card number", strings.Replace(ruleWhen("night"), "A rule.", "As 4111 1111 1111 1111.", 1), "looks like a card number"},
		{"severity", strings.Replace(ruleWhen("night"), "severity: low", "severity: bad", 1), `severity "bad": want low, medium, high or critical`},
		{"weight", strings.Replace(ruleWhen("night"), "weight: 0.5", "weight: 1.5", 1), "weight 1.5: want 0 to 1"},
		{"weight not a number", strings.Replace(ruleWhen("night"), "weight: 0.5", "weight: .nan", 1), "weight NaN: want 0 to 1"},
		{"no weight", strings.Replace(ruleWhen("night"), "weight: 0.5\n", "", 1), "weight: missing"},
		{"no description", strings.Replace(ruleWhen("night"), "A rule.", "", 1), "line 3, column 13: description: want a text, not nothing"},
		{"no condition", strings.Replace(ruleWhen("night"), "when: night", "", 1), "when: missing"},
		{"empty condition", ruleWhen(""), "when: "},
		{"condition is a list", ruleWhen("[night]"), "when: want a text"},
		{"mode", ruleWhen("night") + "mode: on\n", `mode "on": want active, shadow or off`},
		{"unknown field", ruleWhen("night") + "unless: night\n", `line 7, column 1: unknown field "unless"`},
		{"field twice", ruleWhen("night") + "version: 2\n", `line 7, column 1: the field "version" is there twice`},
		{"reason with an unknown name", ruleWhen("night") + "reason: is {amout}\n", "reason: unknown variable {amout}"},
		{"reason left open", ruleWhen("night") + "reason: is {amount\n", "reason: a { has no }"},
		{"unknown window", ruleWhen("night") + "windows: [{name: count2m}]\n", `line 7, column 11: windows[0]: there is no fixed window "count2m" (there are count1m, mean30d)`},
		{"window of another key", ruleWhen("night") + "windows: [{name: count1m, key: merchantId}]\n", `key "merchantId": the window count1m is kept by userId`},
		{"window of another aggregate", ruleWhen("night") + "windows: [{name: count1m, aggregate: sum}]\n", `aggregate "sum": the window count1m is a count`},
		{"window of another length", ruleWhen("night") + "windows: [{name: count1m, duration: 2m}]\n", "the window count1m is 1m long"},
		{"window with a filter", ruleWhen("night") + "windows: [{name: count1m, filter: night}]\n", "the window count1m has no filter"},
		{"no duration", ruleWhen("night") + "windows: [{name: count1m, duration: long}]\n", `duration "long": want a number and s, m, h or d`},
		{"one megabyte", ruleWhen("night") + "# " + strings.Repeat("x", 1<<20), "the limit is 16384"},
		{"not yaml", "\x00\xff", "rule: yaml"},
		{"a text", "night", `line 1, column 1: want a mapping`},
		{"json with an unknown field", `{"id":"a","unless":1}`, "unless"},
		{"json with a field twice", `{"id":"a","id":"a"}`, "duplicate"},
		{"structured mode", `{"specversion":"1.0","id":"1","source":"/x","type":"com.datasurge.rule.v1","data":{"id":"a"}}`, "send it in binary mode"},
		{"json cut off", `{"id":"a"`, "unexpected EOF"},
		{"json position", `{"id":"a","version":1,"description":"A.","severity":"low","weight":0,"when":"amout > 3"}`, "line 1, column 1: when: undeclared reference"},
	} {
		t.Run(test.name, func(t *testing.T) {
			rule, err := newCompiler(t).Compile([]byte(test.document))
			if err == nil {
				t.Fatalf("accepted: %+v", rule.Rule)
			}
			if _, ok := errors.AsType[*InvalidError](err); !ok {
				t.Errorf("the error is a %T", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n  %v\ndoes not say\n  %s", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
				t.Errorf("the error is not one line of bounded length: %q", err)
			}
		})
	}
}

func TestCompileNamesAllProblems(t *testing.T) {
	_, err := newCompiler(t).Compile([]byte("id: a\nversion: -1\ndescription: A rule.\nseverity: x\nweight: 2\nwhen: amout > 1 || contry == 'DE'\n"))
	bad, ok := errors.AsType[*InvalidError](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	var got []string
	for _, p := range bad.Problems {
		first, _, _ := strings.Cut(p.Text, ":")
		got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, first))
	}
	want := []string{"2:10 version -1", `4:11 severity "x"`, "5:9 weight 2", "6:7 when", "6:20 when"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCompileAllKeepsGoodRules(t *testing.T) {
	good, refused := newCompiler(t).CompileAll([]byte(
		ruleWhen("night") + "---\n" + strings.Replace(ruleWhen("amout > 1"), "id: a", "id: b", 1) +
			"---\n" + strings.Replace(ruleWhen("amount > 1"), "id: a", "id: c", 1) + "---\n" + ruleWhen("night")))
	if len(good) != 2 || good[0].ID != "a" || good[1].ID != "c" {
		t.Errorf("good rules: %v", good)
	}
	if len(refused) != 2 || !strings.Contains(refused[0].Error(), `rule "b": line 13, column 7:`) || !strings.Contains(refused[1].Error(), "line 22: id: another rule of the file has it") {
		t.Errorf("refused: %v", refused)
	}
}

func TestEvaluate(t *testing.T) {
	rule := func(id, mode, when string) string {
		return fmt.Sprintf("---\nid: %s\nversion: 2\ndescription: D.\nseverity: low\nweight: 0.5\nmode: %s\nwhen: %q\n", id, mode, when)
	}
	set := newSet(t, rule("z", "active", "amount > 100000")+
		rule("a", "active", "amount > 100000 && country == 'DE'")+
		rule("shadow", "shadow", "night")+
		rule("silent", "off", "night")+
		rule("quiet", "active", "!night")+
		rule("zero", "active", "transactionTime / 0 > 1")+
		rule("types", "active", "dyn(amount) == 'x' || dyn(amount) < 'x'"))
	v := &values{amount: 100000.01, country: "DE", night: true}
	in := set.NewInput(v)
	var out Outcome
	for range 3 { // the same again and again
		in.Next()
		set.Evaluate(in, &out)
		if got, want := names(out.Active), []string{"a", "z"}; !cmp.Equal(got, want) {
			t.Errorf("active %v, want %v", got, want)
		}
		if got, want := names(out.Shadow), []string{"shadow"}; !cmp.Equal(got, want) {
			t.Errorf("shadow %v, want %v", got, want)
		}
		if len(out.Failed) != 2 || out.Failed[0].Rule.ID != "types" || out.Failed[1].Rule.ID != "zero" {
			t.Errorf("failed %v", out.Failed)
		}
	}
	if out.Failed[1].Err.Error() != `evaluate rule "zero": division by zero` {
		t.Errorf("error %q", out.Failed[1].Err)
	}
	v.amount, v.night = 100000, false
	in.Next()
	set.Evaluate(in, &out)
	if got, want := names(out.Active), []string{"quiet"}; !cmp.Equal(got, want) {
		t.Errorf("active %v, want %v", got, want)
	}
}

func names(rules []*Compiled) []string {
	var ids []string
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestDearRuleIsCutOff(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 30), ",") + "]"
	set := newSet(t, ruleWhen(fmt.Sprintf("%q", fmt.Sprintf("night && %s.all(x, %s.all(y, x + y > 1))", list, list))))
	rule := set.Rules()[0]
	if !rule.Metered || rule.Cost <= DefaultLimits().RunCost {
		t.Fatalf("metered %v, cost %d", rule.Metered, rule.Cost)
	}
	v := &values{night: true}
	in := set.NewInput(v)
	var out Outcome
	set.Evaluate(in, &out)
	if len(out.Failed) != 1 || !strings.Contains(out.Failed[0].Err.Error(), "cost limit exceeded") {
		t.Errorf("failed %v", out.Failed)
	}
	v.night = false // now it is cheap
	in.Next()
	set.Evaluate(in, &out)
	if len(out.Failed) != 0 || len(out.Active) != 0 {
		t.Errorf("outcome %+v", out)
	}
}

// TestCostEstimateHolds: rules without a meter rely on the estimate being an
// upper bound.
func TestCostEstimateHolds(t *testing.T) {
	c := newCompiler(t)
	longest := strings.Repeat("x", int(DefaultLimits().TextBytes))
	for _, when := range []string{
		"amount > 100000", "country == 'DE' || country.startsWith('x')", "country.matches('(x+)+y')",
		"country.contains('xxxxxxxxy') && country + country == country", "size(country) > 3 && night",
		"[1, 2, 3].exists(x, x == int(amount))", "country in ['a', 'b', 'c']",
		"country + country + country != '' && (country + country).matches('x*')",
	} {
		rule, err := c.Compile([]byte(ruleWhen(fmt.Sprintf("%q", when))))
		if err != nil {
			t.Fatal(err)
		}
		checked, issues := c.env.Compile(rule.When)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		metered, err := c.env.Program(checked, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost))
		if err != nil {
			t.Fatal(err)
		}
		_, details, err := metered.Eval(c.NewInput(&values{amount: 9, country: longest, night: true}))
		if err != nil {
			t.Fatal(err)
		}
		if actual := *details.ActualCost(); actual > rule.Cost {
			t.Errorf("%s: cost %d, estimated at most %d", when, actual, rule.Cost)
		}
	}
}

func TestInputAsksOnce(t *testing.T) {
	set := newSet(t, ruleWhen("amount > 1 && amount > 2")+"---\n"+strings.Replace(ruleWhen("amount > 3"), "id: a", "id: b", 1))
	v := &values{amount: 5}
	in := set.NewInput(v)
	var out Outcome
	for round := 1; round <= 3; round++ {
		in.Next()
		set.Evaluate(in, &out)
		if v.asked != round {
			t.Errorf("round %d: the source was asked %d times", round, v.asked)
		}
	}
	in.round = ^uint32(0)
	v.amount = 0
	in.Next()
	if set.Evaluate(in, &out); len(out.Active) != 0 {
		t.Error("a value survived the wrap of the round")
	}
}

// TestSetServesSeveralGoroutines is for the race detector.
func TestSetServesSeveralGoroutines(t *testing.T) {
	set := newSet(t, ruleWhen("amount > 1 && country in ['DE', 'FR']"))
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			v := &values{amount: float64(n), country: "DE"}
			in := set.NewInput(v)
			var out Outcome
			for range 200 {
				in.Next()
				set.Evaluate(in, &out)
				if fired := len(out.Active) == 1; fired != (n > 1) || len(out.Failed) != 0 {
					t.Errorf("amount %d: outcome %+v", n, out)
				}
			}
		})
	}
	group.Wait()
}

func TestReason(t *testing.T) {
	for _, test := range []struct{ reason, want string }{
		{"", "A rule"},
		{`"amount {amount} in {country} is too much"`, "amount 12.50 in DE is too much"},
		{`"{amount}"`, "12.50"},
		{`"plain } text"`, "plain } text"},
	} {
		text := ruleWhen("night")
		if test.reason != "" {
			text += "reason: " + test.reason + "\n"
		}
		c := newCompiler(t)
		rule, err := c.Compile([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(rule.AppendReason(nil, c.NewInput(&values{amount: 12.5, country: "DE"}))); got != test.want {
			t.Errorf("reason %q, want %q", got, test.want)
		}
	}
}

func TestSetVersionAndChanges(t *testing.T) {
	builtIn := ruleWhen("night")
	first := newSet(t, builtIn)
	if again := newSet(t, builtIn); again.Version() != first.Version() {
		t.Errorf("versions of equal sets differ: %s, %s", first.Version(), again.Version())
	}
	replaced := Change{"a", []byte(ruleWhen("amount > 5"))}
	added := Change{"b", []byte(strings.Replace(ruleWhen("night"), "id: a", "id: b", 1))}
	broken := Change{"a", []byte(ruleWhen("amout > 5"))}
	wrongKey := Change{"c", added.Document}
	huge := Change{"d", []byte(ruleWhen("night") + "#" + strings.Repeat("x", 1<<20))}

	second, refused := first.With([]Change{replaced, added, broken, wrongKey, huge})
	if len(refused) != 3 {
		t.Errorf("refused: %v", refused)
	}
	for i, want := range []string{`rule "a": line 6, column 7`, `the record's key is "c", but the document's id is "b"`, `rule "d": the document has`} {
		if !strings.Contains(refused[i].Error(), want) {
			t.Errorf("refused %v, want %s", refused[i], want)
		}
	}
	if got := names(second.Rules()); !cmp.Equal(got, []string{"a", "b"}) || second.Rules()[0].When != "amount > 5" {
		t.Errorf("rules %v", got)
	}
	if second.Version() == first.Version() {
		t.Error("the version did not change")
	}
	if first.Rules()[0].When != "night" || len(first.Rules()) != 1 {
		t.Error("the old set changed")
	}

	// One by one, in other company: the same set.
	other := first
	for _, change := range []Change{wrongKey, added, replaced, huge, broken} {
		other, _ = other.With([]Change{change})
	}
	if other.Version() != second.Version() {
		t.Errorf("versions differ: %s, %s", other.Version(), second.Version())
	}

	// Deleting brings the built-in rule back.
	third, refused := second.With([]Change{{ID: "a"}, {ID: "b"}, {ID: "never-there"}})
	if len(refused) != 0 || third.Version() != first.Version() {
		t.Errorf("after deletion: version %s, want %s; refused %v", third.Version(), first.Version(), refused)
	}
}

func TestSetRefusesTooManyRules(t *testing.T) {
	limits := DefaultLimits()
	limits.Rules = 2
	c, err := NewCompiler(testSchema(), limits)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(c, []byte(ruleWhen("night")))
	if err != nil {
		t.Fatal(err)
	}
	named := func(id string) Change {
		return Change{id, []byte(strings.Replace(ruleWhen("night"), "id: a", "id: "+id, 1))}
	}
	set, refused := set.With([]Change{named("b"), named("c"), named("a"), named("b")})
	if len(refused) != 1 || !strings.Contains(refused[0].Error(), "there are 2 rules already") {
		t.Errorf("refused %v", refused)
	}
	if len(set.Rules()) != 2 {
		t.Errorf("rules %v", names(set.Rules()))
	}
}

// FuzzCompile: whatever the bytes are, the answer is a rule whose canonical form
// compiles to itself, or one InvalidError.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(ruleWhen("amount > 100000")))
	f.Add([]byte(ruleWhen("|\n  night &&\n  country in ['DE']") + "reason: '{amount}'\nwindows: [{name: count1m, duration: 1m}]\n"))
	f.Add([]byte(`{"id":"a","version":1,"description":"A.","severity":"low","weight":0,"when":"night"}`))
	c, err := NewCompiler(testSchema(), DefaultLimits())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rule, err := c.Compile(data)
		if err != nil {
			if _, ok := errors.AsType[*InvalidError](err); !ok {
				t.Fatalf("the error is a %T: %v", err, err)
			}
			return
		}
		text := canonical(t, &rule.Rule)
		again, err := c.Compile(text)
		if err != nil {
			t.Fatalf("the canonical form %s is refused: %v", text, err)
		}
		if got := canonical(t, &again.Rule); string(got) != string(text) {
			t.Fatalf("the canonical form changed:\n%s\n%s", text, got)
		}
	})
}

func canonical(t *testing.T, r *Rule) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
