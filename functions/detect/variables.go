package detect

import (
	"math"
	"strconv"
	"time"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/outcome"
)

// Variables of rules. The features come first, at their places in a vector.
const (
	varTransactionID = int(featureCount) + iota
	varUserID
	varAmount
	varCurrency
	varTime
	varMerchantID
	varType
	varLocation
	varPaymentMethod
	varCategory
	varCountry
	varPreviousCountry
	varBaseCurrency
	varLocalHour
	varScore
	varCount
)

// Schema is what rules may refer to: the variables and the windows of the
// package documentation.
func Schema() rules.Schema {
	variables := make([]rules.Variable, varCount)
	for i, name := range featureNames {
		variables[i] = rules.Variable{Name: name, Kind: rules.Number}
	}
	for _, f := range []feature{weekend, night, international, newCountry1h} {
		variables[f].Kind = rules.Bool
	}
	// What stands for "not known": has(name) is false for it.
	for f, value := range map[feature]float64{
		mean1d: 0, mean7d: 0, mean30d: 0, amountRatio: 1, amountZ: 0, usual10m: 0, sinceLast: neverSeen, lastAmount: 0,
		distanceKm: 0, countries1h: 0, merchantRisk: 0,
		usualRatio: 1, merchantFraudDays: outcome.Unknown().RunDays, merchantCleanDays: outcome.Unknown().CleanDays,
		merchantAbuse: roundScore(outcome.Unknown().Abused),
	} {
		variables[f].Unknown = value
	}
	variables[varTransactionID] = rules.Variable{Name: "transactionId", Kind: rules.Text}
	variables[varUserID] = rules.Variable{Name: "userId", Kind: rules.Text}
	variables[varAmount] = rules.Variable{Name: "amount", Kind: rules.Number}
	variables[varCurrency] = rules.Variable{Name: "currency", Kind: rules.Text}
	variables[varTime] = rules.Variable{Name: "transactionTime", Kind: rules.Integer}
	variables[varMerchantID] = rules.Variable{Name: "merchantId", Kind: rules.Text}
	variables[varType] = rules.Variable{Name: "transactionType", Kind: rules.Text}
	variables[varLocation] = rules.Variable{Name: "location", Kind: rules.Text, Unknown: ""}
	variables[varPaymentMethod] = rules.Variable{Name: "paymentMethod", Kind: rules.Text}
	variables[varCategory] = rules.Variable{Name: "merchantCategory", Kind: rules.Text, Unknown: "unknown"}
	variables[varCountry] = rules.Variable{Name: "country", Kind: rules.Text, Unknown: ""}
	variables[varPreviousCountry] = rules.Variable{Name: "previousCountry", Kind: rules.Text, Unknown: ""}
	variables[varBaseCurrency] = rules.Variable{Name: "baseCurrency", Kind: rules.Text}
	variables[varLocalHour] = rules.Variable{Name: "localHour", Kind: rules.Integer}
	variables[varScore] = rules.Variable{Name: "modelScore", Kind: rules.Number}

	var windows []rules.FixedWindow
	for i := range windowSpecs {
		spec := &windowSpecs[i]
		windows = append(windows, rules.FixedWindow{Name: spec.name, Key: "userId", Aggregate: "count", Duration: time.Duration(spec.length) * time.Millisecond})
	}
	for i, f := range []feature{mean1d, mean7d, mean30d} {
		windows = append(windows, rules.FixedWindow{
			Name: featureNames[f], Key: "userId", Aggregate: "mean", Duration: time.Duration(windowSpecs[dayWindow+i].length) * time.Millisecond,
		})
	}
	return rules.Schema{Variables: variables, Windows: windows}
}

// subject is the transaction under decision, as rules see it.
type subject struct {
	transaction     events.Enriched
	features        vector
	previousCountry string
	modelScore      float64
}

var _ rules.Source = (*subject)(nil)

// Number implements rules.Source.
func (s *subject) Number(i int) float64 {
	switch i {
	case varAmount:
		return float64(s.transaction.Amount) / minorUnits(s.transaction.Currency)
	case varScore:
		return s.modelScore
	}
	return s.features[i]
}

// Integer implements rules.Source.
func (s *subject) Integer(i int) int64 {
	if i == varTime {
		return s.transaction.Time
	}
	return int64(s.transaction.LocalHour)
}

// Bool implements rules.Source.
func (s *subject) Bool(i int) bool { return s.features[i] != 0 }

// Text implements rules.Source.
func (s *subject) Text(i int) string {
	t := &s.transaction
	switch i {
	case varTransactionID:
		return t.TransactionID
	case varUserID:
		return t.UserID
	case varCurrency:
		return t.Currency
	case varMerchantID:
		return t.MerchantID
	case varType:
		return t.Type
	case varLocation:
		return t.Location
	case varPaymentMethod:
		return t.PaymentMethod
	case varCategory:
		return t.Category
	case varCountry:
		return t.Country
	case varPreviousCountry:
		return s.previousCountry
	default:
		return t.BaseCurrency
	}
}

// AppendText implements rules.Source. Amounts of the transaction itself are
// exact: they are written from minor units.
func (s *subject) AppendText(dst []byte, i int) []byte {
	t := &s.transaction
	switch {
	case i == varAmount:
		digits, _ := events.CurrencyDigits(t.Currency)
		return events.FormatAmount(dst, t.Amount, digits)
	case i == int(baseAmount):
		digits, _ := events.CurrencyDigits(t.BaseCurrency)
		return events.FormatAmount(dst, t.BaseAmount, digits)
	case i == varTime:
		return time.UnixMilli(t.Time).UTC().AppendFormat(dst, time.RFC3339)
	case i == varLocalHour:
		return strconv.AppendInt(dst, int64(t.LocalHour), 10)
	case i == int(weekend), i == int(night), i == int(international), i == int(newCountry1h):
		return strconv.AppendBool(dst, s.Bool(i))
	case i < int(featureCount), i == varScore:
		return appendNumber(dst, s.Number(i))
	}
	return append(dst, s.Text(i)...)
}

// appendNumber writes whole numbers whole and others with two decimals.
func appendNumber(dst []byte, x float64) []byte {
	decimals := 2
	if x == math.Trunc(x) {
		decimals = 0
	}
	return strconv.AppendFloat(dst, x, 'f', decimals, 64)
}
