package events

import (
	"math"
	"math/big"
	"testing"
)

func TestFormatAmount(t *testing.T) {
	for _, test := range []struct {
		minor    int64
		decimals int
		want     string
	}{
		{0, 2, "0.00"},
		{5, 2, "0.05"},
		{-5, 2, "-0.05"},
		{99, 2, "0.99"},
		{100, 2, "1.00"},
		{-123456, 2, "-1234.56"},
		{7, 0, "7"},
		{-7, 0, "-7"},
		{7, 3, "0.007"},
		{12345, 4, "1.2345"},
		{math.MaxInt64, 2, "92233720368547758.07"},
		{math.MinInt64, 2, "-92233720368547758.08"},
		{math.MinInt64, 0, "-9223372036854775808"},
	} {
		if got := string(FormatAmount([]byte("x"), test.minor, test.decimals)); got != "x"+test.want {
			t.Errorf("%d with %d decimals is %s, want %s", test.minor, test.decimals, got[1:], test.want)
		}
	}
}

// FuzzParseAmount: an amount is accepted exactly when big.Rat says that it is a
// positive whole number of minor units within MaxAmount; then it is that number,
// and is so again when it is formatted and parsed.
func FuzzParseAmount(f *testing.F) {
	for _, seed := range []string{"0", "0.01", "12.340", "99999999999999.99", "1.005", "10000000000000.00", "10000000000000.01", "1e3", "-1", "00.1", ""} {
		f.Add(seed, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, decimals uint8) {
		decimals %= 5
		got, reason := parseAmount(text, "XYZ", int(decimals))
		plain := text != "" && (text[0] != '0' || len(text) == 1 || text[1] == '.')
		for i := range len(text) {
			plain = plain && (isDigit(text[i]) || text[i] == '.' && i > 0 && i < len(text)-1)
		}
		want, ok := new(big.Rat).SetString(text)
		ok = ok && plain
		if ok {
			want.Mul(want, new(big.Rat).SetInt64(int64(math.Pow10(int(decimals)))))
			ok = want.IsInt() && want.Sign() > 0 && want.Num().Cmp(big.NewInt(MaxAmount)) <= 0
		}
		if ok != (reason == "") {
			t.Fatalf("%q with %d decimals: %q", text, decimals, reason)
		}
		if !ok {
			return
		}
		if want.Num().Int64() != got {
			t.Fatalf("%q with %d decimals is %d, want %s", text, decimals, got, want.Num())
		}
		again, reason := parseAmount(string(FormatAmount(nil, got, int(decimals))), "XYZ", int(decimals))
		if again != got || reason != "" {
			t.Fatalf("%d formatted and parsed is %d %s", got, again, reason)
		}
	})
}

func BenchmarkFormatAmount(b *testing.B) {
	b.ReportAllocs()
	var dst [32]byte
	for b.Loop() {
		FormatAmount(dst[:0], 9973125, 2)
	}
}
