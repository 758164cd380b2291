package enrich

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strings"

	"datasurge/events"
)

// ratesCSV holds approximate reference rates of 2025-06-30, rounded to about
// three digits: how many units of a currency one US dollar bought. They serve to
// compare the size of amounts, not to settle them. Currencies with several
// official rates, or that lose their value quickly, are left out.
//
//nolint:gochecknoglobals // an embedded file can be nothing else
//go:embed rates.csv
var ratesCSV string

// errNoRate: no rate is known for a currency.
var errNoRate = errors.New("no reference rate is known for the currency")

// errTooLarge: an amount does not fit into 63 bits of the base currency's minor units.
var errTooLarge = errors.New("the amount is too large for the base currency")

// converter turns amounts into the base currency with exact integers.
type converter struct {
	base   string
	ratios map[string]ratio // by currency
}

// ratio is what an amount in minor units of a currency is multiplied with to
// become minor units of the base currency, as a reduced fraction.
type ratio struct{ num, den uint64 }

// newConverter combines the embedded rates with overrides (units of a currency
// for one US dollar, as decimal text).
func newConverter(base string, overrides map[string]string) (*converter, error) {
	texts := map[string]string{}
	for line := range strings.Lines(ratesCSV) {
		code, text, _ := strings.Cut(strings.TrimSpace(line), ",")
		texts[code] = text
	}
	maps.Copy(texts, overrides)

	scaled := map[string]uint64{} // 10^-6 units of a dollar's minor units
	for _, code := range slices.Sorted(maps.Keys(texts)) {
		micros, err := parseRate(texts[code])
		if err != nil {
			return nil, fmt.Errorf("rate of %s: %w", code, err)
		}
		decimals, ok := events.CurrencyDigits(code)
		if !ok {
			return nil, fmt.Errorf("rate of %s: not a currency of ISO 4217", code)
		}
		for range decimals {
			micros *= 10
		}
		scaled[code] = micros
	}
	num, ok := scaled[base]
	if !ok {
		return nil, fmt.Errorf("base currency %q: %w", base, errNoRate)
	}
	c := &converter{base: base, ratios: make(map[string]ratio, len(scaled))}
	for code, den := range scaled {
		divisor := gcd(num, den)
		c.ratios[code] = ratio{num / divisor, den / divisor}
	}
	return c, nil
}

// convert returns amount, in minor units of currency, in minor units of the base
// currency, rounded half to even. The amount is not negative.
func (c *converter) convert(amount int64, currency string) (int64, error) {
	r, ok := c.ratios[currency]
	if !ok {
		return 0, errNoRate
	}
	if r.num == r.den {
		return amount, nil
	}
	hi, lo := bits.Mul64(uint64(amount), r.num)
	if hi >= r.den {
		return 0, errTooLarge
	}
	quotient, rest := bits.Div64(hi, lo, r.den)
	if other := r.den - rest; rest > other || rest == other && quotient&1 == 1 {
		quotient++
	}
	if quotient > math.MaxInt64 {
		return 0, errTooLarge
	}
	return int64(quotient), nil
}

// maxRateMicros keeps a rate times the 10^4 of the finest currency inside 64 bits.
const maxRateMicros = 1e14

// parseRate reads a positive decimal of at most six decimals in millionths.
func parseRate(text string) (uint64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) > 6 {
		return 0, fmt.Errorf("%q has more than six decimals", text)
	}
	var micros uint64
	for _, digit := range []byte(whole + fraction + "000000"[len(fraction):]) {
		if digit < '0' || digit > '9' || micros > maxRateMicros/10 {
			return 0, fmt.Errorf("%q is not a decimal number from 0.000001 to 100000000", text)
		}
		micros = micros*10 + uint64(digit-'0')
	}
	if micros == 0 || micros > maxRateMicros {
		return 0, fmt.Errorf("%q is not a decimal number from 0.000001 to 100000000", text)
	}
	return micros, nil
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
