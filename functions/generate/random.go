package generate

import "math/rand/v2"

// mix returns a well spread function of its arguments (the finalizer of
// SplitMix64, chained): a random number that is known without drawing those
// before it.
func mix(values ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range values {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// What mix is asked for; the second argument, after the seed.
const (
	drawTransaction = iota
	drawCustomer
	drawMerchant
	drawRound
	drawTrip
	drawPhase
	drawID
	drawEpisode // plus the scenario
)

// source is a random number generator that can be set to the draws of any
// transaction.
type source struct {
	*rand.Rand
	pcg *rand.PCG
}

func newSource() source {
	pcg := rand.NewPCG(0, 0)
	return source{Rand: rand.New(pcg), pcg: pcg}
}

// pick returns an index below n, the smaller ones more often.
func (s source) pick(n int) int { return min(s.IntN(n), s.IntN(n)) }

// between returns a number in [low, high).
func (s source) between(low, high float64) float64 { return low + (high-low)*s.Float64() }
