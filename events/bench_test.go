package events

import "testing"

// What the original producer writes, 270 bytes.
const producerRecord = `{"transactionId":"3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34","userId":"user_48213",` +
	`"amount":99731.25,"transactionTime":1767323045678,"merchantId":"merchant_12",` +
	`"transactionType":"purchase","location":"location_17","paymentMethod":"credit_card",` +
	`"international":"False","currency":"USD"}`

func BenchmarkParseTransaction(b *testing.B) {
	data := []byte(producerRecord)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var t Transaction
	for b.Loop() {
		if err := ParseTransaction(data, &t); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseScored(b *testing.B) {
	t := testScored()
	for i := range 14 {
		t.Features = append(t.Features, Feature{"feature" + string(rune('A'+i)), 0.25 * float64(i)})
	}
	data := AppendScored(nil, &t)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var got Scored
	for b.Loop() {
		if err := ParseScored(data, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseVerdict(b *testing.B) {
	t := decided()
	data := AppendScored(nil, &t)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var got Scored
	for b.Loop() {
		if err := ParseVerdict(data, &got); err != nil {
			b.Fatal(err)
		}
	}
}

// decided is what detect writes, with the names and the kinds of values of its
// features.
func decided() Scored {
	t := testScored()
	t.Features = nil
	for i, name := range []string{
		"baseAmount", "weekend", "night", "international", "count1m", "count10m", "count1d", "mean1d", "count7d", "mean7d",
		"count30d", "mean30d", "amountRatio", "amountZ", "usual10m", "sinceLast", "lastAmount", "distanceKm", "countries1h",
		"newCountry1h", "merchantRisk", "usualRatio", "unusual14d", "merchantFraudShare", "merchantFraudRun",
		"merchantFraudDays", "merchantCleanDays", "merchantAbuse",
	} {
		value := [...]float64{99731.25, 0, 1, 0, 3, 1.0417, 0, 12}[i%8]
		t.Features = append(t.Features, Feature{name, value})
	}
	return t
}

func BenchmarkParseEnriched(b *testing.B) {
	t := testEnriched()
	data := AppendEnriched(nil, &t)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var got Enriched
	for b.Loop() {
		if err := ParseEnriched(data, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTransaction(b *testing.B) {
	t := testTransaction()
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		AppendTransaction(dst, &t)
	}
}

func BenchmarkAppendScored(b *testing.B) {
	t := decided()
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		AppendScored(dst, &t)
	}
}
