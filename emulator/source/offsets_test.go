package source

import (
	"math/rand/v2"
	"testing"
)

// TestPartition: whatever the order in which records end, the position is the
// first offset that is not done, gaps counting as done.
func TestPartition(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := newPartition("t", 0, 10)
		var offsets []int64 // received
		done := make(map[int64]bool)
		next := int64(10)
		for range 200 {
			if rng.IntN(2) == 0 {
				next += rng.Int64N(3) // a gap of up to two
				p.received(next)
				offsets = append(offsets, next)
				next++
			} else if len(offsets) > 0 {
				o := offsets[rng.IntN(len(offsets))]
				p.done(o)
				done[o] = true
			}
			want := p.end
			for _, o := range offsets {
				if !done[o] {
					want = o
					break
				}
			}
			if p.next != want {
				t.Fatalf("seed %d: position %d, want %d", seed, p.next, want)
			}
		}
		p.done(1 << 40) // never received
		if len(p.waiting) > len(offsets) {
			t.Fatalf("seed %d: %d records wait", seed, len(p.waiting))
		}
	}
}
