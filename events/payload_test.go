package events

import (
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

func TestParseTransactionOfOriginalProducer(t *testing.T) {
	var got Transaction
	if err := ParseTransaction([]byte(producerRecord), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testTransaction(), got); diff != "" {
		t.Errorf("transaction (-want +got):\n%s", diff)
	}
}
