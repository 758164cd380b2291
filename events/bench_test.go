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
