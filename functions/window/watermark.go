package window

import "math"

// Closed returns the time up to which windows are closed: a window that ends at
// or before it takes nothing more, one that ends after it is open. An event is
// accepted by a window iff end + lateness > watermark, which is end > Closed.
//
// Watermarks at the lower end of int64 stand for "nothing seen yet"; nothing is
// closed then.
func Closed(watermark, lateness int64) int64 {
	if watermark < math.MinInt64+lateness {
		return math.MinInt64
	}
	return watermark - lateness
}
