package events_test

import (
	"fmt"

	"datasurge/events"
)

// Money never passes through a float, and what is wrong is named.
func ExampleParseTransaction() {
	data := `{
		"transactionId": "3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34", "userId": "user_48213",
		"amount": %s, "currency": "USD", "transactionTime": 1767323045678,
		"merchantId": "merchant_12", "transactionType": "purchase", "location": "location_17",
		"paymentMethod": "credit_card", "international": "False"
	}`
	for _, amount := range []string{"99731.25", "99731.255", "-5"} {
		var t events.Transaction
		if err := events.ParseTransaction(fmt.Appendf(nil, data, amount), &t); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(t.Amount, "cents")
	}
	// Output:
	// 9973125 cents
	// invalid event: $.amount has more decimals than USD has: 2
	// invalid event: $.amount must be positive: a refund is a transactionType
}
