package events

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testTransaction() Transaction {
	return Transaction{
		TransactionID: "3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34", UserID: "user_48213",
		Amount: 9973125, Currency: "USD", Time: 1767323045678, MerchantID: "merchant_12",
		Type: "purchase", Location: "location_17", PaymentMethod: "credit_card",
	}
}

func testEnriched() Enriched {
	return Enriched{
		Transaction: testTransaction(), Category: "groceries", Country: "DE",
		BaseAmount: 9142210, BaseCurrency: "EUR", LocalHour: 4, Night: true,
		DistanceKm: 1287.25, MerchantRisk: 0.0125,
	}
}

func testScored() Scored {
	return Scored{
		Enriched: testEnriched(), Score: 0.875, Flagged: true, Severity: "high",
		Rules:    []FiredRule{{ID: "large-transaction", Version: 1}, {ID: "velocity-minute", Version: 3, ExactFrom: 1767326645678}},
		Decision: Review, Shadow: []FiredRule{{ID: "shadow", Version: 2}}, Suppressed: []FiredRule{{ID: "quiet", Version: 1}},
		RuleSet: "7c1e", ListSet: "00ff", ModelVersion: "baseline-1",
		Features: []Feature{{"amount", 91422.1}, {"count1m", 3}, {"amountOverMean", 12.5}, {"tiny", 1e-9}},
	}
}

func testRisk() MerchantRisk {
	return MerchantRisk{MerchantID: "merchant_12", AsOf: 1767323045678, Windows: [3]RiskWindow{
		{Count: 10, Frauds: 1, Risk: 0.1}, {Count: 70, Frauds: 2, Risk: 0.02857142857142857}, {Count: 300},
	}}
}

// produced is what the original producer writes, with the fields named in
// changes replaced by JSON, or left out where that is "".
func produced(changes map[string]string) []byte {
	fields := []struct{ name, value string }{
		{"transactionId", `"3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34"`},
		{"userId", `"user_48213"`},
		{"amount", `99731.25`},
		{"transactionTime", `1767323045678`},
		{"merchantId", `"merchant_12"`},
		{"transactionType", `"purchase"`},
		{"location", `"location_17"`},
		{"paymentMethod", `"credit_card"`},
		{"international", `"False"`},
		{"currency", `"USD"`},
	}
	var b strings.Builder
	known := map[string]bool{}
	write := func(name, value string) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + name + `": ` + value)
	}
	for _, f := range fields {
		known[f.name] = true
		value, changed := changes[f.name]
		if !changed {
			value = f.value
		}
		if value != "" {
			write(f.name, value)
		}
	}
	for name, value := range changes {
		if !known[name] {
			write(name, value)
		}
	}
	return []byte("{" + b.String() + "}")
}

