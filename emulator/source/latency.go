package source

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies is a histogram of durations that may be written to concurrently. Its
// buckets are an eighth of a power of two wide, in microseconds.
type latencies struct{ counts [latencyBuckets]atomic.Uint64 }

const latencyBuckets = 64 * 8

func (l *latencies) add(d time.Duration) {
	l.counts[bucket(uint64(max(0, d.Microseconds())))].Add(1)
}

// bucket returns the index of the bucket of v: below 8 the value itself, else
// the position of the highest bit and the three bits after it.
func bucket(v uint64) int {
	if v < 8 {
		return int(v)
	}
	exponent := bits.Len64(v) - 1
	return (exponent-2)*8 + int(v>>(exponent-3)&7)
}

// upper returns the largest value in a bucket.
func upper(i int) time.Duration {
	if i < 8 {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/8 - 1
	return time.Duration((uint64(i%8)+9)<<shift-1) * time.Microsecond
}

// Latencies are the counts of a histogram at one moment.
type Latencies [latencyBuckets]uint64

func (l *latencies) snapshot() (s Latencies) {
	for i := range l.counts {
		s[i] = l.counts[i].Load()
	}
	return s
}

// Since returns what has come after an earlier moment.
func (s Latencies) Since(earlier Latencies) Latencies {
	for i := range s {
		s[i] -= earlier[i]
	}
	return s
}

// Plus returns the counts of both.
func (s Latencies) Plus(other Latencies) Latencies {
	for i := range s {
		s[i] += other[i]
	}
	return s
}

// Quantile returns the duration that a share q of all do not exceed, to an
// eighth. It is 0 when there are none.
func (s Latencies) Quantile(q float64) time.Duration {
	var total uint64
	for _, n := range s {
		total += n
	}
	rank := uint64(q * float64(total))
	var sum uint64
	for i, n := range s {
		sum += n
		if n > 0 && sum > rank || total > 0 && sum == total {
			return upper(i)
		}
	}
	return 0
}
