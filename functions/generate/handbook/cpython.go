package handbook

import (
	"math"
	"math/bits"
)

// cpython draws as CPython's module random does.
type cpython struct{ mt19937 }

// seed is random.seed with a number.
func (r *cpython) seed(s uint32) { r.seedArray(s) }

// below draws from [0, n) by rejection. n is at least 1.
func (r *cpython) below(n int) int {
	shift := 32 - bits.Len32(uint32(n))
	for {
		if x := int(r.uint32() >> shift); x < n {
			return x
		}
	}
}

// sample returns count different numbers below n, in the order of random.sample:
// small populations are shuffled, of large ones numbers are drawn until they are
// new.
func (r *cpython) sample(n, count int) []int {
	picked := make([]int, 0, count)
	enough := 21 // where a set takes less memory than a list
	if count > 5 {
		enough += 1 << (2 * int(math.Ceil(math.Log(float64(count*3))/math.Log(4))))
	}
	if n <= enough {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for left := n; len(picked) < count; left-- {
			j := r.below(left)
			picked = append(picked, pool[j])
			pool[j] = pool[left-1]
		}
		return picked
	}
	seen := make(map[int]bool, count)
	for len(picked) < count {
		if j := r.below(n); !seen[j] {
			seen[j] = true
			picked = append(picked, j)
		}
	}
	return picked
}
