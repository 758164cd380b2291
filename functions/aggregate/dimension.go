package aggregate

// dimension is what transactions are grouped by. The numbers are part of state
// keys: new ones go at the end.
type dimension byte

const (
	dimAll dimension = iota
	dimCurrency
	dimMerchant
	dimCategory
	dimCountry
	dimType
	dimPayment
	dimRule
	dimensions
)

// dimMerchantDay is the dimension of partials that carry a merchant's daily
// counts; no window is made of them.
const dimMerchantDay = "merchant_day"

// allValue is the only value of dimAll, unknownValue that of a transaction where
// the dimension's is not known.
const (
	allValue     = "all"
	unknownValue = "unknown"
)

func (d dimension) String() string {
	return [dimensions]string{
		dimAll: "all", dimCurrency: "currency", dimMerchant: "merchant", dimCategory: "category",
		dimCountry: "country", dimType: "type", dimPayment: "payment", dimRule: "rule",
	}[d]
}

func parseDimension(name string) (dimension, bool) {
	for d := range dimensions {
		if d.String() == name {
			return d, true
		}
	}
	return 0, false
}

// sketched reports whether windows of d have quantiles and distinct customers:
// those of few values.
func (d dimension) sketched() bool { return d != dimMerchant && d != dimRule }