func TestParseTransactionAccepts(t *testing.T) {
	for _, test := range []struct {
		name    string
		changes map[string]string
		want    func(*Transaction)
	}{
		{"the original producer", nil, func(*Transaction) {}},
		{"boolean true", map[string]string{"international": `true`}, func(t *Transaction) { t.International = true }},
		{"boolean false", map[string]string{"international": `false`}, func(*Transaction) {}},
		{"True in quotes", map[string]string{"international": `"True"`}, func(t *Transaction) { t.International = true }},
		{"true in quotes", map[string]string{"international": `"true"`}, func(t *Transaction) { t.International = true }},
		{"amount in quotes", map[string]string{"amount": `"50000.5"`}, func(t *Transaction) { t.Amount = 5000050 }},
		{"zeros beyond the decimals", map[string]string{"amount": `12.340000`}, func(t *Transaction) { t.Amount = 1234 }},
		{"whole amount", map[string]string{"amount": `7`}, func(t *Transaction) { t.Amount = 700 }},
		{"smallest amount", map[string]string{"amount": `0.01`}, func(t *Transaction) { t.Amount = 1 }},
		{"largest amount", map[string]string{"amount": `10000000000000.00`}, func(t *Transaction) { t.Amount = MaxAmount }},
		{"an amount that is no float", map[string]string{"amount": `9007199254740.93`}, func(t *Transaction) { t.Amount = 900719925474093 }},
		{"yen", map[string]string{"amount": `1500.0`, "currency": `"JPY"`}, func(t *Transaction) { t.Amount, t.Currency = 1500, "JPY" }},
		{"dinar", map[string]string{"amount": `1.234`, "currency": `"KWD"`}, func(t *Transaction) { t.Amount, t.Currency = 1234, "KWD" }},
		{"refund by paypal", map[string]string{"transactionType": `"refund"`, "paymentMethod": `"paypal"`}, func(t *Transaction) { t.Type, t.PaymentMethod = "refund", "paypal" }},
		{"debit card", map[string]string{"paymentMethod": `"debit_card"`}, func(t *Transaction) { t.PaymentMethod = "debit_card" }},
		{"escapes", map[string]string{"userId": `"\u0075ser \u00e9\ud83d\ude00"`, "location": `"S\u00e3o\n\"Paulo\""`}, func(t *Transaction) {
			t.UserID, t.Location = "user é😀", "São\n\"Paulo\""
		}},
		{"escaped name", map[string]string{"userId": "", `user\u0049d`: `"u"`}, func(t *Transaction) { t.UserID = "u" }},
		{"empty location", map[string]string{"location": `""`}, func(t *Transaction) { t.Location = "" }},
		{"coordinates", map[string]string{"location": `"37.774929012345,-122.41941556789"`}, func(t *Transaction) { t.Location = "37.774929012345,-122.41941556789" }},
		{"decimal user", map[string]string{"userId": `"48213"`}, func(t *Transaction) { t.UserID = "48213" }},
		{"unknown fields", map[string]string{"device": `{"os":["x",{"y":null}],"n":1e99}`, "createdAt": `1767323045670`}, func(*Transaction) {}},
		{"longest id", map[string]string{"transactionId": `"` + strings.Repeat("x", MaxIDBytes) + `"`}, func(t *Transaction) { t.TransactionID = strings.Repeat("x", MaxIDBytes) }},
		{"year 2000", map[string]string{"transactionTime": `946684800000`}, func(t *Transaction) { t.Time = 946684800000 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := testTransaction()
			test.want(&want)
			var got Transaction
			if err := ParseTransaction(produced(test.changes), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("transaction (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseTransactionRefuses(t *testing.T) {
	change := func(name, value string) []byte { return produced(map[string]string{name: value}) }
	deep := strings.Repeat(`{"a":[`, MaxDepth) + strings.Repeat(`]}`, MaxDepth)
	for _, test := range []struct {
		name         string
		data         []byte
		path, reason string
	}{
		{"null", nil, "$", "is empty: a JSON object is expected"},
		{"space", []byte(" \n"), "$", "is empty: a JSON object is expected"},
		{"no JSON", []byte("hello"), "$", "is not valid JSON: expected a value at byte 0"},
		{"an array", []byte("[]"), "$", "is an array: a JSON object is expected"},
		{"cut", []byte(producerRecord[:60]), "$", "is not valid JSON: the text ends inside a string at byte 60"},
		{"two objects", []byte(producerRecord + "{}"), "$", "is not valid JSON: more text after the end of the value at byte 280"},
		{"invalid UTF-8", []byte(strings.Replace(producerRecord, "user", "\xffser", 1)), "$", "is not valid JSON: invalid UTF-8 at byte 57"},
		{"too long", make([]byte, MaxDataBytes+1), "$", "is longer than 1048576 bytes"},
		{"too deep", change("extra", deep), "$", "is not valid JSON: nested deeper than 32 levels at byte 404"},
		{"an unknown field twice", []byte(`{"x":1,"x":1}`), "$.x", `has the field "x" twice`},
		{"an inner field twice", []byte(`{"x":{"y":1,"y":1}}`), "$.x", `has the field "y" twice`},
		{"a field twice", []byte(`{"userId":"a","userId":"a"}`), "$.userId", "occurs twice"},
		{"a field twice, escaped", []byte(`{"userId":"a","user\u0049d":"a"}`), "$.userId", "occurs twice"},

		{"no id", change("transactionId", ""), "$.transactionId", "is missing"},
		{"no user", change("userId", ""), "$.userId", "is missing"},
		{"no amount", change("amount", ""), "$.amount", "is missing"},
		{"no time", change("transactionTime", ""), "$.transactionTime", "is missing"},
		{"no merchant", change("merchantId", ""), "$.merchantId", "is missing"},
		{"no type", change("transactionType", ""), "$.transactionType", "is missing"},
		{"no location", change("location", ""), "$.location", "is missing"},
		{"no method", change("paymentMethod", ""), "$.paymentMethod", "is missing"},
		{"no international", change("international", ""), "$.international", "is missing"},
		{"no currency", change("currency", ""), "$.currency", "is missing"},

		{"empty id", change("transactionId", `""`), "$.transactionId", "must not be empty"},
		{"null user", change("userId", `null`), "$.userId", "must be a string, not null"},
		{"user is a number", change("userId", `7`), "$.userId", "must be a string, not a number"},
		{"long merchant", change("merchantId", `"`+strings.Repeat("m", 129)+`"`), "$.merchantId", "is longer than 128 bytes"},
		{"newline in an id", change("userId", `"a\nb"`), "$.userId", "must not contain control characters"},
		{"C1 control in an id", change("userId", `"a\u0085b"`), "$.userId", "must not contain control characters"},
		{"lone surrogate", change("userId", `"\ud800"`), "$", "is not valid JSON: a string has an invalid escape or character at byte 69"},

		{"negative amount", change("amount", `-5`), "$.amount", "must be positive: a refund is a transactionType"},
		{"zero", change("amount", `0.00`), "$.amount", "must be positive, not zero"},
		{"half a cent", change("amount", `12.345`), "$.amount", "has more decimals than USD has: 2"},
		{"half a yen", produced(map[string]string{"amount": "1.5", "currency": `"JPY"`}), "$.amount", "has more decimals than JPY has: 0"},
		{"exponent", change("amount", `1e5`), "$.amount", "must be written without an exponent"},
		{"exponent after the point", change("amount", `1.5E5`), "$.amount", "must be written without an exponent"},
		{"too much", change("amount", `10000000000000.01`), "$.amount", "is larger than 10000000000000.00 USD"},
		{"far too much", change("amount", strings.Repeat("9", 200)), "$.amount", "is larger than 10000000000000.00 USD"},
		{"NaN", change("amount", `NaN`), "$", "is not valid JSON: expected a value at byte 92"},
		{"NaN in quotes", change("amount", `"NaN"`), "$.amount", "is no decimal number such as 12.34"},
		{"empty amount", change("amount", `""`), "$.amount", "is no decimal number such as 12.34"},
		{"comma", change("amount", `"1,50"`), "$.amount", "is no decimal number such as 12.34"},
		{"leading zero", change("amount", `"01"`), "$.amount", "is no decimal number such as 12.34"},
		{"only a fraction", change("amount", `".5"`), "$.amount", "is no decimal number such as 12.34"},
		{"only a point", change("amount", `"5."`), "$.amount", "is no decimal number such as 12.34"},
		{"amount is null", change("amount", `null`), "$.amount", "must be a number, not null"},
		{"amount is an object", change("amount", `{}`), "$.amount", "must be a number, not an object"},

		{"seconds", change("transactionTime", `1767323045`), "$.transactionTime", "must be milliseconds since 1970, in the years 2000 to 2100; this looks like seconds"},
		{"microseconds", change("transactionTime", `1767323045678901`), "$.transactionTime", "must be milliseconds since 1970, in the years 2000 to 2100; this looks like microseconds"},
		{"nanoseconds", change("transactionTime", `1767323045678901234`), "$.transactionTime", "must be milliseconds since 1970, in the years 2000 to 2100; this looks like nanoseconds"},
		{"time zero", change("transactionTime", `0`), "$.transactionTime", "must be milliseconds since 1970, in the years 2000 to 2100"},
		{"smallest time", change("transactionTime", `-9223372036854775808`), "$.transactionTime", "must be milliseconds since 1970, in the years 2000 to 2100"},
		{"time overflows", change("transactionTime", `9223372036854775808`), "$.transactionTime", "must be a whole number of at most 18 digits, without a fraction or an exponent"},
		{"time has a fraction", change("transactionTime", `1767323045678.5`), "$.transactionTime", "must be a whole number of at most 18 digits, without a fraction or an exponent"},
		{"time in quotes", change("transactionTime", `"1767323045"`), "$.transactionTime", "must be a number, not a string"},

		{"type", change("transactionType", `"Purchase"`), "$.transactionType", `"Purchase" is none of purchase, refund`},
		{"method", change("paymentMethod", `"cash"`), "$.paymentMethod", `"cash" is none of credit_card, debit_card, paypal`},
		{"international", change("international", `"yes"`), "$.international", "must be true or false"},
		{"international is a number", change("international", `1`), "$.international", "must be a boolean, not a number"},
		{"unknown currency", change("currency", `"usd"`), "$.currency", `"usd" is no ISO 4217 currency code in use, such as EUR`},
		{"withdrawn currency", change("currency", `"HRK"`), "$.currency", `"HRK" is no ISO 4217 currency code in use, such as EUR`},

		{"card number as user", change("userId", `"4111111111111111"`), "$.userId", cardNumberReason},
		{"card number in groups", change("location", `"card 4111 1111 1111 1111"`), "$.location", cardNumberReason},
		{"card number as type", change("transactionType", `"4111111111111111"`), "$.transactionType", cardNumberReason},
		{"card number as currency", change("currency", `"4111111111111111"`), "$.currency", cardNumberReason},
		{"card number as amount", change("amount", `"4111111111111111"`), "$.amount", cardNumberReason},
		{"card number as boolean", change("international", `"4111-1111-1111-1111"`), "$.international", cardNumberReason},
		{"card number in an unknown field", change("note", `"4111111111111111"`), "$.note", cardNumberReason},
		{"card number deep inside", change("note", `[{"x":["4111111111111111"]}]`), "$.note", cardNumberReason},
		{"card number in escapes", change("note", `"\u0034111111111111111"`), "$.note", cardNumberReason},
		{"card number as a name", change("4111111111111111", `1`), "$", "has a field whose name " + cardNumberReason},
		{"card number as an inner name", change("note", `{"4111111111111111":1}`), "$", "has a field whose name " + cardNumberReason},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got Transaction
			err := ParseTransaction(test.data, &got)
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok {
				t.Fatalf("error is %v, want an InvalidError", err)
			}
			want := &InvalidError{test.path, test.reason}
			if diff := cmp.Diff(want, invalid); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if strings.Contains(strings.NewReplacer(" ", "", "-", "").Replace(err.Error()), "411111") {
				t.Errorf("the error repeats the card number: %v", err)
			}
		})
	}
}

func TestParseRefusesInnerFields(t *testing.T) {
	scored := string(AppendScored(nil, &Scored{Enriched: testEnriched(), Rules: []FiredRule{{ID: "a", Version: 1}, {ID: "b", Version: 2}}, Features: []Feature{{"x", 1}}}))
	anomaly := string(AppendAnomaly(nil, &Anomaly{Scored: testScored(), Reasons: []Reason{{"a", "b"}}}))
	risk := testRisk()
	label := string(AppendLabel(nil, &Label{"t", "u", "m", 1767323045678, 1767323045679, true, ""}))
	parseScored := func(data []byte) error { return ParseScored(data, new(Scored)) }
	parseAnomaly := func(data []byte) error { return ParseAnomaly(data, new(Anomaly)) }
	parseRisk := func(data []byte) error { return ParseMerchantRisk(data, new(MerchantRisk)) }
	parseLabel := func(data []byte) error { return ParseLabel(data, new(Label)) }
	for _, test := range []struct {
		parse          func([]byte) error
		data, old, new string
		want           string
	}{
		{parseScored, scored, `{"id":"b","version":2}`, `{"id":"b"}`, "$.rules[1].version is missing"},
		{parseScored, scored, `"version":2`, `"version":"2"`, "$.rules[1].version must be a number, not a string"},
		{parseScored, scored, `"version":2`, `"version":2,"x":1,"x":2`, `$.rules has the field "x" twice`},
		{parseScored, scored, `{"id":"b","version":2}`, `7`, "$.rules must be an object, not a number"},
		{parseScored, scored, `"rules":[`, `"rules":[7,`, "$.rules must be an object, not a number"},
		{parseScored, scored, `"x":1`, `"x":1,"x":2`, `$.features has the member "x" twice`},
		{parseScored, scored, `"x":1`, `"x":1e999`, `$.features has too large a number in "x"`},
		{parseScored, scored, `"x":1`, `"x":"1"`, `$.features must be a number, not a string`},
		{parseScored, scored, `"x":1`, `"4111111111111111":1`, `$.features has a member whose name ` + cardNumberReason},
		{parseScored, scored, `"score":0`, `"score":1.01`, `$.score must be from 0 to 1`},
		{parseScored, scored, `"severity":""`, `"severity":"severe"`, `$.severity "severe" is none of , low, medium, high, critical`},
		{parseScored, scored, `"localHour":4`, `"localHour":24`, `$.localHour must be from 0 to 23`},
		{parseScored, scored, `"country":"DE"`, `"country":"Germany"`, `$.country "Germany" is no country code of two capital letters, such as DE`},
		{parseScored, scored, `"distanceKm":1287.25`, `"distanceKm":-1`, `$.distanceKm must not be negative`},
		{parseScored, scored, `"baseAmount":91422.10`, `"baseAmount":91422.105`, `$.baseAmount has more decimals than EUR has: 2`},
		{parseScored, scored, `"features":{"x":1}`, `"more":1`, `$.features is missing`},
		{parseAnomaly, anomaly, `"reasons":[{"rule":"a",`, `"reasons":[{`, `$.reasons[0].rule is missing`},
		{parseAnomaly, anomaly, `"text":"b"`, `"text":"4111111111111111"`, `$.reasons[0].text ` + cardNumberReason},
		{parseLabel, label, `"labelTime":1767323045679`, `"labelTime":1767323045677`, `$.labelTime is before the transaction's time`},
		{parseLabel, label, `,"fraud":true`, ``, `$.fraud is missing`},
		{parseRisk, string(AppendMerchantRisk(nil, &risk)), `"days":7`, `"days":30`, `$.windows[1].days is not the window's place: windows are those of 1, 7 and 30 days`},
		{parseRisk, string(AppendMerchantRisk(nil, &risk)), `"frauds":2`, `"frauds":71`, `$.windows[1].frauds is more than count`},
		{parseRisk, `{"merchantId":"m","asOf":1767323045678,"windows":[]}`, ``, ``, `$.windows must have the windows of 1, 7 and 30 days`},
	} {
		data := strings.Replace(test.data, test.old, test.new, 1)
		if data == test.data && test.old != "" {
			t.Fatalf("%s is not in %s", test.old, test.data)
		}
		err := test.parse([]byte(data))
		if err == nil || err.Error() != "invalid event: "+test.want {
			t.Errorf("with %s: error is\n%v, want\n%s", test.new, err, test.want)
		}
	}
}

// random makes payloads of every shape that is allowed.
type random struct{ *rand.Rand }

func (r random) text(most int) string {
	alphabet := []rune("abcXYZ019 _-./\"\\\u00e9\u65e5\U0001f600\u2028\u007f")
	var b strings.Builder
	for range r.IntN(most) {
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	if HasCardNumber(b.String()) {
		return ""
	}
	return b.String()
}

func (r random) id() string {
	return "i" + strings.ReplaceAll(r.text(25), "\u007f", "")
}

func pick[T any](r random, values ...T) T { return values[r.IntN(len(values))] }

func (r random) float() float64 {
	return pick(r, 0, 1, 0.5, r.Float64(), r.Float64()*1e30, r.Float64()*1e-30, float64(r.IntN(1000)), math.MaxFloat64, math.SmallestNonzeroFloat64)
}

func (r random) time() int64 { return minTime + r.Int64N(maxTime-minTime) }

func (r random) amount() int64 {
	return 1 + r.Int64N(pick(r, 1, 100, 100_000, MaxAmount))
}

func (r random) transaction() Transaction {
	return Transaction{
		TransactionID: r.id(), UserID: r.id(), Amount: r.amount(), Currency: pick(r, "USD", "JPY", "KWD", "CLF"),
		Time: r.time(), MerchantID: r.id(), Type: pick(r, "purchase", "refund"), Location: r.text(30),
		PaymentMethod: pick(r, "credit_card", "debit_card", "paypal"), International: r.IntN(2) == 0,
	}
}

func (r random) enriched() Enriched {
	return Enriched{
		Transaction: r.transaction(), Category: r.text(20), Country: pick(r, "", "DE", "US"), BaseAmount: r.amount(),
		BaseCurrency: pick(r, "EUR", "JPY"), LocalHour: r.IntN(24), Night: r.IntN(2) == 0, Weekend: r.IntN(2) == 0,
		DistanceKm: r.float(), MerchantRisk: r.Float64(),
	}
}

func (r random) scored() Scored {
	s := Scored{
		Enriched: r.enriched(), Score: r.Float64(), Flagged: r.IntN(2) == 0,
		Severity: pick(r, "", "low", "medium", "high", "critical"), RuleSet: r.text(10), ModelVersion: r.text(10),
	}
	for range r.IntN(4) {
		s.Rules = append(s.Rules, FiredRule{ID: r.id(), Version: r.IntN(10)})
	}
	for i := range r.IntN(40) {
		s.Features = append(s.Features, Feature{string(rune('a'+i)) + r.text(10), pick(r, -1.0, 1) * r.float()})
	}
	return s
}

// original makes a record whose parts are null, empty, text or any bytes.
func (r random) original() Original {
	bytes := func(most int) []byte {
		switch r.IntN(4) {
		case 0:
			return nil
		case 1:
			return []byte(r.text(most))
		}
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		return b
	}
	o := Original{
		Topic: "t" + strings.ToValidUTF8(r.text(10), ""), Partition: r.Int32N(100), Offset: r.Int64(), Timestamp: r.time(),
		Key: bytes(20), Value: bytes(200),
	}
	for range r.IntN(3) {
		o.Headers = append(o.Headers, Header{r.text(10), bytes(10)})
	}
	return o
}

// roundTrip checks that parse reads what appendTo writes, and that it is JSON.
func roundTrip[T any](t *testing.T, value T, appendTo func([]byte, *T) []byte, parse func([]byte, *T) error) {
	t.Helper()
	data := appendTo([]byte("before"), &value)[len("before"):]
	if !json.Valid(data) {
		t.Fatalf("no JSON: %s", data)
	}
	var got T
	if err := parse(data, &got); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if diff := cmp.Diff(value, got); diff != "" {
		t.Fatalf("%s (-written +read):\n%s", data, diff)
	}
}

func TestPayloadsRoundTrip(t *testing.T) {
	const seed = 7
	r := random{rand.New(rand.NewPCG(seed, seed))}
	for range 200 {
		roundTrip(t, r.transaction(), AppendTransaction, ParseTransaction)
		roundTrip(t, r.enriched(), AppendEnriched, ParseEnriched)
		scored := r.scored()
		roundTrip(t, scored, AppendScored, ParseScored)
		anomaly := Anomaly{Scored: scored}
		for range r.IntN(3) {
			anomaly.Reasons = append(anomaly.Reasons, Reason{r.id(), r.text(100)})
		}
		roundTrip(t, anomaly, AppendAnomaly, ParseAnomaly)
		at := r.time()
		roundTrip(t, Label{r.id(), r.id(), r.id(), at, at + r.Int64N(maxTime-at), r.IntN(2) == 0, r.text(10)}, AppendLabel, ParseLabel)
		risk := MerchantRisk{MerchantID: r.id(), AsOf: r.time()}
		for i := range risk.Windows {
			n := r.Int64N(1000)
			risk.Windows[i] = RiskWindow{n, r.Int64N(n + 1), r.Float64()}
		}
		roundTrip(t, risk, AppendMerchantRisk, ParseMerchantRisk)
		letter := DeadLetter{Function: r.id(), Reason: r.text(50), Original: r.original(), Size: r.IntN(3)}
		roundTrip(t, letter, AppendDeadLetter, ParseDeadLetter)
	}
}

// A superset may be read by whoever only knows the smaller payload.
func TestPayloadsAreSupersets(t *testing.T) {
	anomaly := Anomaly{Scored: testScored(), Reasons: []Reason{{"velocity-minute", "3 payments within a minute"}}}
	data := AppendAnomaly(nil, &anomaly)
	var scored Scored
	if err := ParseScored(data, &scored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anomaly.Scored, scored); diff != "" {
		t.Errorf("anomaly as scored (-want +got):\n%s", diff)
	}
	var transaction Transaction
	if err := ParseTransaction(data, &transaction); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anomaly.Transaction, transaction); diff != "" {
		t.Errorf("anomaly as transaction (-want +got):\n%s", diff)
	}
}

func TestFloatsThatJSONHasNot(t *testing.T) {
	s := testScored()
	s.Features = []Feature{{"a", math.NaN()}, {"b", math.Inf(1)}, {"c", math.Inf(-1)}}
	var got Scored
	if err := ParseScored(AppendScored(nil, &s), &got); err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Features {
		if f.Value != 0 {
			t.Errorf("feature %s is %v, want 0", f.Name, f.Value)
		}
	}
}

// FuzzParseTransaction: for every input,
//
//   - nothing panics, and an error is an InvalidError without a card number;
//   - a transaction that is accepted is valid JSON to encoding/json, which reads
//     the same strings and the same time;
//   - its amount is positive and within MaxAmount;
//   - written and read again it is the same.
func FuzzParseTransaction(f *testing.F) {
	f.Add([]byte(producerRecord))
	f.Add(AppendAnomaly(nil, &Anomaly{Scored: testScored()}))
	f.Add(produced(map[string]string{"amount": `"1.50"`, "international": "true", "note": `{"a":["4111 1111 1111 1111"]}`}))
	f.Add(produced(map[string]string{"userId": `"\u0000\ud83d\ude00"`, "transactionTime": "1767323045"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got Transaction
		if err := ParseTransaction(data, &got); err != nil {
			if _, ok := err.(*InvalidError); !ok {
				t.Fatalf("error is a %T", err)
			}
			if HasCardNumber(err.Error()) {
				t.Fatalf("card number in the error: %v", err)
			}
			return
		}
		var want struct {
			TransactionID   string
			UserID          string
			MerchantID      string
			TransactionType string
			Location        string
			PaymentMethod   string
			Currency        string
			TransactionTime int64
		}
		// Names of other fields that only differ in case would be taken for
		// these, so only the exact ones are handed over.
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", data, err)
		}
		exact := map[string]json.RawMessage{}
		for _, name := range transactionPaths[:fieldMerchantCategory] {
			exact[name] = members[name]
		}
		text, err := json.Marshal(exact)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", text, err)
		}
		if want.TransactionID != got.TransactionID || want.UserID != got.UserID || want.MerchantID != got.MerchantID ||
			want.TransactionType != got.Type || want.Location != got.Location || want.PaymentMethod != got.PaymentMethod ||
			want.Currency != got.Currency || want.TransactionTime != got.Time {
			t.Fatalf("encoding/json reads %+v, ParseTransaction %+v", want, got)
		}
		if got.Amount <= 0 || got.Amount > MaxAmount {
			t.Fatalf("amount is %d", got.Amount)
		}
		var again Transaction
		if err := ParseTransaction(AppendTransaction(nil, &got), &again); err != nil || again != got {
			t.Fatalf("read again: %v, %+v, want %+v", err, again, got)
		}
	})
}
