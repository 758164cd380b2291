package handbook

import (
	"math"
	"math/bits"
)

// numpy draws as numpy's RandomState does, whose stream is frozen.
type numpy struct {
	mt19937
	second  float64 // of the last pair of normal numbers
	waiting bool    // whether second is still to be returned
}

// seed is RandomState.seed with a number.
func (r *numpy) seed(s uint32) {
	r.mt19937.seed(s)
	r.waiting = false
}

// uniform draws from [low, high).
func (r *numpy) uniform(low, high float64) float64 {
	return low + float64((high-low)*r.double())
}

// normal draws by Marsaglia's polar method, which makes two numbers at a time.
func (r *numpy) normal(mean, deviation float64) float64 {
	if r.waiting {
		r.waiting = false
		return mean + float64(deviation*r.second)
	}
	for {
		x1, x2 := float64(2*r.double())-1, float64(2*r.double())-1
		square := float64(x1*x1) + float64(x2*x2)
		if square >= 1 || square == 0 {
			continue
		}
		f := math.Sqrt(float64(-2*math.Log(square)) / square)
		r.second, r.waiting = f*x1, true
		return mean + float64(deviation*float64(f*x2))
	}
}

// poisson draws by multiplication, which numpy does for means below 10. limit is
// exp(-mean).
func (r *numpy) poisson(limit float64) int {
	n := 0
	for product := r.double(); product > limit; product *= r.double() {
		n++
	}
	return n
}

// interval draws from 0 to most, both included, by rejection.
func (r *numpy) interval(most uint32) uint32 {
	mask := uint32(1)<<bits.Len32(most) - 1
	for {
		if x := r.uint32() & mask; x <= most {
			return x
		}
	}
}

// sample returns count different numbers below n: the head of a permutation.
func (r *numpy) sample(n, count int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := r.interval(uint32(i))
		order[i], order[j] = order[j], order[i]
	}
	return order[:count:count]
}
