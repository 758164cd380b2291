package enrich

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"datasurge/events"
)

func newTestConverter(t testing.TB, base string, rates map[string]string) *converter {
	t.Helper()
	c, err := newConverter(base, rates)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConvert(t *testing.T) {
	// With 2 dollars for a BHD and so on, every result below is exact.
	rates := map[string]string{
		"EUR": "0.8", "GBP": "0.5", "JPY": "100", "BHD": "0.5", "CHF": "3", "VND": "25000", "CLF": "0.025",
	}
	for _, test := range []struct {
		base     string
		amount   int64
		currency string
		want     int64
	}{
		{"USD", 12345, "USD", 12345},
		{"USD", 0, "EUR", 0},
		{"USD", 800, "EUR", 1000},    // 8.00 EUR = 10.00 USD
		{"USD", 1, "GBP", 2},         // 0.01 GBP = 0.02 USD
		{"USD", 1500, "JPY", 1500},   // 1500 JPY = 15.00 USD, 0 decimals
		{"USD", 1, "BHD", 0},         // 0.001 BHD = 0.002 USD
		{"USD", 5, "BHD", 1},         // 0.005 BHD = 0.010 USD
		{"USD", 25_000, "VND", 100},  // 25000 VND = 1.00 USD
		{"USD", 125, "VND", 0},       // 0.5 cents: half to even
		{"USD", 375, "VND", 2},       // 1.5 cents: half to even
		{"USD", 374, "VND", 1},       // just below
		{"USD", 100, "CHF", 33},      // 33.33
		{"USD", 200, "CHF", 67},      // 66.67
		{"EUR", 1000, "USD", 800},    // the other way
		{"EUR", 500, "GBP", 800},     // neither is the dollar
		{"JPY", 1000, "USD", 1000},   // 10.00 USD = 1000 JPY
		{"BHD", 1, "USD", 5},         // 0.01 USD = 0.005 BHD
		{"USD", 10_000, "CLF", 4000}, // 4 decimals
		{"USD", math.MaxInt64, "USD", math.MaxInt64},
	} {
		got, err := newTestConverter(t, test.base, rates).convert(test.amount, test.currency)
		if err != nil || got != test.want {
			t.Errorf("%d %s in %s: %d, %v, want %d", test.amount, test.currency, test.base, got, err, test.want)
		}
	}
}

func TestConvertErrors(t *testing.T) {
	c := newTestConverter(t, "USD", nil)
	if _, err := c.convert(1, "VES"); !errors.Is(err, errNoRate) {
		t.Errorf("a currency without a rate: %v", err)
	}
	if _, err := c.convert(math.MaxInt64, "GBP"); !errors.Is(err, errTooLarge) {
		t.Errorf("a result of more than 63 bits: %v", err)
	}
	if _, err := newTestConverter(t, "UGX", nil).convert(math.MaxInt64, "KWD"); !errors.Is(err, errTooLarge) {
		t.Errorf("a result of more than 64 bits: %v", err)
	}
}

// TestConvertExact compares with rational arithmetic.
func TestConvertExact(t *testing.T) {
	for _, base := range []string{"USD", "EUR", "JPY", "KWD"} {
		c := newTestConverter(t, base, nil)
		r := rand.New(rand.NewPCG(1, 2))
		for code, ratio := range c.ratios {
			for range 200 {
				amount := r.Int64N(1 << r.IntN(50))
				got, err := c.convert(amount, code)
				if err != nil {
					t.Fatal(err)
				}
				exact := new(big.Rat).SetFrac(new(big.Int).SetUint64(ratio.num), new(big.Int).SetUint64(ratio.den))
				exact.Mul(exact, new(big.Rat).SetInt64(amount))
				off := exact.Sub(exact, new(big.Rat).SetInt64(got))
				half := big.NewRat(1, 2)
				if c := off.Abs(off).Cmp(half); c > 0 || c == 0 && got%2 != 0 {
					t.Fatalf("%d %s = %d %s, off by %v", amount, code, got, base, off)
				}
			}
		}
	}
}

func TestRatesTable(t *testing.T) {
	c := newTestConverter(t, "USD", nil)
	last := ""
	for line := range strings.Lines(ratesCSV) {
		code, _, _ := strings.Cut(line, ",")
		if code <= last {
			t.Errorf("%s comes after %s", code, last)
		}
		last = code
	}
	for code := range strings.FieldsSeq(`USD EUR GBP JPY CHF CAD AUD NZD SEK NOK DKK PLN CZK HUF RON TRY ILS AED SAR ZAR
		INR CNY HKD TWD SGD MYR THB IDR PHP VND KRW MXN BRL ARS CLP COP PEN NGN KES EGP`) {
		if _, err := c.convert(1, code); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	// A hundred dollars' worth is a hundred dollars, within the rates' rounding.
	for code, amount := range map[string]int64{"EUR": 8500, "JPY": 14400, "KWD": 30600, "GBP": 7300} {
		if got, err := c.convert(amount, code); err != nil || got != 10_000 {
			t.Errorf("%d %s = %d cents, %v", amount, code, got, err)
		}
	}
}

func TestNewConverterErrors(t *testing.T) {
	for _, test := range []struct {
		base  string
		rates map[string]string
		want  string
	}{
		{"USX", nil, `base currency "USX"`},
		{"", nil, `base currency ""`},
		{"USD", map[string]string{"EUR": "0"}, "rate of EUR"},
		{"USD", map[string]string{"EUR": "-1"}, "rate of EUR"},
		{"USD", map[string]string{"EUR": "0.1234567"}, "more than six decimals"},
		{"USD", map[string]string{"EUR": "1e3"}, "rate of EUR"},
		{"USD", map[string]string{"EUR": ""}, "rate of EUR"},
		{"USD", map[string]string{"EUR": "100000001"}, "rate of EUR"},
		{"USD", map[string]string{"EUR": "99999999999999999999999999"}, "rate of EUR"},
		{"USD", map[string]string{"ABC": "1"}, "rate of ABC: not a currency"},
	} {
		_, err := newConverter(test.base, test.rates)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q with %v: %v, want %q in it", test.base, test.rates, err, test.want)
		}
	}
}

// TestRatesInRange checks that the largest rate of the finest currency fits.
func TestRatesInRange(t *testing.T) {
	for _, code := range []string{"CLF", "KWD", "USD", "JPY"} {
		if _, ok := events.CurrencyDigits(code); !ok {
			t.Fatalf("%s is not in the table of currencies", code)
		}
		c := newTestConverter(t, code, map[string]string{code: "100000000"})
		if got, err := c.convert(1, code); got != 1 || err != nil {
			t.Errorf("%s: %d, %v", code, got, err)
		}
	}
}
