package detect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/step"
)

// lists applies records to the table of lists.
func (f *fixture) lists(t *testing.T, records ...step.Change) {
	t.Helper()
	view, err := applyLists(f.observer)(f.Tables[events.TopicLists], records)
	if err != nil {
		t.Fatal(err)
	}
	f.Tables[events.TopicLists] = view
}

func listed(list, value string, until int64) step.Change {
	e := events.ListEntry{List: list, Value: value, Until: until}
	return step.Change{Key: e.Key(), Value: events.AppendListEntry(nil, &e)}
}

func suppressed(rule, value string, until int64) step.Change {
	s := events.Suppression{Rule: rule, Value: value, Until: until}
	return step.Change{Key: s.Key(), Value: events.AppendSuppression(nil, &s)}
}

// weighted is a rule that fires on every transaction.
func weighted(id string, weight float64) step.Change {
	return step.Change{Key: id, Value: fmt.Appendf(nil,
		"id: %s\nversion: 3\ndescription: A rule.\nseverity: medium\nweight: %v\nwhen: amount > 0\n", id, weight)}
}

// TestDecision: what is decided by score, flag and lists.
func TestDecision(t *testing.T) {
	for _, test := range []struct {
		name    string
		weights []float64
		lists   []step.Change
		want    string // decision, severity, flagged
		reason  string // of the first anomaly
	}{
		{"nothing", nil, nil, "approve  false", ""},
		{"a light rule", []float64{0}, nil, "review medium true", "A rule"},
		{"below decline", []float64{0.9}, nil, "review high true", "A rule"},
		{"over decline", []float64{0.8, 0.8}, nil, "decline high true", "A rule"},
		{"denied customer", nil, []step.Change{listed("deny", "u1", 0)}, "decline critical true", "customer u1 is on the deny list"},
		{"denied merchant", nil, []step.Change{listed("deny", "m1", 0)}, "decline critical true", "merchant m1 is on the deny list"},
		{"allowed", []float64{0.99}, []step.Change{listed("allow", "u1", 0)}, "approve  false", ""},
		{"denied and allowed", nil, []step.Change{listed("allow", "u1", 0), listed("deny", "m1", 0)}, "decline critical true", "merchant m1"},
		{"denied until then", nil, []step.Change{listed("deny", "u1", day0)}, "approve  false", ""},
		{"denied until later", nil, []step.Change{listed("deny", "u1", day0+1)}, "decline critical true", "customer u1"},
		{"on watch alone", nil, []step.Change{listed("watch", "u1", 0)}, "approve  false", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			var records []step.Change
			for i, w := range test.weights {
				records = append(records, weighted(fmt.Sprint("r", i), w))
			}
			f.onlyRules(t, records...)
			f.lists(t, test.lists...)
			f.step(t, bought(day0, 100))
			s := f.scored(t)[0]
			if got := fmt.Sprintf("%s %s %v", s.Decision, s.Severity, s.Flagged); got != test.want {
				t.Errorf("%s with score %v, want %s", got, s.Score, test.want)
			}
			if len(s.Rules) != len(test.weights) {
				t.Errorf("rules %v: an allowed transaction names them too", s.Rules)
			}
			a := f.anomalies(t)
			if (len(a) == 1) != s.Flagged || len(a) == 1 && !strings.HasPrefix(a[0].Reasons[0].Text, test.reason) {
				t.Errorf("anomalies %+v, want the reason %q", a, test.reason)
			}
			if (s.ListSet == "") != (len(test.lists) == 0) {
				t.Errorf("version of the lists %q", s.ListSet)
			}
		})
	}
}

// TestListsInRules: a rule sees who is on a list, hot and until the entry is over.
func TestListsInRules(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t, ruleRecord("watched", "active", "merchantId in lists.watch || userId in lists.watch"))
	fires := func(at int64) bool {
		f.step(t, bought(at, 100))
		return len(f.scored(t)[0].Rules) == 1
	}
	if fires(day0) {
		t.Error("fires with empty lists")
	}
	f.lists(t, listed("watch", "m1", day0+hour))
	if !fires(day0+hour-1) || fires(day0+hour) {
		t.Error("does not fire until the entry is over")
	}
	f.lists(t, step.Change{Key: "watch/m1"}, listed("watch", "u1", 0))
	if !fires(day0 + 2*hour) {
		t.Error("does not fire for the customer")
	}
	f.lists(t, step.Change{Key: "watch/u1"}, step.Change{Key: "watch/never"})
	if fires(day0 + 3*hour) {
		t.Error("fires after the entry was removed")
	}
	if v := f.Tables[events.TopicLists].(interface{ Version() string }).Version(); v != "" {
		t.Errorf("empty lists have the version %q", v)
	}
}

