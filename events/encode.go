package events

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"datasurge/events/internal/strictjson"
)

// An object is appended with appendField for each field, which puts a comma
// where one belongs, between '{' and '}'.

// appendName appends a comma, unless dst ends with the brace or bracket that
// opened the object or array, and the name with its colon. name needs no
// escapes.
func appendName(dst []byte, name string) []byte {
	if c := dst[len(dst)-1]; c == '{' || c == '[' {
		dst = append(dst, '"')
	} else {
		dst = append(dst, `,"`...)
	}
	dst = append(dst, name...)
	return append(dst, `":`...)
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
	if !isPlain(s) {
		// The error only says that some bytes had to be replaced.
		dst, _ = jsontext.AppendQuote(dst, s)
		return dst
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// isPlain reports whether s is its own JSON text: printable ASCII without quotes
// and backslashes.
func isPlain(s string) bool {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	// Eight bytes at a time, as long as none of them can be another character.
	for ; len(s) >= 8; s = s[8:] {
		x := strictjson.Word(s)
		// What is taken from a smaller byte is borrowed from its high bit; 0x7f
		// and one is 0x80. A borrow or a carry may mark the byte above too.
		quote, backslash := x^'"'*low, x^'\\'*low
		if ((quote-low)|(backslash-low)|(x-' '*low)|(x+low)|x)&high != 0 {
			break
		}
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

// appendFloat appends the shortest number that reads back as f. What JSON has
// no number for (NaN and the infinities) is written as 0, so that one such
// value does not make the whole event unreadable.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	if dst, ok := appendMillionths(dst, f); ok {
		return dst
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendMillionths appends f if it is a decimal number of at most six decimals
// below a billion, as nearly all numbers in events are: several times faster than
// searching for the shortest text. It is the same text: of at most 15 digits no
// two numbers read as the same float, so none but this one reads back as f.
func appendMillionths(dst []byte, f float64) ([]byte, bool) {
	if whole := int64(f); 0 < whole && whole < 1e9 && float64(whole) == f {
		return strconv.AppendInt(dst, whole, 10), true
	}
	abs := math.Abs(f)
	if !(abs < 1e9) || f == 0 && math.Signbit(f) {
		return dst, false
	}
	n := uint64(abs*1e6 + 0.5)
	// Both are exact as floats, so the quotient is the float nearest to the
	// decimal number: what reading it gives.
	if float64(n)/1e6 != abs {
		return dst, false
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	whole, fraction := n/1e6, n%1e6
	dst = strconv.AppendUint(dst, whole, 10)
	if fraction == 0 {
		return dst, true
	}
	dst = append(dst, '.')
	for unit := uint64(1e5); fraction > 0; unit /= 10 {
		dst = append(dst, '0'+byte(fraction/unit))
		fraction %= unit
	}
	return dst, true
}
