package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ruleWith is a rule of the id a with this condition and these windows.
func ruleWith(when string, windows ...string) string {
	return ruleWhen(when) + "windows:\n  - {" + strings.Join(windows, "}\n  - {") + "}\n"
}

func TestOwnWindows(t *testing.T) {
	c := newCompiler(t)
	rule, err := c.Compile([]byte(ruleWith("n > 3 && spent >= 2.5 * amount && has(n)",
		"name: count1m", "name: n, aggregate: count, duration: 90m", "name: spent, key: merchantId, aggregate: sum, of: amount, duration: 30d, filter: country == 'DE'")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range rule.Own {
		got = append(got, fmt.Sprintf("%s: %s, %v", w.Name, w.Window, w.Warming()))
	}
	want := []string{
		"n: count by userId over 1h30m, 1h37m30s",
		"spent: sum of amount by merchantId over 30d where country == 'DE', 780h0m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	same, err := c.Compile([]byte(ruleWith("other > 1", "name: other, key: userId, aggregate: count, duration: 1h30m")))
	if err != nil || same.Own[0].ID != rule.Own[0].ID {
		t.Errorf("%v: the same window under another name has another id", err)
	}
	for _, other := range []string{
		"aggregate: count, duration: 1h31m", "aggregate: distinct, of: country, duration: 1h30m", "key: merchantId, aggregate: count, duration: 1h30m",
		"aggregate: count, duration: 1h30m, filter: night",
	} {
		r, err := c.Compile([]byte(ruleWith("n > 1", "name: n, "+other)))
		if err != nil || r.Own[0].ID == rule.Own[0].ID {
			t.Errorf("%v: %s has the id of another window", err, other)
		}
	}
}

func TestOwnWindowsRefused(t *testing.T) {
	for _, test := range []struct{ name, window, want string }{
		{"no aggregate", "name: n, duration: 1h", `line 8, column 5: windows[0]: aggregate "": want one of count, sum, mean, min, max, distinct`},
		{"unknown aggregate", "name: n, aggregate: median, duration: 1h", `line 8, column 26: windows[0]: aggregate "median"`},
		{"no duration", "name: n, aggregate: count", `windows[0]: duration ""`},
		{"too short", "name: n, aggregate: count, duration: 1ms", "line 8, column 43: windows[0]: duration 1ms: want 1s to 90d"},
		{"too long", "name: n, aggregate: count, duration: 91d", "duration 91d: want 1s to 90d"},
		{"name of a variable", "name: amount, aggregate: count, duration: 1h", `line 8, column 12: windows[0]: name "amount": a variable has it`},
		{"bad name", "name: 1n, aggregate: count, duration: 1h", `name "1n": want 1 to 64 letters`},
		{"key", "name: n, key: country, aggregate: count, duration: 1h", `key "country": want userId or merchantId`},
		{"of a count", "name: n, aggregate: count, of: amount, duration: 1h", `of "amount": a count has none`},
		{"sum of a text", "name: n, aggregate: sum, of: country, duration: 1h", `of "country": want a variable of type double, it is of type string`},
		{"distinct of a number", "name: n, aggregate: distinct, of: amount, duration: 1h", `of "amount": want a variable of type string`},
		{"distinct of nothing", "name: n, aggregate: distinct, duration: 1h", "of is missing"},
		{"of nothing known", "name: n, aggregate: sum, of: amout, duration: 1h", `of "amout": there is no such variable`},
		{"default of is missing here", "name: n, aggregate: sum, duration: 1h", `of "baseAmount": there is no such variable`},
		{"filter", `name: n, aggregate: count, duration: 1h, filter: "night && amout > 1"`, "line 8, column 65: windows[0].filter: undeclared reference to 'amout'"},
		{"filter of a number", "name: n, aggregate: count, duration: 1h, filter: amount", "the condition is of type double, want bool"},
		{"filter over a window", "name: n, aggregate: count, duration: 1h, filter: n > 3", "undeclared reference to 'n'"},
		{"dear filter", `name: n, aggregate: count, duration: 1h, filter: "[1,2,3,4,5,6,7,8,9].all(x, [1,2,3,4,5,6,7,8,9].all(y, country.matches('(x+)+y')))"`, "the filter may cost"},
		{"unknown field", "name: n, agregate: count, duration: 1h", `line 8, column 15: unknown field "windows[0].agregate": a field is one of name, key, aggregate, of, duration, filter`},
		{"no mapping", "name: n, aggregate: count, duration: 1h}\n  - [x", "line 9, column 5: windows[1]: want {name: ..., ...}, not a list"},
		{"twice", "name: n, aggregate: count, duration: 1h}\n  - {name: n, aggregate: count, duration: 2h", `line 9, column 12: windows[1]: the name "n" is used twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(ruleWith("night", test.window), "- [x}", "- [x]", 1)
			rule, err := newCompiler(t).Compile([]byte(text))
			if err == nil {
				t.Fatalf("accepted: %+v", rule.Own)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n  %v\ndoes not say\n  %s", err, test.want)
			}
		})
	}
}

// A set gives each window one place, whoever asks for it, and rules see the
// values under their own names.
func TestSetWindows(t *testing.T) {
	c := newCompiler(t)
	base, err := NewSet(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(id, when, mode string, windows ...string) Change {
		return Change{id, []byte(strings.Replace(ruleWith(when, windows...), "id: a", "id: "+id, 1) + "mode: " + mode + "\n")}
	}
	const hourly, nightly = "aggregate: count, duration: 1h", "aggregate: count, duration: 1h, filter: night"
	set, refused := base.With([]Change{
		change("a", "n > 2", "active", "name: n, "+hourly),
		change("b", "dark > 2 && n > 2 && dark + n > 6.0", "shadow", "name: n, "+nightly, "name: dark, "+hourly),
		change("c", "x > 1", "off", "name: x, aggregate: count, duration: 5m"),
	})
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	var features []string
	for _, w := range set.Windows() {
		features = append(features, w.Feature+" of "+strings.Join(names(w.Rules), "+"))
	}
	if diff := cmp.Diff([]string{"a.n of a+b", "b.n of b"}, features); diff != "" {
		t.Error(diff)
	}
	v := &values{night: true}
	in := set.NewInput(v)
	var out Outcome
	for _, test := range []struct {
		night  bool
		values []float64
		want   string
	}{
		{true, []float64{3, 4}, "[a] [b] [true true]"},
		{false, []float64{3, 3}, "[a] [] [true false]"},
		{true, []float64{2, 9}, "[] [] [true true]"},
	} {
		v.night = test.night
		in.Next()
		set.Filter(in, &out)
		in.Windows(test.values)
		set.Evaluate(in, &out)
		if got := fmt.Sprint(names(out.Active), names(out.Shadow), out.Counted); got != test.want {
			t.Errorf("night %v, windows %v: %s, want %s (failed %v)", test.night, test.values, got, test.want, out.Failed)
		}
	}
	reason, err := c.Compile([]byte(ruleWith("n > 1", "name: n, "+hourly) + "reason: '{n} within an hour'\n"))
	if err != nil {
		t.Fatal(err)
	}
	in.Windows([]float64{5, 0})
	if got := string(reason.AppendReason(nil, in)); got != "5 within an hour" {
		t.Errorf("reason %q", got)
	}
}

// Windows beyond the limit are refused in the order of the records, whatever the
// order in which they were compacted, and come into force when there is room.
func TestSetRefusesTooManyWindows(t *testing.T) {
	limits := DefaultLimits()
	limits.Windows = 2
	c, err := NewCompiler(testSchema(), limits)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	asks := func(id string, minutes int) Change {
		return Change{id, []byte(strings.Replace(ruleWith("n > 1", fmt.Sprintf("name: n, aggregate: count, duration: %dm", minutes)), "id: a", "id: "+id, 1))}
	}
	set, refused := set.With([]Change{asks("a", 1), asks("b", 2), asks("c", 3), asks("d", 2)})
	if len(refused) != 1 || !strings.Contains(refused[0].Error(), `rule "c": it asks for 1 more windows, and with the 2 that rules ask for already that is over the limit of 2`) {
		t.Errorf("refused %v", refused)
	}
	if got := names(set.Rules()); !cmp.Equal(got, []string{"a", "b", "d"}) {
		t.Errorf("rules %v", got)
	}
	if _, refused := set.With([]Change{{ID: "never"}}); len(refused) != 0 {
		t.Errorf("refused again: %v", refused)
	}
	later, refused := set.With([]Change{{ID: "a"}})
	if got := names(later.Rules()); !cmp.Equal(got, []string{"b", "c", "d"}) || len(refused) != 0 {
		t.Errorf("with room, rules %v, refused %v", got, refused)
	}
	// What compaction leaves gives the same.
	fresh, err := NewSet(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, _ = fresh.With([]Change{asks("b", 2), asks("c", 3), asks("d", 2)}); fresh.Version() != later.Version() {
		t.Errorf("from the start the set is %s, want %s", fresh.Version(), later.Version())
	}
}

// TestHistory: versions beside the rules change nothing, until a rule is broken.
func TestHistory(t *testing.T) {
	base := newSet(t, ruleWhen("night"))
	one, two := []byte(ruleWhen("amount > 1")), []byte(strings.Replace(ruleWhen("amount > 2"), "version: 1", "version: 2", 1))
	broken := []byte(ruleWhen("amout > 3"))
	apply := []Change{{HistoryKey("a", 1), one}, {"a", one}, {HistoryKey("a", 2), two}, {"a", two}}
	live, refused := base.With(apply)
	if len(refused) > 0 || live.Rules()[0].Version != 2 || len(live.Rules()) != 1 {
		t.Fatalf("rules %v, refused %v", names(live.Rules()), refused)
	}
	live, refused = live.With([]Change{{"a", broken}})
	if len(refused) != 1 || live.Rules()[0].When != "amount > 2" {
		t.Errorf("in force is %s, refused %v", live.Rules()[0].When, refused)
	}
	// An instance that starts after compaction has never seen version 2 in force.
	restarted, refused := base.With([]Change{{HistoryKey("a", 1), one}, {HistoryKey("a", 2), two}, {"a", broken}})
	if len(refused) != 1 || restarted.Version() != live.Version() {
		t.Errorf("after a restart in force is %s, want %s; refused %v", restarted.Rules()[0].When, live.Rules()[0].When, refused)
	}
	gone, _ := restarted.With([]Change{{ID: "a"}})
	if gone.Version() != base.Version() {
		t.Error("a deleted rule comes back from its history")
	}
	for _, key := range []string{"a@", "a@x", "a@0", "@1", "a@01", "A@1"} {
		if _, refused := base.With([]Change{{key, one}}); len(refused) != 1 || !strings.Contains(refused[0].Error(), "id@version") {
			t.Errorf("key %q: refused %v", key, refused)
		}
	}
}

func TestListsInConditions(t *testing.T) {
	c := newCompiler(t)
	for when, want := range map[string]string{
		"country in lists.wach":           "undeclared reference to 'lists.wach'",
		"lists.watch.exists(x, x == 'a')": "cannot be range of a comprehension",
		"amount in lists.watch":           "no matching overload",
		"lists.watch == lists.deny":       "may cost",
		"has(cuontry)":                    "line 6, column 12: when: undeclared reference to 'cuontry'",
		"has(country, night)":             "undeclared reference to 'has'",
		"has('x')":                        "invalid argument to has() macro",
	} {
		if _, err := c.Compile([]byte(ruleWhen(fmt.Sprintf("%q", when)))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", when, err, want)
		}
	}
	rule, err := c.Compile([]byte(ruleWhen("country in lists.watch && !(country in lists.deny)")))
	if err != nil || rule.Metered {
		t.Errorf("error %v, metered %v: whatever is on a list, to look is cheap", err, rule != nil && rule.Metered)
	}
}

func TestSplit(t *testing.T) {
	for file, want := range map[string][]string{
		"# only a comment\n---\na: 1\n--- \n\n  # nothing\n---\r\nb: |\n  ---\n  text\n---\nc: 3": {`3 "a: 1\n"`, `8 "b: |\n  ---\n  text\n"`, `12 "c: 3"`},
		"# of the file\r\n \r\n# of a\r\na: 1\r\n\r\nb: 2\n---\n# of c\n\nc: 3":                   {`3 "# of a\r\na: 1\r\n\r\nb: 2\n"`, `8 "# of c\n\nc: 3"`},
		"# nothing\n---\n# of the file\n\n\na: 1":                                                 {`6 "a: 1"`},
		"# of a\na: 1":  {`1 "# of a\na: 1"`},
		"# nothing\n\n": nil,
	} {
		var got []string
		for _, d := range Split([]byte(file)) {
			got = append(got, fmt.Sprintf("%d %q", d.Line, d.Text))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", file, diff)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Minute: "10m", 24 * time.Hour: "1d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
