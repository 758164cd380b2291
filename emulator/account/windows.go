package account

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/window"
)

// windows compares the counts of slices and windows with the scored
// transactions.
type windows struct {
	specs    []window.Spec
	grains   []window.Grain
	lateness int64
	from     int64 // slices and windows that start before are not compared

	scoredIn map[slice]int64 // scored transactions by slice, without those that aggregate refused
	mayLack  map[slice]int64 // of which by the watermarks on them may have been too late for the slice
	marks    map[int32]int64 // highest watermark so far by partition of scored_transactions

	parts   map[uint64]int64 // latest count of each part of each partition and series, by hash
	counted map[part]int64   // their sums
	seen    map[uint64]seen  // results by hash of series and window
	finals  map[of]int64     // sums of the final counts of a dimension's values
	whole   map[span]seen    // results of the dimension all
	doubled int64            // results that are there twice or follow a final one
	dims    map[string]bool  // dimensions that were seen in partials
}

// slice is one slice of a grain.
type slice struct {
	grain int
	start int64
}

// part is what one dimension counts of a slice for the windows from an end on.
type part struct {
	dimension string
	slice
	from int64
}

// span is one window.
type span struct {
	spec  int
	start int64
}

// of is one window of a dimension.
type of struct {
	dimension string
	span
}

// seen is the latest result of one window of one series.
type seen struct {
	pane  int64
	count int64
	final bool
}

// allDimension is the dimension that every transaction counts for, with one value.
const allDimension = "all"

// countsEach reports whether every transaction counts for one value of the
// dimension. For rules it counts as often as they fired, and days of merchants
// also count labels.
func countsEach(dimension string) bool { return dimension != "rule" && dimension != "merchant_day" }

func newWindows(o *Options) *windows {
	if len(o.Windows) == 0 {
		return nil
	}
	return &windows{
		specs: o.Windows, grains: window.Grains(o.Windows), lateness: o.Lateness.Milliseconds(), from: o.WindowsFrom,
		scoredIn: make(map[slice]int64), mayLack: make(map[slice]int64), marks: make(map[int32]int64),
		parts: make(map[uint64]int64), counted: make(map[part]int64), seen: make(map[uint64]seen),
		finals: make(map[of]int64), whole: make(map[span]seen), dims: map[string]bool{allDimension: true},
	}
}

// scored takes an event of a partition of scored_transactions.
func (w *windows) scored(partition int32, e *events.Event) {
	mark, ok := w.marks[partition]
	if !ok {
		mark = math.MinInt64
	}
	if own, ok := watermarkOf(e); ok {
		mark = max(mark, own)
	}
	w.marks[partition] = mark
	closed := window.Closed(mark, w.lateness)
	for g := range w.grains {
		s := slice{g, w.grains[g].Slice(e.Time.UnixMilli())}
		w.scoredIn[s]++
		if w.grains[g].LastEnd(s.start) <= closed {
			w.mayLack[s]++
		}
	}
}

// refused takes a scored transaction that aggregate did not take.
func (w *windows) refused(e *events.Event) {
	for g := range w.grains {
		w.scoredIn[slice{g, w.grains[g].Slice(e.Time.UnixMilli())}]--
	}
}

// partial takes an event of aggregate_partials. It is cumulative, and may come
// again.
func (w *windows) partial(e *events.Event) {
	var p events.Partial
	if events.ParsePartial(e.Data, &p) != nil || !countsEach(p.Dimension) {
		return
	}
	g := slices.IndexFunc(w.grains, func(g window.Grain) bool { return g.Width == p.Width && g.Slice(p.Start) == p.Start })
	version := strings.LastIndexByte(e.ID, '|')
	if g < 0 || version < 0 {
		return
	}
	hash := xxhash.Sum64String(e.ID[:version])
	more := p.Count - w.parts[hash]
	if more <= 0 {
		return
	}
	w.parts[hash] = p.Count
	if !w.dims[p.Dimension] {
		w.dims[strings.Clone(p.Dimension)] = true
	}
	key := part{p.Dimension, slice{g, p.Start}, p.From}
	if _, ok := w.counted[key]; !ok {
		key.dimension = strings.Clone(p.Dimension) // not the whole record
	}
	w.counted[key] += more
}

// result takes an event of transaction_aggregates.
func (w *windows) result(e *events.Event) {
	var a events.Aggregate
	if events.ParseAggregate(e.Data, &a) != nil {
		return
	}
	spec := slices.IndexFunc(w.specs, func(s window.Spec) bool { return s.String() == a.Window })
	if spec < 0 {
		return
	}
	hash := xxhash.Sum64String(e.Key)
	last, ok := w.seen[hash]
	if ok && (last.final || a.Pane <= last.pane) {
		w.doubled++
		return
	}
	now := seen{pane: a.Pane, count: a.Count, final: a.Final}
	w.seen[hash] = now
	at := span{spec, a.Start}
	if a.Dimension == allDimension {
		w.whole[at] = now
	}
	if a.Final && countsEach(a.Dimension) {
		key := of{a.Dimension, at}
		if _, ok := w.finals[key]; !ok {
			key.dimension = strings.Clone(a.Dimension)
		}
		w.finals[key] += a.Count
	}
}

