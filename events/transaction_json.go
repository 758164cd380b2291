package events

import (
	"unsafe"

	"datasurge/events/internal/strictjson"
)

// The fields of Transaction, Enriched, Scored and Anomaly on the wire. Those of
// each are a superset of the one before it.
const (
	fieldTransactionID field = iota
	fieldUserID
	fieldAmount
	fieldCurrency
	fieldTransactionTime
	fieldMerchantID
	fieldTransactionType
	fieldLocation
	fieldPaymentMethod
	fieldInternational

	fieldMerchantCategory
	fieldCountry
	fieldBaseAmount
	fieldBaseCurrency
	fieldLocalHour
	fieldNight
	fieldWeekend
	fieldDistanceKm
	fieldMerchantRisk

	fieldScore
	fieldFlagged
	fieldSeverity
	fieldRules
	fieldRuleSet
	fieldModelVersion
	fieldFeatures
	fieldRuleID
	fieldRuleVersion

	fieldReasons
	fieldReasonRule
	fieldReasonText

	// Fields that may be missing: those of newer decisions.
	fieldDecision
	fieldListSet
	fieldRuleExactFrom
	fieldShadow
	fieldShadowID
	fieldShadowVersion
	fieldShadowExactFrom
	fieldSuppressed
	fieldSuppressedID
	fieldSuppressedVersion
	fieldSuppressedExactFrom
)

const (
	transactionFields = fieldSet(1)<<fieldMerchantCategory - 1
	enrichedFields    = fieldSet(1)<<fieldScore - 1
	scoredFields      = fieldSet(1)<<fieldRuleID - 1
	anomalyFields     = scoredFields | 1<<fieldReasons
	reasonFields      = fieldSet(1)<<fieldReasonRule | 1<<fieldReasonText
)

var transactionPaths = [...]string{
	fieldTransactionID:   "transactionId",
	fieldUserID:          "userId",
	fieldAmount:          "amount",
	fieldCurrency:        "currency",
	fieldTransactionTime: "transactionTime",
	fieldMerchantID:      "merchantId",
	fieldTransactionType: "transactionType",
	fieldLocation:        "location",
	fieldPaymentMethod:   "paymentMethod",
	fieldInternational:   "international",

	fieldMerchantCategory: "merchantCategory",
	fieldCountry:          "country",
	fieldBaseAmount:       "baseAmount",
	fieldBaseCurrency:     "baseCurrency",
	fieldLocalHour:        "localHour",
	fieldNight:            "night",
	fieldWeekend:          "weekend",
	fieldDistanceKm:       "distanceKm",
	fieldMerchantRisk:     "merchantRisk",

	fieldScore:        "score",
	fieldFlagged:      "flagged",
	fieldSeverity:     "severity",
	fieldRules:        "rules",
	fieldRuleSet:      "ruleSet",
	fieldModelVersion: "modelVersion",
	fieldFeatures:     "features",
	fieldRuleID:       "rules[].id",
	fieldRuleVersion:  "rules[].version",

	fieldReasons:    "reasons",
	fieldReasonRule: "reasons[].rule",
	fieldReasonText: "reasons[].text",

	fieldDecision:            "decision",
	fieldListSet:             "listSet",
	fieldRuleExactFrom:       "rules[].exactFrom",
	fieldShadow:              "shadow",
	fieldShadowID:            "shadow[].id",
	fieldShadowVersion:       "shadow[].version",
	fieldShadowExactFrom:     "shadow[].exactFrom",
	fieldSuppressed:          "suppressed",
	fieldSuppressedID:        "suppressed[].id",
	fieldSuppressedVersion:   "suppressed[].version",
	fieldSuppressedExactFrom: "suppressed[].exactFrom",
}

// transactionOrder is the order in which these fields are written, by us and by
// the original system.
var transactionOrder = strictjson.NewOrder(
	"transactionId", "userId", "amount", "transactionTime", "merchantId", "transactionType", "location", "paymentMethod",
	"international", "currency",
	"merchantCategory", "country", "baseAmount", "baseCurrency", "localHour", "night", "weekend", "distanceKm", "merchantRisk",
	"score", "flagged", "severity", "decision", "rules", "ruleSet", "modelVersion", "features", "reasons",
)

// ParseTransaction reads the data of a TypeTransaction event into t. All ten
// fields have to be there; others are read over. It returns an [*InvalidError]
// for what is missing or wrong; t is then of no use.
//
// The strings of t are parts of data, which must not be changed as long as t is
// in use; who keeps one of them for long clones it, so as not to keep all of data.
func ParseTransaction(data []byte, t *Transaction) error {
	*t = Transaction{}
	var d decoder
	d.openTransaction(data)
	var amount string
	for {
		name, ok := d.next()
		if !ok {
			break
		}
		if !d.transaction(name, t, &amount) {
			d.other(name)
		}
	}
	t.Amount = d.minor(fieldAmount, amount, t.Currency)
	return d.close(transactionFields)
}

// openTransaction opens the data of a transaction, enriched, scored or flagged.
// The strings that are read share its memory: an event's data does not change.
func (d *decoder) openTransaction(data []byte) {
	text := unsafe.String(unsafe.SliceData(data), len(data))
	d.openText(text, transactionPaths[:], MaxDataBytes, MaxDepth)
	d.json.Expect(transactionOrder)
}

// transaction reads the field called name if it is one of Transaction's.
func (d *decoder) transaction(name string, t *Transaction, amount *string) bool {
	switch name {
	case "transactionId":
		t.TransactionID = d.id(fieldTransactionID)
	case "userId":
		t.UserID = d.id(fieldUserID)
	case "amount":
		*amount = d.amount(fieldAmount)
	case "currency":
		t.Currency = d.currency(fieldCurrency)
	case "transactionTime":
		t.Time = d.millis(fieldTransactionTime)
	case "merchantId":
		t.MerchantID = d.id(fieldMerchantID)
	case "transactionType":
		t.Type = d.code(fieldTransactionType, "purchase", "refund")
	case "location":
		t.Location = d.text(fieldLocation, MaxTextBytes)
	case "paymentMethod":
		t.PaymentMethod = d.code(fieldPaymentMethod, "credit_card", "debit_card", "paypal")
	case "international":
		t.International = d.looseBoolean(fieldInternational)
	default:
		return false
	}
	return true
}

// AppendTransaction appends t as ParseTransaction reads it.
func AppendTransaction(dst []byte, t *Transaction) []byte {
	dst = append(dst, '{')
	dst = appendTransactionFields(dst, t)
	return append(dst, '}')
}

func appendTransactionFields(dst []byte, t *Transaction) []byte {
	dst = appendStringField(dst, "transactionId", t.TransactionID)
	dst = appendStringField(dst, "userId", t.UserID)
	dst = appendAmountField(dst, "amount", t.Amount, t.Currency)
	dst = appendIntField(dst, "transactionTime", t.Time)
	dst = appendStringField(dst, "merchantId", t.MerchantID)
	dst = appendStringField(dst, "transactionType", t.Type)
	dst = appendStringField(dst, "location", t.Location)
	dst = appendStringField(dst, "paymentMethod", t.PaymentMethod)
	dst = appendBoolField(dst, "international", t.International)
	return appendStringField(dst, "currency", t.Currency)
}
