package metrics

import "slices"

// currencies have a label of their own; others are counted under "other". They
// are the generator's and the most traded ones.
var currencies = [...]string{
	"USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "SEK", "PLN", "SGD", "CNY", "INR", "BRL", other,
}

// channels are the ways of payment that a transaction can have.
var channels = [...]string{"credit_card", "debit_card", "paypal", other}

// other stands for every value without a label of its own.
const other = "other"

// indexOf returns the index of value, or of the last value, which is other.
func indexOf(values []string, value string) int {
	if i := slices.Index(values, value); i >= 0 {
		return i
	}
	return len(values) - 1
}
