package events

import (
	"strconv"
	"strings"
)

// MaxAmount is the largest amount accepted, in minor units: 10^15, ten trillion
// dollars or a quadrillion yen. Sums of thousands of such amounts fit an int64.
const MaxAmount = int64(1_000_000_000_000_000)

// parseAmount converts a decimal number as JSON writes it into minor units of a
// currency with that many decimals. reason is the rest of a sentence, "" when
// the amount is fine.
func parseAmount(text, currency string, decimals int) (minor int64, reason string) {
	if strings.HasPrefix(text, "-") {
		return 0, "must be positive: a refund is a transactionType"
	}
	whole, fraction, point := strings.Cut(text, ".")
	if whole == "" || point && fraction == "" || len(whole) > 1 && whole[0] == '0' {
		return 0, "is no decimal number such as 12.34"
	}
	for i := range len(whole) {
		if !isDigit(whole[i]) {
			return 0, badDigit(whole[i:])
		}
		// Every amount below MaxAmount has fewer than 19 digits, so minor stays
		// far from overflow.
		if minor = minor*10 + int64(whole[i]-'0'); minor > MaxAmount {
			return 0, tooLarge(currency, decimals)
		}
	}
	for i := range max(len(fraction), decimals) {
		digit := int64(0)
		if i < len(fraction) {
			if !isDigit(fraction[i]) {
				return 0, badDigit(fraction[i:])
			}
			digit = int64(fraction[i] - '0')
		}
		if i < decimals {
			minor = minor*10 + digit
		} else if digit != 0 {
			return 0, "has more decimals than " + currency + " has: " + strconv.Itoa(decimals)
		}
		if minor > MaxAmount {
			return 0, tooLarge(currency, decimals)
		}
	}
	if minor == 0 {
		return 0, "must be positive, not zero"
	}
	return minor, ""
}

func badDigit(rest string) string {
	if rest[0] == 'e' || rest[0] == 'E' {
		return "must be written without an exponent"
	}
	return "is no decimal number such as 12.34"
}

func tooLarge(currency string, decimals int) string {
	return "is larger than " + string(FormatAmount(nil, MaxAmount, decimals)) + " " + currency
}

// FormatAmount appends minor units of a currency with that many decimals, with
// all its decimals: FormatAmount(dst, -5, 2) appends -0.05. What it appends is
// a JSON number.
func FormatAmount(dst []byte, minor int64, decimals int) []byte {
	n := uint64(minor)
	if minor < 0 {
		dst = append(dst, '-')
		n = -n
	}
	start := len(dst)
	dst = strconv.AppendUint(dst, n, 10)
	if decimals <= 0 {
		return dst
	}
	// At least one digit before the point.
	if missing := decimals + 1 - (len(dst) - start); missing > 0 {
		for range missing {
			dst = append(dst, '0')
		}
		copy(dst[start+missing:], dst[start:])
		for i := range missing {
			dst[start+i] = '0'
		}
	}
	dst = append(dst, 0)
	point := len(dst) - 1 - decimals
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}