// Windows is the account of aggregate.
type Windows struct {
	Final int64 `json:"final"` // windows of the whole with a final result
	Open  int64 `json:"open"`  // without
	// TooLate are transactions that came too late for some of their windows.
	TooLate int64 `json:"tooLate"`
	// Missing and Doubled are transactions that slices, final results, or the
	// latest results of open windows count too few or too many; Doubled also
	// counts results that are there twice.
	Missing int64 `json:"missing"`
	Doubled int64 `json:"doubled"`
	// Wrong names some of the windows that are not right.
	Wrong []string `json:"wrong,omitempty"`
}

// namedWindows is how many windows are named.
const namedWindows = 5

func (w *windows) compare() (result Windows, hop Hop) {
	hop = Hop{Name: "aggregate"}
	result.Doubled = w.doubled
	wrong := func(got, want int64, name func() string) {
		if got == want {
			return
		}
		result.Missing += max(0, want-got)
		result.Doubled += max(0, got-want)
		if len(result.Wrong) < namedWindows {
			result.Wrong = append(result.Wrong, name())
		}
	}
	inSlice := make(map[of]int64) // of.span holds grain and start of the slice
	for p, n := range w.counted {
		inSlice[of{p.dimension, span{p.grain, p.start}}] += n
	}
	for _, s := range w.sortedSlices(inSlice) {
		if s.start < w.from {
			continue
		}
		want := w.scoredIn[s]
		for _, d := range sorted(w.dims) {
			got := inSlice[of{d, span{s.grain, s.start}}]
			lack := min(max(0, want-got), w.mayLack[s])
			if d == allDimension {
				result.TooLate += lack
				if s.grain == 0 {
					hop.In, hop.Out, hop.Late = hop.In+want, hop.Out+got, hop.Late+lack
				}
			}
			wrong(got+lack, want, func() string { return sliceName(d, &w.grains[s.grain], s.start, got, want-lack) })
		}
	}
	parts := w.wholeParts()
	last := int64(math.MinInt64) // end of the last window that is final
	for at, r := range w.whole {
		if r.final {
			last = max(last, at.start+w.specs[at.spec].Size)
		}
	}
	for _, at := range w.spans() {
		r, end := w.whole[at], at.start+w.specs[at.spec].Size
		if at.start < w.from {
			continue
		}
		want, all := w.merged(at, parts)
		if r.final {
			result.Final++
			result.TooLate += all - want
			for _, d := range sorted(w.dims) {
				if got := w.finals[of{d, at}]; d != allDimension {
					wrong(got, r.count, func() string { return windowName(d, w.specs[at.spec], at.start, got, r.count) })
				}
			}
		} else {
			result.Open++
		}
		if !r.final && end <= last {
			wrong(0, want, func() string {
				return windowName("no final result of "+allDimension, w.specs[at.spec], at.start, 0, want)
			})
			continue
		}
		wrong(r.count, want, func() string { return windowName(allDimension, w.specs[at.spec], at.start, r.count, want) })
	}
	hop.Missing, hop.Doubled = result.Missing, result.Doubled
	return result, hop
}

// merged returns how many transactions the parts of the whole have that the
// window counts, and how many all parts of its slices have. parts are those that
// wholeParts returned.
func (w *windows) merged(at span, parts map[slice]map[int64]int64) (counted, all int64) {
	end := at.start + w.specs[at.spec].Size
	for g := range w.grains {
		if !slices.Contains(w.grains[g].Index, at.spec) {
			continue
		}
		for start := at.start; start < end; start += w.grains[g].Width {
			for from, n := range parts[slice{g, start}] {
				all += n
				if from <= end {
					counted += n
				}
			}
		}
	}
	return counted, all
}

// wholeParts returns what the whole counts of each slice, by the end of the first
// window that counts it.
func (w *windows) wholeParts() map[slice]map[int64]int64 {
	parts := make(map[slice]map[int64]int64)
	for p, n := range w.counted {
		if p.dimension != allDimension {
			continue
		}
		if parts[p.slice] == nil {
			parts[p.slice] = make(map[int64]int64)
		}
		parts[p.slice][p.from] += n
	}
	return parts
}

// spans are the windows of everything that was counted or has a result, in their
// order.
func (w *windows) spans() []span {
	set := make(map[span]bool)
	for at := range w.whole {
		set[at] = true
	}
	for p := range w.counted {
		if p.dimension != allDimension {
			continue
		}
		for at := range w.grains[p.grain].Windows(p.start, p.from) {
			set[span{at.Spec, at.Start}] = true
		}
	}
	list := make([]span, 0, len(set))
	for at := range set {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), a.spec-b.spec) })
	return list
}

func (w *windows) sortedSlices(counted map[of]int64) []slice {
	set := make(map[slice]bool)
	for s := range w.scoredIn {
		set[s] = true
	}
	for at := range counted {
		set[slice{at.spec, at.start}] = true
	}
	list := make([]slice, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b slice) int { return cmp.Or(cmp.Compare(a.start, b.start), a.grain-b.grain) })
	return list
}
