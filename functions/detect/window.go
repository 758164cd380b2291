package detect

import "math"

// windowSpec is the shape of one window of a profile. It is kept in panes of
// equal width, aligned to the epoch; the window of a transaction at t holds the
// pane of t and those before it back to the pane of t-length. So everything
// within the length is counted, and up to one pane's width of what is older.
type windowSpec struct {
	name   string
	length int64 // ms
	width  int64 // of a pane, ms
	slots  int   // number of panes kept: length/width + 1
	sums   bool  // whether amounts are summed too
}

// The windows of a profile, in the order in which they are stored.
const (
	minuteWindow = iota
	tenMinuteWindow
	dayWindow
	weekWindow
	monthWindow
	windowCount
)

// maxSlots is the most slots of windowSpecs.
const maxSlots = 13

// windowSpecs is part of the stored format: a change needs a new profile
// version. The panes are chosen so that the profile of a customer who pays once
// a second for a month fits 400 bytes.
//
//nolint:gochecknoglobals // a constant table
var windowSpecs = [windowCount]windowSpec{
	minuteWindow:    {name: "count1m", length: 60 * oneSecond, width: 5 * oneSecond, slots: 13},
	tenMinuteWindow: {name: "count10m", length: 600 * oneSecond, width: 60 * oneSecond, slots: 11},
	dayWindow:       {name: "count1d", length: oneDay, width: oneDay / 12, slots: 13, sums: true},
	weekWindow:      {name: "count7d", length: 7 * oneDay, width: oneDay, slots: 8, sums: true},
	monthWindow:     {name: "count30d", length: 30 * oneDay, width: 3 * oneDay, slots: 11, sums: true},
}

// In milliseconds.
const (
	oneSecond = int64(1000)
	oneDay    = 24 * 60 * 60 * oneSecond
)

// pane is a part of a window: how many transactions fell into it and the sum of
// their amounts in minor units. Both stay at their largest value rather than wrap.
type pane struct {
	count uint32
	sum   int64
}

func (p *pane) add(amount int64) {
	if p.count < math.MaxUint32 {
		p.count++
	}
	if p.sum > math.MaxInt64-amount {
		p.sum = math.MaxInt64
		return
	}
	p.sum += amount
}

// panes are the panes of one window, the newest first.
type panes [maxSlots]pane

// advance makes the pane of to, ms since the epoch, the newest one; from is the
// time that the newest pane stood for, not after to.
func (w *panes) advance(spec *windowSpec, from, to int64) {
	distance := paneIndex(to, spec) - paneIndex(from, spec)
	if distance == 0 {
		return
	}
	if distance >= int64(spec.slots) {
		clear(w[:spec.slots])
		return
	}
	copy(w[distance:spec.slots], w[:])
	clear(w[:distance])
}

// add counts a transaction at t; last is the time of the newest pane. What is
// older than the window is ignored.
func (w *panes) add(spec *windowSpec, last, t, amount int64) {
	slot := int64(0)
	if t != last {
		slot = paneIndex(last, spec) - paneIndex(t, spec)
	}
	if slot < int64(spec.slots) {
		if !spec.sums {
			amount = 0
		}
		w[slot].add(amount)
	}
}

// total sums the window of a transaction at t; last is the time of the newest
// pane. For a transaction out of order it leaves out the newer panes, and lacks
// the oldest ones, which are gone.
func (w *panes) total(spec *windowSpec, last, t int64) (count, sum float64) {
	slot := int64(0)
	if t != last {
		slot = paneIndex(last, spec) - paneIndex(t, spec)
	}
	for ; slot < int64(spec.slots); slot++ {
		count += float64(w[slot].count)
		sum += float64(w[slot].sum)
	}
	return count, sum
}

// paneIndex numbers panes; it rounds down for times before the epoch as well.
func paneIndex(t int64, spec *windowSpec) int64 {
	index := t / spec.width
	if t%spec.width < 0 {
		index--
	}
	return index
}
