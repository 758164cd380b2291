package rulebook

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/stream/kafkatest"
)

// withBook runs f on a Kafka with the topics of the pipeline, under fake time.
func withBook(t *testing.T, f func(t *testing.T, kafka kafkatest.Backend, b *Book)) {
	kafkatest.FakeTime(t, func(t *testing.T, kafka kafkatest.Backend) {
		admin := kadm.NewClient(kafka.Client(t))
		compact := map[string]*string{"cleanup.policy": new("compact")}
		for topic, partitions := range map[string]int32{
			events.TopicRules: 1, events.TopicLists: 1, events.TopicWindows: 1, events.TopicScored: 3, events.TopicLabels: 3,
		} {
			configs := compact
			if partitions > 1 {
				configs = nil
			}
			if _, err := admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
				t.Fatal(err)
			}
		}
		f(t, kafka, New(kafka.Opts(), time.Now))
	})
}

// document is a rule.
func document(id string, version int, when string, more ...string) string {
	return fmt.Sprintf("id: %s\nversion: %d\ndescription: A rule.\nseverity: low\nweight: 0.5\nwhen: %s\n%s", id, version, when, strings.Join(more, "\n"))
}

// apply applies documents and returns what was done, or why nothing was.
func apply(t *testing.T, b *Book, documents ...string) string {
	t.Helper()
	compiler, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	checked := Check(compiler, []byte(strings.Join(documents, "---\n")))
	if err := checked.Err("x.yaml"); err != nil {
		var text strings.Builder
		checked.PrintRefused(&text, "x.yaml")
		t.Fatal(text.String())
	}
	outcomes, err := b.Apply(t.Context(), &checked)
	if err != nil {
		return "refused: " + err.Error()
	}
	var text strings.Builder
	for _, o := range outcomes {
		o.Print(&text)
	}
	return strings.TrimSpace(text.String())
}

func versionsOf(t *testing.T, b *Book, id string) []string {
	t.Helper()
	have, err := b.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	versions, err := have.History(id)
	if err != nil {
		return []string{err.Error()}
	}
	var list []string
	for _, v := range versions {
		text := fmt.Sprint(v.Version)
		if v.InForce {
			text += " in force"
		}
		list = append(list, text)
	}
	return list
}

// TestPrintHistory: the first rule of a file is printed without the file's head.
func TestPrintHistory(t *testing.T) {
	withBook(t, func(t *testing.T, _ kafkatest.Backend, b *Book) {
		have, err := b.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		versions, err := have.History("large-transaction")
		if err != nil {
			t.Fatal(err)
		}
		var printed strings.Builder
		PrintHistory(&printed, versions)
		if want := "large-transaction version 1, built in, in force\n  id: large-transaction\n"; !strings.HasPrefix(printed.String(), want) {
			t.Errorf("it begins %.120q, want %q", printed.String(), want)
		}
	})
}

