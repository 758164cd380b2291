package detect

import (
	"math"
	"time"
)

// windowSpec is the shape of one window of a profile. It is kept in panes of
// equal width, aligned to the epoch; the window of a transaction at t holds the
// pane of t and those before it back to the pane of t-length. So everything
// within the length is counted, and up to one pane's width of what is older.
type windowSpec struct {
	name   string
	length time.Duration
	pane   time.Duration
	sums   bool // whether amounts are summed too
}

// slots is the number of panes that a window keeps.
func (s *windowSpec) slots() int { return int(s.length/s.pane) + 1 }

// The windows of a profile, in the order in which they are stored.
const (
	minuteWindow = iota
	tenMinuteWindow
	dayWindow
	weekWindow
	monthWindow
	windowCount
)

// maxSlots is the largest slots() of windowSpecs.
const maxSlots = 13

// windowSpecs is part of the stored format: a change needs a new profile
// version. The panes are chosen so that the profile of a customer who pays once
// a second for a month fits 400 bytes.
//
//nolint:gochecknoglobals // a constant table
var windowSpecs = [windowCount]windowSpec{
	minuteWindow:    {"count1m", time.Minute, 5 * time.Second, false},
	tenMinuteWindow: {"count10m", 10 * time.Minute, time.Minute, false},
	dayWindow:       {"count1d", 24 * time.Hour, 2 * time.Hour, true},
	weekWindow:      {"count7d", 7 * 24 * time.Hour, 24 * time.Hour, true},
	monthWindow:     {"count30d", 30 * 24 * time.Hour, 3 * 24 * time.Hour, true},
}

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
	slots := spec.slots()
	if distance >= int64(slots) {
		clear(w[:slots])
		return
	}
	copy(w[distance:slots], w[:])
	clear(w[:distance])
}

// add counts a transaction at t; last is the time of the newest pane. What is
// older than the window is ignored.
func (w *panes) add(spec *windowSpec, last, t, amount int64) {
	slot := paneIndex(last, spec) - paneIndex(t, spec)
	if slot < int64(spec.slots()) {
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
	slot := paneIndex(last, spec) - paneIndex(t, spec)
	for ; slot < int64(spec.slots()); slot++ {
		count += float64(w[slot].count)
		sum += float64(w[slot].sum)
	}
	return count, sum
}

// paneIndex numbers panes; it rounds down for times before the epoch as well.
func paneIndex(t int64, spec *windowSpec) int64 {
	width := spec.pane.Milliseconds()
	index := t / width
	if t%width < 0 {
		index--
	}
	return index
}
