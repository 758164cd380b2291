package events

import (
	"slices"
	"strings"
	"testing"
)

func TestCurrencyDigits(t *testing.T) {
	counts := map[int]int{}
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			for c := 'A'; c <= 'Z'; c++ {
				if digits, ok := CurrencyDigits(string([]rune{a, b, c})); ok {
					counts[digits]++
				}
			}
		}
	}
	for digits, want := range map[int]int{0: 17, 2: 139, 3: 7, 4: 2} {
		if counts[digits] != want {
			t.Errorf("%d currencies have %d decimals, want %d", counts[digits], digits, want)
		}
	}

	for _, test := range []struct {
		digits int
		codes  string
	}{
		{2, "USD EUR GBP CHF CNY INR BRL HUF"},
		// Codes that lists made before 2018 do not have.
		{2, "VES VED MRU STN SLE XCG ZWG XAD"},
		// Currencies whose minor unit is not in use, but in the standard.
		{2, "MGA IDR LBP COP CRC IRR"},
		{0, "JPY KRW CLP VND ISK UGX XOF XAF XPF UYI PYG"},
		{3, "BHD IQD JOD KWD LYD OMR TND"},
		{4, "CLF UYW"},
	} {
		for code := range strings.FieldsSeq(test.codes) {
			if digits, ok := CurrencyDigits(code); !ok || digits != test.digits {
				t.Errorf("%s has %d decimals (known: %v), want %d", code, digits, ok, test.digits)
			}
		}
	}

	withdrawn := "HRK BGN VEF VEB BYR BYB ANG CUC SLL ZWL ZWD ZMK MRO STD LTL LVL EEK DEM FRF ITL TRL GHC SKK USS CSD GWP SVD"
	without := "XAU XAG XPT XPD XDR XSU XUA XTS XXX XBA XBB XBC XBD"
	malformed := "usd Usd US USDX $ EURO 840"
	for code := range strings.FieldsSeq(withdrawn + " " + without + " " + malformed) {
		if _, ok := CurrencyDigits(code); ok {
			t.Errorf("%s is taken for a currency", code)
		}
	}
	if slices.ContainsFunc([]string{"", "   ", "USD "}, func(code string) bool { _, ok := CurrencyDigits(code); return ok }) {
		t.Error("an empty code, or one with a space, is taken for a currency")
	}
}