// TestApply: what becomes of rules that are new, changed, the same, of the past,
// or of the id of another.
func TestApply(t *testing.T) {
	withBook(t, func(t *testing.T, _ kafkatest.Backend, b *Book) {
		for _, c := range []struct {
			name      string
			documents []string
			want      string
			history   []string // of the rule spree
		}{
			{"new", []string{document("spree", 1, "count1m > 4")}, "spree version 1 (active) is new", []string{"1 in force"}},
			{"the same", []string{"# a comment\n" + document("spree", 1, "count1m > 4")}, "spree version 1 (active) is in force already", []string{"1 in force"}},
			{"another text", []string{document("spree", 1, "count1m > 5")},
				`refused: rule "spree": version 1 was applied 2000-01-01 00:00:00 and says something else: a changed rule needs a higher version, and another rule another id`,
				[]string{"1 in force"}},
			{"changed", []string{document("spree", 3, "count1m > 5")}, "spree version 3 (active) replaces version 1", []string{"1", "3 in force"}},
			{"below", []string{document("spree", 2, "count1m > 6")},
				`refused: rule "spree": version 2 is not above version 3, which is there already: a changed rule needs a higher version, and another rule another id`,
				[]string{"1", "3 in force"}},
			{"back", []string{document("spree", 1, "count1m > 4")}, "spree version 1 (active) is in force again, instead of version 3", []string{"1 in force", "3"}},
			{"with a window", []string{document("spree", 4, "n > 4", "windows: [{name: n, aggregate: count, duration: 1h}]")},
				"spree version 4 (active) replaces version 1\n  adds the window n: count by userId over 1h; exact 1h5m after the rule is applied", []string{"1", "3", "4 in force"}},
			{"a built-in one", []string{document("new-country", 1, "newCountry1h && amount > 10")},
				`refused: rule "new-country": version 1 is not above version 1, which is there already: a changed rule needs a higher version, and another rule another id`,
				[]string{"1", "3", "4 in force"}},
			{"in its place", []string{document("new-country", 2, "newCountry1h && amount > 10", "mode: off")}, "new-country version 2 (off) replaces the built-in version 1",
				[]string{"1", "3", "4 in force"}},
			{"all or none", []string{document("fine", 1, "night"), document("spree", 4, "night")}, `refused: rule "spree": version 4 was applied`,
				[]string{"1", "3", "4 in force"}},
		} {
			got := apply(t, b, c.documents...)
			if !strings.HasPrefix(got, c.want) || !strings.HasPrefix(c.want, "refused") && got != c.want {
				t.Errorf("%s:\n  %s\nwant\n  %s", c.name, got, c.want)
			}
			if diff := cmp.Diff(c.history, versionsOf(t, b, "spree")); diff != "" {
				t.Errorf("%s: history (-want +got):\n%s", c.name, diff)
			}
		}
		if got := versionsOf(t, b, "fine"); !strings.Contains(got[0], `there is no rule "fine"`) {
			t.Errorf("a rule of a refused file: %v", got)
		}
		if got := versionsOf(t, b, "amount-spike"); !cmp.Equal(got, []string{"1 in force"}) {
			t.Errorf("history of a built-in rule: %v", got)
		}
		if err := b.Remove(t.Context(), "spree"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1", "3", "4"}, versionsOf(t, b, "spree")); diff != "" {
			t.Errorf("after its removal: %s", diff)
		}
		for id, want := range map[string]string{"spree": "there is no rule", "amount-spike": "is built in: to switch it off"} {
			if err := b.Remove(t.Context(), id); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("remove %s: error %v, want %q", id, err, want)
			}
		}
		if err := b.Remove(t.Context(), "new-country"); err != nil {
			t.Fatal(err)
		}
		have, err := b.Rules(t.Context())
		if err != nil || !have.Set.BuiltIn("new-country") {
			t.Errorf("error %v; the built-in rule is not back", err)
		}
	})
}

