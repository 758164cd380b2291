package events

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// shortest is the text of f as strconv finds it.
func shortest(f float64) string {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.FormatFloat(f, format, -1, 64)
}

func checkFloat(t *testing.T, f float64) {
	t.Helper()
	if got, want := string(appendFloat(nil, f)), shortest(f); got != want {
		t.Errorf("appendFloat of %b is %s, want %s", f, got, want)
	}
}

func TestAppendFloat(t *testing.T) {
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, -0.1, 0.5, 1e-6, 0.999999, 0.000001, 9.9e-7, 1e-7, 123456.789012,
		99731.25, 999999999, 999999999.999999, 1e9, 1e9 + 0.5, 1e15, 1e20, 1e21, 1e22, -1e22,
		0.30000000000000004, 1.0 / 3, math.Pi, math.SmallestNonzeroFloat64,
	} {
		checkFloat(t, f)
		checkFloat(t, math.Nextafter(f, math.Inf(1)))
		checkFloat(t, math.Nextafter(f, math.Inf(-1)))
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := string(appendFloat(nil, f)); got != "0" {
			t.Errorf("appendFloat(%v) is %s, want 0", f, got)
		}
	}
}

// Numbers with few decimals, as they are rounded to in the pipeline, and their
// neighbours, which no short text stands for.
func TestAppendFloatOfFewDecimals(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		scale := math.Pow10(r.IntN(9))
		f := float64(r.Int64N(int64(math.Pow10(r.IntN(17))))) / scale
		if r.IntN(4) == 0 {
			f = -f
		}
		checkFloat(t, f)
		checkFloat(t, math.Nextafter(f, math.Inf(1)))
	}
}

func FuzzAppendFloat(f *testing.F) {
	for _, x := range []float64{0, 0.25, -3.1416, 1e9, 1e-6, 0.30000000000000004} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x float64) {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return
		}
		checkFloat(t, x)
	})
}

// Every byte at every place of a text, whose neighbours are the largest and the
// smallest that need no escape.
func TestIsPlain(t *testing.T) {
	for _, neighbour := range []string{" ", "~"} {
		for length := range 20 {
			for at := range length {
				for c := range 256 {
					text := []byte(strings.Repeat(neighbour, length))
					text[at] = byte(c)
					want := ' ' <= c && c < 0x7f && c != '"' && c != '\\'
					if got := isPlain(string(text)); got != want {
						t.Fatalf("isPlain(%q) is %v, want %v", text, got, want)
					}
				}
			}
		}
	}
}

func BenchmarkAppendFloat(b *testing.B) {
	for _, f := range []float64{3, 0.0025, 99731.25, 12.3456, math.Pi} {
		b.Run(shortest(f), func(b *testing.B) {
			dst := make([]byte, 0, 64)
			for b.Loop() {
				appendFloat(dst, f)
			}
		})
	}
}
