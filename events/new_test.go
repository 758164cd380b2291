package events

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestConstructors(t *testing.T) {
	transaction, enriched, scored, risk := testTransaction(), testEnriched(), testScored(), testRisk()
	anomaly := Anomaly{Scored: scored}
	const id = "3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34"
	label := Label{TransactionID: id, UserID: "user_48213", MerchantID: "m", TransactionTime: transaction.Time, LabelTime: transaction.Time + 604_800_000}
	record := Original{Topic: "financial_transactions", Partition: 3, Offset: 17, Timestamp: transaction.Time, Key: []byte("user_48213"), Value: []byte("{}")}
	first := NewTransaction(&transaction)
	at := time.UnixMilli(transaction.Time).UTC()
	for _, test := range []struct {
		got, want Event
	}{
		{NewTransaction(&transaction), Event{ID: id, Source: "/datasurge/generate", Type: TypeTransaction, Key: "user_48213", Time: at}},
		{NewEnriched(&enriched), Event{ID: id, Source: "/datasurge/enrich", Type: TypeEnriched, Key: "user_48213", Time: at}},
		{NewScored(&scored), Event{ID: id, Source: "/datasurge/detect", Type: TypeScored, Key: "user_48213", Time: at}},
		{NewAnomaly(&anomaly), Event{ID: id + "/anomaly", Source: "/datasurge/detect", Type: TypeAnomaly, Key: "user_48213", Time: at}},
		{NewLabel(&label), Event{ID: id + "/label", Source: "/datasurge/generate", Type: TypeLabel, Key: "user_48213", Time: at.Add(7 * 24 * time.Hour)}},
		{NewRisk(&risk), Event{ID: "merchant_12/1767323045678", Source: "/datasurge/aggregate", Type: TypeRisk, Key: "merchant_12", Time: at}},
		{NewLate("aggregate", "future", &first), Event{ID: id + "/late", Source: "/datasurge/aggregate", Type: TypeLate, Key: "user_48213", Time: at}},
		{NewDeadLetter("enrich", "no JSON", record), Event{ID: "financial_transactions/3/17", Source: "/datasurge/enrich", Type: TypeDeadLetter, Subject: "financial_transactions/3/17", Key: "user_48213", Time: at}},
	} {
		if err := test.got.Validate(); err != nil {
			t.Error(err)
		}
		test.want.DataContentType = "application/json"
		if test.want.Subject == "" {
			test.want.Subject = test.want.Key
		}
		if diff := cmp.Diff(test.want, test.got, cmpopts.IgnoreFields(Event{}, "Data")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.want.Type, diff)
		}
	}
}

// A late event holds all that is needed to send it again.
func TestLateHoldsTheEvent(t *testing.T) {
	original := testEvent()
	e := NewLate("aggregate", "after the window was closed", &original)
	var late Late
	if err := ParseLate(e.Data, &late); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Late{"after the window was closed", "aggregate", original}, late); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	original.Data = []byte(strings.Repeat("\x00", MaxDataBytes))
	e = NewLate("aggregate", "future", &original)
	if err := ParseLate(e.Data, &late); err != nil {
		t.Errorf("with the most data: %v", err)
	}
	for data, want := range map[string]string{
		`{"reason":"r","function":"f"}`:                                         "$.event is missing",
		`{"reason":"r","function":"f","event":[]}`:                              "$.event must be an object, not an array",
		`{"reason":"r","function":"f","event":{}}`:                              "$.event is no event: invalid event: $.specversion must be 1.0",
		`{"reason":"r","function":"f","event":{"a":1,"a":2}}`:                   "$ is not valid JSON: an object has the same name twice at byte 43",
		`{"reason":"r","function":"f","event":` + strings.Repeat("[", 40) + "}": "$.event must be an object, not an array",
	} {
		if err := ParseLate([]byte(data), &late); err == nil || err.Error() != "invalid event: "+want {
			t.Errorf("%s: error is\n%v, want\n%s", data, err, want)
		}
	}
}

// A dead letter holds all that is needed to write the record again, byte for
// byte, and reads well where the record was text.
func TestDeadLetterHoldsTheRecord(t *testing.T) {
	record := Original{
		Topic: "financial_transactions", Partition: 3, Offset: 17, Timestamp: 1767323045678,
		Key: []byte{0, 0, 0, 42}, Value: []byte(`{"amount": "much"}`),
		Headers: []Header{{"content-type", []byte("application/json")}, {"null", nil}, {"empty", []byte{}}, {"bytes", []byte{0xff}}, {"bytes", []byte("twice")}},
	}
	e := NewDeadLetter("enrich", "invalid event: $.amount is no decimal number", record)
	const want = `{"reason":"invalid event: $.amount is no decimal number","function":"enrich",` +
		`"topic":"financial_transactions","partition":3,"offset":17,"timestamp":1767323045678,"keyBase64":"AAAAKg==",` +
		`"headers":[{"name":"content-type","value":"application/json"},{"name":"null"},{"name":"empty","value":""},` +
		`{"name":"bytes","valueBase64":"/w=="},{"name":"bytes","value":"twice"}],"value":"{\"amount\": \"much\"}"}`
	if diff := cmp.Diff(want, string(e.Data)); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if e.Key != "" {
		t.Errorf("key is %q: a key that is no text is no attribute", e.Key)
	}
	var letter DeadLetter
	if err := ParseDeadLetter(e.Data, &letter); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(record, letter.Original); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// Whatever the value is, the letter fits into a record.
func TestDeadLetterIsCut(t *testing.T) {
	for _, part := range []string{"\x00", "\xff", `"`, "a", "\u65e5"} {
		value := []byte(strings.Repeat(part, MaxDataBytes/len(part)))
		e := NewDeadLetter("enrich", "too long", Original{Topic: "t", Value: value})
		if len(e.Data) > MaxDataBytes-64<<10 {
			t.Errorf("letter of %q has %d bytes", part, len(e.Data))
		}
		var letter DeadLetter
		if err := ParseDeadLetter(e.Data, &letter); err != nil {
			t.Fatal(err)
		}
		if letter.Size != len(value) || string(letter.Value) != string(value[:MaxDeadLetterValue]) {
			t.Errorf("letter of %q has %d bytes of %d", part, len(letter.Value), letter.Size)
		}
	}
}

// An anomaly made of a scored event is the anomaly itself, and leaves the scored
// event as it was.
func TestAnomalyOf(t *testing.T) {
	for _, reasons := range [][]Reason{nil, {{"score", "is high"}}, {{"a", `"quoted"`}, {"b", "\u00e9"}}} {
		anomaly := Anomaly{Scored: testScored(), Reasons: reasons}
		scored := NewScored(&anomaly.Scored)
		got := new(Arena).AnomalyOf(&scored, reasons)
		if diff := cmp.Diff(string(AppendAnomaly(nil, &anomaly)), string(got.Data)); diff != "" {
			t.Errorf("data (-AppendAnomaly +AnomalyOf):\n%s", diff)
		}
		if diff := cmp.Diff(NewScored(&anomaly.Scored), scored); diff != "" {
			t.Errorf("scored event (-before +after):\n%s", diff)
		}
	}
}