// Of two who write at once one is told so, and what is written is whole.
func TestApplyAtOnce(t *testing.T) {
	withBook(t, func(t *testing.T, _ kafkatest.Backend, b *Book) {
		err := b.update(t.Context(), func(mine *tables) error {
			if got := apply(t, b, document("theirs", 1, "night")); !strings.Contains(got, "is new") {
				t.Errorf("the other one: %s", got)
			}
			e := events.Event{ID: "mine@1", Type: events.TypeRule, Data: []byte(document("mine", 1, "night"))}
			mine.put(events.TopicRules, "mine", &e)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "somebody else changed rules or lists at the same time, and nothing was written") {
			t.Errorf("error %v", err)
		}
		have, err := b.Rules(t.Context())
		if err != nil || have.inForce("mine") != nil || have.inForce("theirs") == nil {
			t.Errorf("error %v; want theirs alone in force", err)
		}
	})
}

// TestRulesPrint: what rules list says about warming windows and refused records.
func TestRulesPrint(t *testing.T) {
	withBook(t, func(t *testing.T, kafka kafkatest.Backend, b *Book) {
		apply(t, b, document("spree", 1, "n > 4", "windows: [{name: n, aggregate: count, duration: 1h}]"))
		have, err := b.Rules(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		window := have.Set.Windows()[0]
		print := func() string {
			t.Helper()
			windows, err := b.Windows(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if have, err = b.Rules(t.Context()); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			have.Print(&text, windows, time.Now())
			return text.String()
		}
		begun := func(task int, exactFrom time.Time) {
			start := events.WindowStart{Window: window.ID, Task: task}
			if !exactFrom.IsZero() {
				start.ExactFrom = exactFrom.UnixMilli()
			}
			e := events.NewWindowStart(&start)
			produce(t, kafka, events.TopicWindows, e)
		}
		for _, step := range []struct {
			task int
			from time.Time
			want string
		}{
			{-1, time.Time{}, "window spree.n: count by userId over 1h; warming: no task has begun to keep it"},
			{0, time.Time{}, "over 1h; exact\n"},
			{1, time.Now().Add(65 * time.Minute), "warming: exact from 2000-01-01T01:05:00Z on, in 1h"},
			{2, time.Now().Add(-time.Minute), "warming: exact from 2000-01-01T01:05:00Z on, in 1h"},
			{1, time.Now().Add(-time.Minute), "exact since 1999-12-31T23:59:"},
		} {
			if step.task >= 0 {
				begun(step.task, step.from)
			}
			if got := print(); !strings.Contains(got, step.want) {
				t.Errorf("want %q in\n%s", step.want, got)
			}
		}
		produce(t, kafka, events.TopicRules, events.Event{ID: "x", Source: "/x", Type: events.TypeRule, Key: "spree", Data: []byte(document("spree", 2, "amout > 4"))})
		if got := print(); !strings.Contains(got, `refused: rule "spree": line 6, column 7: when: undeclared reference to 'amout'`) || !strings.Contains(got, "n > 4") {
			t.Errorf("a broken record:\n%s", got)
		}
	})
}

func produce(t *testing.T, kafka kafkatest.Backend, topic string, e events.Event) {
	t.Helper()
	rec := &kgo.Record{}
	kafkarecord.Write(&e, rec)
	kafka.Produce(t, topic, rec)
}

func TestListsAndSuppressions(t *testing.T) {
	withBook(t, func(t *testing.T, _ kafkatest.Backend, b *Book) {
		ctx := t.Context()
		for _, c := range []struct {
			do   func() error
			want string // of the error
		}{
			{func() error { return b.AddToList(ctx, "watch", []string{"m1", "m2"}, "30d", "seen in a dump") }, ""},
			{func() error { return b.AddToList(ctx, "deny", []string{"u1"}, "", "") }, ""},
			{func() error { return b.AddToList(ctx, "block", []string{"u1"}, "", "") }, `there is no list "block": want allow, deny or watch`},
			{func() error { return b.AddToList(ctx, "deny", []string{"4111111111111111"}, "", "") }, "card number"},
			{func() error { return b.AddToList(ctx, "deny", []string{"u1"}, "yesterday", "") }, `--until "yesterday": want a time as`},
			{func() error { return b.AddToList(ctx, "deny", []string{"u1"}, "1999-01-01T00:00:00Z", "") }, "is not in the future"},
			{func() error { return b.RemoveFromList(ctx, "watch", []string{"m2", "m3"}) }, `"m3" is not on the list watch, and nothing was removed`},
			{func() error { return b.RemoveFromList(ctx, "watch", []string{"m2"}) }, ""},
			{func() error { _, err := b.Suppress(ctx, "large-transaction", "u7", "2h", "a house"); return err }, ""},
			{func() error { _, err := b.Suppress(ctx, "no-rule", "u7", "2h", ""); return err }, `there is no rule "no-rule"`},
			{func() error { _, err := b.Suppress(ctx, "large-transaction", "", "2h", ""); return err }, "for whom, and until when?"},
			{func() error { return b.Unsuppress(ctx, "large-transaction", "u8") }, `is not suppressed for "u8"`},
		} {
			if err := c.do(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		}
		print := func() string {
			lists, err := b.Lists(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			lists.Print(&text, "", time.Now())
			return text.String()
		}
		got := print()
		for _, want := range []string{"watch                       m1     2000-01-31T00:00:0", "seen in a dump", "deny                        u1     for good", "suppress large-transaction  u7     2000-01-01T02:00:0", "a house"} {
			if !strings.Contains(got, want) {
				t.Errorf("want %q in\n%s", want, got)
			}
		}
		if strings.Contains(got, "m2") {
			t.Errorf("m2 is still on the list:\n%s", got)
		}
		if err := b.Unsuppress(ctx, "large-transaction", "u7"); err != nil {
			t.Error(err)
		}
		if got := print(); strings.Contains(got, "u7") {
			t.Errorf("still suppressed:\n%s", got)
		}
	})
}

// TestLabel: the label says all that detect and aggregate need, once.
func TestLabel(t *testing.T) {
	withBook(t, func(t *testing.T, kafka kafkatest.Backend, b *Book) {
		now := time.Now()
		for i := range 20 {
			s := events.Scored{
				Enriched: events.Enriched{
					Transaction: events.Transaction{
						TransactionID: fmt.Sprint("t", i), UserID: fmt.Sprint("u", i), MerchantID: "m1", Amount: 12_345, Currency: "EUR",
						Time: now.Add(time.Duration(i) * time.Second).UnixMilli(), Type: "purchase", PaymentMethod: "paypal",
					},
					BaseAmount: 13_000, BaseCurrency: "USD",
				},
				Rules: []events.FiredRule{{ID: "large-transaction", Version: 1}}, RuleSet: "1", ModelVersion: "1", Features: []events.Feature{{Name: "x", Value: 1}},
			}
			produce(t, kafka, events.TopicScored, events.NewScored(&s))
		}
		time.Sleep(time.Hour)
		label := func(id string, fraud bool) (string, error) {
			l, err := b.Label(t.Context(), id, fraud, nil)
			if err != nil {
				return "", err
			}
			var text strings.Builder
			l.Print(&text)
			return text.String(), nil
		}
		got, err := label("t3", true)
		if err != nil {
			t.Fatal(err)
		}
		want := "t3 is labelled fraud: customer u3, merchant m1, 123.45 EUR at 2000-01-01T00:00:03Z\nrules that had fired: large-transaction version 1\n"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for _, c := range []struct {
			id    string
			fraud bool
			want  string
		}{
			{"t99", true, `there is no transaction "t99" among the 20 records of scored_transactions: it was never scored, or so long ago that it was deleted`},
			{"t3", true, `the transaction "t3" was labelled fraud already`},
			{"t3", false, `the transaction "t3" was labelled fraud at 2000-01-01T00:00:19Z, and a label is not taken back`},
		} {
			if _, err := label(c.id, c.fraud); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want %s", c.id, err, c.want)
			}
		}
		var e events.Event
		var l events.Label
		records := kafka.ReadCommitted(t, events.TopicLabels)
		if len(records) != 1 || kafkarecord.Read(records[0], &e, kafkarecord.Mapping{}) != nil || events.ParseLabel(e.Data, &l) != nil {
			t.Fatalf("labels %v", records)
		}
		if diff := cmp.Diff(events.Label{
			TransactionID: "t3", UserID: "u3", MerchantID: "m1", TransactionTime: now.Add(3 * time.Second).UnixMilli(),
			LabelTime: now.Add(19 * time.Second).UnixMilli(), Fraud: true,
		}, l); diff != "" || e.Source != Source || e.Key != "u3" || e.Type != events.TypeLabel {
			t.Errorf("label %s of %s: %s", e.Type, e.Source, diff)
		}
	})
}

// Every problem is printed as compilers print it.
func TestCheck(t *testing.T) {
	compiler, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	huge := document("huge", 1, "night") + "# " + strings.Repeat("x", 1<<20)
	checked := Check(compiler, []byte(strings.Join([]string{
		document("fine", 1, "n > 4", "windows: [{name: n, aggregate: sum, duration: 10m}]\n"), document("typo", 1, "amout > 3"),
		document("fine", 2, "night"), document("types", 1, "amount + 1"), document("zero", 1, "1 / 0 > 1"), huge,
	}, "---\n")))
	var text bytes.Buffer
	checked.PrintRefused(&text, "rules.yaml")
	checked.PrintGood(&text)
	for _, want := range []string{
		`rules.yaml:14:7: rule "typo": when: undeclared reference to 'amout' (did you mean 'amount'?)`,
		`rules.yaml:16: rule "fine": id: another rule of the file has it`,
		`rules.yaml:28:14: rule "types": when: found no matching overload for '_+_' applied to '(double, int)'`,
		"the limit is 16384",
		"fine version 1 (active): good; worst case costs 2\n  adds the window n: sum of baseAmount by userId over 10m; exact 10m50s after the rule is applied\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("want %q in\n%s", want, text.String())
		}
	}
	if err := checked.Err("rules.yaml"); err == nil || err.Error() != "rules.yaml: 4 of 6 rules refused" {
		t.Errorf("error %v", err)
	}
	empty := Check(compiler, []byte("# nothing\n"))
	if err := empty.Err("x"); err == nil {
		t.Error("an empty file is accepted")
	}
}

// A Kafka without the tables is none of DataSurge's.
func TestMissingTopic(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, kafka kafkatest.Backend) {
		_, err := New(kafka.Opts(), time.Now).Rules(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the topic detection_rules is not there: is this the Kafka of DataSurge?") {
			t.Errorf("error %v", err)
		}
	})
}
