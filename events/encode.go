package events

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// An object is appended with appendField for each field, which puts a comma
// where one belongs, between '{' and '}'.

// appendName appends a comma, unless dst ends with the brace or bracket that
// opened the object or array, and the name with its colon. name needs no
// escapes.
func appendName(dst []byte, name string) []byte {
	dst = appendComma(dst)
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

func appendComma(dst []byte) []byte {
	switch dst[len(dst)-1] {
	case '{', '[':
		return dst
	}
	return append(dst, ',')
}

func appendStringField(dst []byte, name, value string) []byte {
	return appendString(appendName(dst, name), value)
}

func appendIntField(dst []byte, name string, value int64) []byte {
	return strconv.AppendInt(appendName(dst, name), value, 10)
}

func appendBoolField(dst []byte, name string, value bool) []byte {
	return strconv.AppendBool(appendName(dst, name), value)
}

func appendFloatField(dst []byte, name string, value float64) []byte {
	return appendFloat(appendName(dst, name), value)
}

// appendAmountField appends an amount of money with the decimals of its
// currency, none when the currency is not known.
func appendAmountField(dst []byte, name string, minor int64, currency string) []byte {
	digits, _ := CurrencyDigits(currency)
	return FormatAmount(appendName(dst, name), minor, digits)
}

// appendString appends s as a JSON string; bytes that are no UTF-8 become
// U+FFFD.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			// The error only says that some bytes had to be replaced.
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendFloat appends the shortest number that reads back as f. What JSON has
// no number for (NaN and the infinities) is written as 0, so that one such
// value does not make the whole event unreadable.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
