package outcome

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The probability is that of the model that the constants are of, summed up over
// all that may have happened: abuse that began in any of many short spans, or none.
func TestAbuseIsBayes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const step = 1. / 256 // of a day
	for range 100 {
		var h History
		for range r.IntN(8) {
			// On the grid, so that no span is in part before a fraud.
			h.Add(at(50+float64(r.IntN(43*256))*step, Kind(r.IntN(3))))
		}
		const now = 100.
		likelihood := func(start float64) float64 { // of what is known, if abuse began then, rather than never
			x := 1.0
			for _, o := range h.Outcomes {
				when := float64(o.Time) / float64(day)
				switch {
				case now-when >= float64(Memory/day) || when <= start || o.Kind == UnusualFraud:
				case o.Kind == Genuine:
					return 0
				default:
					x /= straySurprise
				}
			}
			return x
		}
		var begun, active float64
		for start := now - float64(Memory/day) + step/2; start < now; start += step {
			x := abuseRate * step * likelihood(start)
			begun += x
			if start > now-abuseDays {
				active += x
			}
		}
		if got, want := h.At(now*day).Abused, active/(1+begun); math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v: probability %v, want %v", h.Outcomes, got, want)
		}
	}
}

func TestAbuseGrows(t *testing.T) {
	for _, test := range []struct {
		name        string
		less, right *History
	}{
		{"with the time since the last genuine transaction", history(at(90, Genuine)), history(at(80, Genuine))},
		{"by a fraud", history(at(80, Genuine)), history(at(80, Genuine), at(90, UsualFraud))},
		{"by a second fraud", history(at(80, Genuine), at(90, UsualFraud)), history(at(80, Genuine), at(88, UsualFraud), at(90, UsualFraud))},
		{"not by a stolen card", history(at(80, Genuine), at(92, UnusualFraud)), history(at(80, Genuine), at(90, UsualFraud))},
		{"not when it is over", history(at(66, Genuine), at(67, UsualFraud), at(70, UsualFraud)), history(at(80, Genuine), at(81, UsualFraud))},
		{"not when it was refuted", history(at(80, UsualFraud), at(81, UsualFraud), at(82, Genuine)), history()},
	} {
		t.Run(test.name, func(t *testing.T) {
			less, more := test.less.At(100*day).Abused, test.right.At(100*day).Abused
			if less >= more || less < 0 || more > 1 {
				t.Errorf("probabilities %v and %v", less, more)
			}
		})
	}
}

// As many frauds as are kept do not overflow.
func TestAbuseIsAProbability(t *testing.T) {
	h := history(at(74, Genuine))
	for i := range Most - 1 {
		h.Add(at(75+float64(i)*18/Most, UsualFraud))
	}
	if p := h.At(100 * day).Abused; !(p > 0.99 && p <= 1) {
		t.Errorf("probability %v after %d frauds", p, Most-1)
	}
}
