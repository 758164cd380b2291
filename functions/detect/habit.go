package detect

import (
	"math"

	"datasurge/functions/outcome"
)

const (
	// minUsual is how many purchases have to be known before one is unusual.
	minUsual = 3
	// habitDays is how many days unusual purchases are remembered, the latest one
	// included.
	habitDays = 15
)

// habit is what a customer usually pays, and how often it was far more lately. An
// unusual amount counts as the largest usual one, so that what a thief spends does
// not become usual at once, and what the customer spends does in the end.
type habit struct {
	n   uint64
	sum int64 // minor units; stays at its largest value rather than wrap
	// unusual is the number of unusual purchases by day (UTC), the day of the
	// latest transaction first. They stay at 255.
	unusual [habitDays]uint8
}

// mean is the usual amount in minor units, 0 before the first purchase.
func (h *habit) mean() float64 {
	if h.n == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.n)
}

// limit is the largest usual amount.
func (h *habit) limit() int64 {
	if h.n < minUsual {
		return math.MaxInt64
	}
	return int64(min(outcome.UnusualRatio*h.mean(), math.MaxInt64/2))
}

// ratio is amount over the usual amount, 1 before the first purchase.
func (h *habit) ratio(amount int64) float64 {
	if h.sum == 0 {
		return 1
	}
	return round(min(float64(amount)/h.mean(), mostUsualRatio))
}

// mostUsualRatio bounds ratio.
const mostUsualRatio = 1e6

// advance makes the day of to the newest; from is the time that the newest day
// stood for, not after to.
func (h *habit) advance(from, to int64) {
	distance := dayOf(to) - dayOf(from)
	switch {
	case distance == 0:
	case distance >= habitDays:
		clear(h.unusual[:])
	default:
		copy(h.unusual[distance:], h.unusual[:])
		clear(h.unusual[:distance])
	}
}

// add counts a purchase at t; last is the time that the newest day stands for.
func (h *habit) add(last, t, amount int64) {
	if limit := h.limit(); amount > limit {
		amount = limit
		if slot := dayOf(last) - dayOf(t); slot < habitDays && h.unusual[slot] < math.MaxUint8 {
			h.unusual[slot]++
		}
	}
	h.n++
	if h.sum += amount; h.sum < 0 {
		h.sum = math.MaxInt64
	}
}

// unusualBefore is the number of unusual purchases that were added of the day of t
// and the 14 days before; last is the time that the newest day stands for.
func (h *habit) unusualBefore(last, t int64) float64 {
	distance := dayOf(t) - dayOf(last)
	var sum float64
	for slot, n := range h.unusual {
		if age := int64(slot) + distance; age >= 0 && age < habitDays {
			sum += float64(n)
		}
	}
	return sum
}

func dayOf(t int64) int64 {
	d := t / oneDay
	if t%oneDay < 0 {
		d--
	}
	return d
}
