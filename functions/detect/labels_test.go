package detect

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/step"
)

// label hands the function a label of a transaction, a day after it, and returns
// what it told and why it refused it.
func (f *fixture) label(t *testing.T, of *events.Enriched, isFraud bool) (told []string, reason string) {
	t.Helper()
	f.observer.take()
	e := events.NewLabel(&events.Label{
		TransactionID: of.TransactionID, UserID: of.UserID, MerchantID: of.MerchantID,
		TransactionTime: of.Time, LabelTime: of.Time + day, Fraud: isFraud,
	})
	err := f.function.Step(f, &e)
	if late, ok := errors.AsType[*step.LateError](err); ok {
		return f.observer.take(), late.Reason
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.observer.take(), ""
}

// onlyRules switches all rules off but those given.
func (f *fixture) onlyRules(t *testing.T, records ...step.Change) {
	t.Helper()
	for _, r := range f.set().Rules() {
		records = append(records, ruleRecord(r.ID, "off", "amount > 1"))
	}
	f.table(t, records...)
}

// TestLabelsTellHowGoodRulesAre: each label counts once for each rule, whatever
// restarts are in between.
func TestLabelsTellHowGoodRulesAre(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t, ruleRecord("dear", "active", "amount > 100"), ruleRecord("far", "shadow", "distanceKm > 10"))
	both, dear, neither := bought(day0, 20_000), bought(day0+1, 20_000), bought(day0+2, 100)
	both.DistanceKm = 20
	other := bought(day0+3, 100)
	f.step(t, both, dear, neither, other)
	f.restart()
	f.Marks[events.TopicEnriched] = day0 + hour
	for _, c := range []struct {
		name  string
		of    *events.Enriched
		fraud bool
		want  []string
	}{
		{"both right", &both, true, []string{
			`labelled "" fired=true fraud=true`, `labelled "dear" fired=true fraud=true`, `labelled "far" fired=true fraud=true`}},
		{"one wrong", &dear, false, []string{
			`labelled "" fired=true fraud=false`, `labelled "dear" fired=true fraud=false`, `labelled "far" fired=false fraud=false`}},
		{"both missed it", &neither, true, []string{
			`labelled "" fired=false fraud=true`, `labelled "dear" fired=false fraud=true`, `labelled "far" fired=false fraud=true`}},
		{"nothing to say", &other, false, nil},
		{"again", &both, true, nil},
		{"missed again", &neither, true, nil},
	} {
		told, reason := f.label(t, c.of, c.fraud)
		if reason != "" {
			t.Errorf("%s: refused: %s", c.name, reason)
		}
		if diff := cmp.Diff(c.want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		f.restart()
	}
}

// TestLabelsRefused: each with a message that says what is wrong.
func TestLabelsRefused(t *testing.T) {
	f := newFixture(t)
	fired, quiet := bought(day0, 20_000_000), bought(day0+hour, 100)
	f.step(t, fired, quiet)
	f.Marks[events.TopicEnriched] = day0 + 100*day
	if _, reason := f.label(t, &fired, false); reason != "" {
		t.Fatal(reason)
	}
	if _, reason := f.label(t, &quiet, true); reason != "" {
		t.Fatal(reason)
	}
	stranger, early, late := fired, fired, fired
	stranger.UserID = "nobody"
	early.Time, late.Time = day0-1, day0+hour+1
	for _, c := range []struct {
		name  string
		of    *events.Enriched
		fraud bool
		want  string
	}{
		{"contradiction", &fired, true, "contradicts an earlier one, which stays"},
		{"contradiction where nothing fired", &quiet, false, "contradicts an earlier one, which stays"},
		{"unknown customer", &stranger, true, "is not known: customer nobody never had one"},
		{"before the first transaction", &early, true, "those of customer u1 are from 2026-07-01T00:00:00.000Z to 2026-07-01T01:00:00.000Z"},
		{"after the last transaction", &late, true, "at 2026-07-01T01:00:00.001Z, which is not known"},
	} {
		before := fmt.Sprint(f.Changelog)
		told, reason := f.label(t, c.of, c.fraud)
		if !strings.Contains(reason, c.want) || !strings.Contains(reason, c.of.TransactionID) {
			t.Errorf("%s: reason %q, want %q", c.name, reason, c.want)
		}
		if f.EndCommit(); len(told) > 0 || c.name != "contradiction" && fmt.Sprint(f.Changelog) != before {
			t.Errorf("%s: told %v, or something was changed", c.name, told)
		}
	}
	f.Time, f.MaxAhead = time.UnixMilli(day0+hour), time.Minute
	future := events.NewLabel(&events.Label{TransactionID: "x", UserID: "u1", MerchantID: "m1", TransactionTime: day0, LabelTime: day0 + day})
	if err := f.function.Step(f, &future); !errors.Is(err, step.ErrFuture) {
		t.Errorf("a label of the future: error %v", err)
	}
	for _, bad := range []string{`{`, `{"transactionId":"t"}`, strings.Replace(string(future.Data), `"labelTime":`, `"labelTime":1`, 1)} {
		e := future
		e.Data = []byte(bad)
		if _, ok := errors.AsType[*events.InvalidError](f.function.Step(f, &e)); !ok {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestEarlyLabelsAreHeld: a label that comes before its transaction waits for
// it, over a restart, and then counts like any other; what is wrong with it goes
// to late_events then.
func TestEarlyLabelsAreHeld(t *testing.T) {
	f := newFixture(t)
	f.onlyRules(t, ruleRecord("dear", "active", "amount > 100"))
	first, second := bought(day0, 20_000), bought(day0+minute, 20_000)
	stranger := second
	stranger.UserID, stranger.TransactionID = "nobody", "x"
	f.Marks[events.TopicEnriched] = day0 // the first one may still come
	for _, of := range []*events.Enriched{&second, &first, &stranger, &second} {
		if told, reason := f.label(t, of, true); told != nil || reason != "" {
			t.Errorf("told %v, refused %q", told, reason)
		}
	}
	f.restart()
	if f.tick(t); len(f.observer.take()) > 0 || len(f.Take(events.TopicLate)) > 0 {
		t.Error("a label was judged while its transaction could still come")
	}
	f.step(t, first)
	f.observer.take()
	f.Marks[events.TopicEnriched] = day0 + 1
	f.tick(t)
	want := []string{`labelled "" fired=true fraud=true`, `labelled "dear" fired=true fraud=true`}
	if diff := cmp.Diff(want, f.observer.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.step(t, second)
	f.observer.take()
	f.restart()
	f.Marks[events.TopicEnriched] = day0 + minute + 1
	f.tick(t)
	if diff := cmp.Diff(want, f.observer.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	refused := f.Take(events.TopicLate)
	var late events.Late
	if len(refused) != 1 || events.ParseLate(refused[0].Data, &late) != nil || !strings.Contains(late.Reason, "customer nobody never had one") {
		t.Errorf("late events %+v", refused)
	}
	f.EndCommit()
	for key := range f.Changelog {
		if key[0] == kindHeldLabel {
			t.Errorf("still held: %q", key)
		}
	}
}

// TestVerdictSize: what is remembered of a customer is bounded, and a label of
// what is forgotten counts for nothing rather than wrongly.
func TestVerdictSize(t *testing.T) {
	f := newFixture(t)
	var all []events.Enriched
	for i := range 100 {
		next := bought(day0+int64(i)*minute, 20_000_000)
		next.TransactionID = fmt.Sprint("t", i)
		f.step(t, next)
		all = append(all, next)
	}
	f.EndCommit()
	largest := 0
	for key, value := range f.Changelog {
		if key[0] == kindVerdicts {
			largest = max(largest, len(value))
		}
	}
	if largest == 0 || largest > verdictBytes {
		t.Errorf("the verdicts of a customer take %d bytes, want at most %d", largest, verdictBytes)
	}
	f.Marks[events.TopicEnriched] = day0 + day
	if told, reason := f.label(t, &all[0], true); told != nil || reason != "" {
		t.Errorf("a label of what is forgotten: told %v, refused %q", told, reason)
	}
	if told, _ := f.label(t, &all[99], true); !slices.Contains(told, `labelled "large-transaction" fired=true fraud=true`) {
		t.Errorf("the latest label told %v", told)
	}
}

func TestVerdictCodecRefuses(t *testing.T) {
	v := verdicts{forgotten: -5}
	one := v.next()
	one.id, one.time, one.flagged, one.label, one.rules = 77, day0, true, fraud, append(one.rules, 1, 2)
	v.next().id = 78
	data := v.append(nil)
	codec := verdictCodec()
	value, err := codec.Parse(data)
	if err != nil || !bytes.Equal(codec.Append(nil, value), data) {
		t.Errorf("error %v, encoded again %x, want %x", err, codec.Append(nil, value), data)
	}
	held := holdLabel("/x", &events.Label{TransactionID: "t", UserID: "u", MerchantID: "m", TransactionTime: day0, LabelTime: day0 + 5, Scenario: "s"})
	var opened events.Label
	source, err := held.open(&opened)
	want := events.Label{TransactionID: "t", UserID: "u", MerchantID: "m", TransactionTime: day0, LabelTime: day0 + 5, Scenario: "s"}
	if diff := cmp.Diff(want, opened); diff != "" || err != nil || source != "/x" {
		t.Errorf("%v, %s: %s", err, source, diff)
	}
	for _, c := range []struct {
		codec step.Codec
		good  []byte
	}{{codec, data}, {heldLabelCodec(), heldLabelCodec().Append(nil, held)}} {
		newer := bytes.Clone(c.good)
		newer[0]++
		if _, err := c.codec.Parse(newer); !errors.Is(err, step.ErrNewerVersion) {
			t.Errorf("newer version: error %v", err)
		}
		for _, n := range []int{0, 1, len(c.good) - 1} {
			if _, err := c.codec.Parse(c.good[:n]); err == nil && n != 1 {
				t.Errorf("the first %d of %d bytes were accepted", n, len(c.good))
			}
		}
	}
}