// TestSuppression: a suppressed rule neither flags nor weighs, is named, and
// flags again when the time has come.
func TestSuppression(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t, weighted("loud", 0.9), weighted("other", 0))
	f.lists(t, suppressed("loud", "u1", day0+hour), suppressed("other", "someone else", day0+hour))
	f.step(t, bought(day0, 100), bought(day0+hour, 100))
	before, after := f.scored(t)[0], events.Scored{}
	if diff := cmp.Diff([]events.FiredRule{{ID: "loud", Version: 3}}, before.Suppressed); diff != "" {
		t.Errorf("suppressed: %s", diff)
	}
	if len(before.Rules) != 1 || before.Rules[0].ID != "other" || before.Score > 0.1 {
		t.Errorf("rules %v, score %v", before.Rules, before.Score)
	}
	a := f.anomalies(t)
	after = a[1].Scored
	if len(after.Rules) != 2 || after.Suppressed != nil || after.Score < 0.9 {
		t.Errorf("afterwards rules %v, score %v", after.Rules, after.Score)
	}
	if len(a[0].Reasons) != 1 || a[0].Reasons[0].Rule != "other" {
		t.Errorf("reasons %v", a[0].Reasons)
	}
}

// TestListRecordsRefused: a bad record is told, and what stood there stays.
func TestListRecordsRefused(t *testing.T) {
	f := newFixture(t)
	f.lists(t, listed("deny", "u1", 0), suppressed("large-transaction", "u1", day0+hour))
	version := f.Tables[events.TopicLists]
	f.observer.take()
	for _, c := range []struct{ key, value, want string }{
		{"deny/u1", "{", "not valid JSON"},
		{"deny/u1", `{"list":"deny","value":"u2"}`, `that of what it says is "deny/u2"`},
		{"deny/u1", `{"list":"block","value":"u1"}`, `"block" is none of allow, deny, watch`},
		{"deny/u1", `{"list":"deny","value":"u1","until":5}`, "$.until"},
		{"block/u1", `{"list":"block","value":"u1"}`, "want a key of the form"},
		{"deny/", `{}`, "want a key of the form"},
		{"suppress/large-transaction", `{}`, "want a key of the form suppress/RULE/VALUE"},
		{"suppress/large-transaction/u1", `{"rule":"large-transaction","value":"u1"}`, "$.until is missing"},
		{"suppress/large-transaction/u1", `{"rule":"other","value":"u1","until":1782864000000}`, "that of what it says"},
		{"deny/u1", `{"list":"deny","value":"` + strings.Repeat("x", 1<<20) + `"}`, "longer than"},
	} {
		f.lists(t, step.Change{Key: c.key, Value: []byte(c.value)})
		told := f.observer.take()
		if len(told) != 1 || !strings.Contains(told[0], c.want) || !strings.HasPrefix(told[0], "refused record ") {
			t.Errorf("%s %.50s: told %q, want %q", c.key, c.value, told, c.want)
		}
		if got, want := f.Tables[events.TopicLists].(interface{ Version() string }).Version(), version.(interface{ Version() string }).Version(); got != want {
			t.Errorf("%s changed the lists", c.key)
		}
	}
	f.step(t, bought(day0, 100))
	if s := f.scored(t)[0]; s.Decision != events.Decline {
		t.Errorf("the last good entry is not in force: %s", s.Decision)
	}
}

// A filter that fails counts the transaction for nothing, is told, and neither
// the transaction nor another rule suffers.
func TestFailingFilterAndRule(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t, ruleRecord("zero", "active", "transactionTime / (localHour - localHour) > 1"), ruleRecord("fine", "active", "amount > 0"),
		askingRule("asks", `name: n, aggregate: count, duration: 1h, filter: "1 / localHour > 0"`))
	f.observer.take()
	next := bought(day0, 100)
	next.LocalHour = 0
	f.step(t, next)
	s := f.scored(t)[0]
	var fired []string
	for _, r := range s.Rules {
		fired = append(fired, r.ID)
	}
	if diff := cmp.Diff([]string{"asks", "fine"}, fired); diff != "" || featureOf(t, &s, "asks.n") != 0 {
		t.Errorf("rules %v, the window holds %v", fired, featureOf(t, &s, "asks.n"))
	}
	told := strings.Join(f.observer.take(), "\n")
	for _, want := range []string{`failed zero: evaluate rule "zero": division by zero`, `failed asks: evaluate the filter of window asks.n: division by zero`} {
		if !strings.Contains(told, want) {
			t.Errorf("told\n%s\nwant %s", told, want)
		}
	}
}

// has, and what stands for "not known".
func TestHasAndDefaults(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t,
		ruleRecord("country", "active", "has(country)"), ruleRecord("no-country", "active", "!has(country) && country == ''"),
		ruleRecord("category", "active", "has(merchantCategory)"), ruleRecord("always", "active", "has(amount) && has(userId)"),
		ruleRecord("before", "active", "has(sinceLast) && has(lastAmount)"), ruleRecord("first", "active", "!has(sinceLast) && sinceLast == 2592000.0"),
		ruleRecord("z", "active", "has(amountZ)"))
	unknown := in("", bought(day0, 100))
	unknown.Category = "unknown"
	f.step(t, unknown, bought(day0+minute, 100))
	var got []string
	for _, a := range f.anomalies(t) {
		var ids []string
		for _, r := range a.Rules {
			ids = append(ids, r.ID)
		}
		got = append(got, strings.Join(ids, " "))
	}
	if diff := cmp.Diff([]string{"always first no-country", "always before category country"}, got); diff != "" {
		t.Error(diff)
	}
}
