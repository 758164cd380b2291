package generate

import "math/bits"

// segment is a stretch of the stream without a break: its transactions are due at
// even intervals from its origin. A pause that is too long to be made up for, and
// a change of configuration, begin a new one.
//
// A segment holds everything that its transactions are derived from, so that
// their labels can be derived again days later under another configuration.
type segment struct {
	first  uint64 // number of its first transaction
	origin int64  // wall clock in ns since the epoch; the first is due an interval later
	rate   uint64 // transactions in 1000 s
	model  model
}

// model is what the content of transactions depends on.
type model struct {
	seed      uint64
	customers uint32
	merchants uint32
	intensity uint32 // of fraud scenarios, in thousandths
}

// rateUnit is the number of ns in the 1000 s that rates are given for.
const rateUnit = 1e12

// due returns the number of the first transaction that is not due yet at now. It
// is a function of the elapsed time alone: no error adds up over time.
func (s segment) due(now int64) uint64 {
	if now <= s.origin {
		return s.first
	}
	hi, lo := bits.Mul64(uint64(now-s.origin), s.rate)
	count, _ := bits.Div64(hi, lo, rateUnit)
	return s.first + count
}

// time returns when transaction n is due, in ns since the epoch: the earliest now
// for which due is above n.
func (s segment) time(n uint64) int64 {
	hi, lo := bits.Mul64(n-s.first+1, rateUnit)
	elapsed, rest := bits.Div64(hi, lo, s.rate)
	if rest > 0 {
		elapsed++
	}
	return s.origin + int64(elapsed)
}
