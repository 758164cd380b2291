package aggregate

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strings"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/window"
)

// merger is the second phase: it keeps the newest part of every partition for the
// series whose key this task owns, and merges them into windows.
type merger struct {
	plan       *plan
	bins       *window.Bins
	partitions int // of scored_transactions

	ledgers [dimensions]map[string]*ledger
	open    resultHeap // windows by end and key
	slices  sliceHeap  // slices by the end of the last window that needs them
	dirty   []*result  // windows that changed since they were last emitted
	closed  int64      // windows that end at or before have had their final result

	key []byte
	at  []float64
}

// ledger is what the owner of a series has of it.
type ledger struct {
	dim     dimension
	value   string
	key     string      // dimension|value
	slices  [][]*slice  // by grain, each by start
	results [][]*result // open windows by spec, each by start
}

// slice is one slice with the parts of all partitions.
type slice struct {
	ledger  *ledger
	grain   int
	start   int64
	lastEnd int64 // end of the last window that needs it
	slots   []slot
}

// slot is a part of one partition. Slots are ordered by from and partition: means
// and deviations are merged in the same order whatever order they came in.
type slot struct {
	from      int64
	partition int
	count     int64
	acc       []byte // encoded
}

func compareSlots(a, b slot) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.partition, b.partition))
}

// result is one open window of a series.
type result struct {
	ledger     *ledger
	spec       int
	start, end int64
	pane       int64 // of the next result
	count      int64 // transactions in the last one
	sentAt     int64 // wall clock of the last one, ms; 0 when there was none in this life
	dirty      bool  // is in merger.dirty
	final      bool
}

func newMerger(p *plan, bins *window.Bins, partitions int) *merger {
	m := &merger{plan: p, bins: bins, partitions: partitions, closed: math.MinInt64}
	for d := range m.ledgers {
		m.ledgers[d] = map[string]*ledger{}
	}
	return m
}

// closedNow is the time up to which windows take nothing more.
func (m *merger) closedNow(tx step.Tx) int64 {
	return max(m.closed, window.Closed(tx.InputWatermark(events.TopicPartials), m.plan.lateness))
}

// take takes one partial, whose dimension is not dimMerchantDay.
func (m *merger) take(tx step.Tx, p *events.Partial) error {
	d, grain, err := m.check(p)
	if err != nil {
		return err
	}
	g := &m.plan.grains[grain]
	closed := m.closedNow(tx)
	if g.LastEnd(p.Start) <= closed {
		return &step.LateError{Reason: "every window of the partial is final"}
	}
	l := m.ledgers[d][p.Value]
	if l == nil {
		l = m.newLedger(d, p.Value)
	}
	s := m.slice(l, grain, p.Start)
	if !s.put(slot{from: p.From, partition: p.Partition, count: p.Count, acc: p.State}) {
		return nil
	}
	m.key = appendSlotKey(m.key[:0], m.plan, d, l.value, grain, p.Start, p.From, p.Partition)
	tx.Put(m.key, p.State)
	for w := range g.Windows(p.Start, p.From) {
		if w.End > closed {
			m.touch(m.result(l, w))
		}
	}
	return nil
}

// check refuses what no collector of this configuration sends.
func (m *merger) check(p *events.Partial) (d dimension, grain int, err error) {
	d, ok := parseDimension(p.Dimension)
	if !ok {
		return 0, 0, &events.InvalidError{Path: "$.dimension", Reason: "is none that aggregate knows"}
	}
	if p.Partition >= m.partitions {
		return 0, 0, &events.InvalidError{Path: "$.partition", Reason: "is none of " + events.TopicScored}
	}
	grain = slices.IndexFunc(m.plan.grains, func(g window.Grain) bool {
		return g.Width == p.Width && g.Slice(p.Start) == p.Start
	})
	if grain < 0 {
		return 0, 0, &events.InvalidError{Path: "$.width", Reason: "with start is no slice of the configured windows"}
	}
	g := &m.plan.grains[grain]
	if from, ok := g.From(p.Start, p.From-1); !ok || from != p.From {
		return 0, 0, &events.InvalidError{Path: "$.from", Reason: "is not the end of a window of the slice"}
	}
	acc, err := window.ParseAcc(p.State)
	if err != nil {
		return 0, 0, &events.InvalidError{Path: "$.state", Reason: "cannot be read: " + err.Error()}
	}
	if acc.Count != p.Count || acc.Count == 0 || acc.Count != p.Version {
		return 0, 0, &events.InvalidError{Path: "$.count", Reason: "is not the count of the state"}
	}
	return d, grain, nil
}

func (m *merger) newLedger(d dimension, value string) *ledger {
	value = strings.Clone(value)
	l := &ledger{
		dim: d, value: value, key: d.String() + "|" + value,
		slices: make([][]*slice, len(m.plan.grains)), results: make([][]*result, len(m.plan.specs)),
	}
	m.ledgers[d][value] = l
	return l
}

// slice returns the slice of l that begins at start, a new one if there is none.
func (m *merger) slice(l *ledger, grain int, start int64) *slice {
	i, found := slices.BinarySearchFunc(l.slices[grain], start, func(s *slice, start int64) int { return cmp.Compare(s.start, start) })
	if found {
		return l.slices[grain][i]
	}
	s := &slice{ledger: l, grain: grain, start: start, lastEnd: m.plan.grains[grain].LastEnd(start)}
	l.slices[grain] = slices.Insert(l.slices[grain], i, s)
	heap.Push(&m.slices, s)
	return s
}

// put replaces the slot of the same partition if the new one is newer. Parts only
// grow, so the one with more transactions is.
func (s *slice) put(new slot) bool {
	i, found := slices.BinarySearchFunc(s.slots, new, compareSlots)
	switch {
	case !found:
		s.slots = slices.Insert(s.slots, i, new)
	case new.count <= s.slots[i].count:
		return false
	default:
		s.slots[i] = new
	}
	return true
}

// result returns the window of l, a new one if there is none.
func (m *merger) result(l *ledger, w window.Window) *result {
	i, found := slices.BinarySearchFunc(l.results[w.Spec], w.Start, func(r *result, start int64) int { return cmp.Compare(r.start, start) })
	if found {
		return l.results[w.Spec][i]
	}
	r := &result{ledger: l, spec: w.Spec, start: w.Start, end: w.End}
	l.results[w.Spec] = slices.Insert(l.results[w.Spec], i, r)
	heap.Push(&m.open, r)
	return r
}

func (m *merger) touch(r *result) {
	if !r.dirty {
		r.dirty = true
		m.dirty = append(m.dirty, r)
	}
}

// tick emits updates that are due and the final results of all windows that are
// closed, and forgets what no window needs any more.
func (m *merger) tick(tx step.Tx, now int64) error {
	closed := m.closedNow(tx)
	waiting := m.dirty[:0]
	for _, r := range m.dirty {
		switch {
		case r.final || r.end <= closed:
			r.dirty = false
		case now-r.sentAt < m.plan.updateEvery[r.spec]:
			waiting = append(waiting, r)
		default:
			r.dirty, r.sentAt = false, now
			if err := m.emit(tx, r); err != nil {
				return err
			}
		}
	}
	clear(m.dirty[len(waiting):])
	m.dirty = waiting

	for len(m.open) > 0 && m.open[0].end <= closed {
		r := heap.Pop(&m.open).(*result)
		r.final = true
		if err := m.emit(tx, r); err != nil {
			return err
		}
		m.forgetResult(tx, r)
		if m.closed != closed {
			m.closed = closed
			tx.Put([]byte{kindClosed}, appendClosed(nil, closed))
		}
	}
	for len(m.slices) > 0 && m.slices[0].lastEnd <= closed {
		m.forgetSlice(tx, heap.Pop(&m.slices).(*slice))
	}
	return nil
}

// emit merges the parts of the window and emits the result.
func (m *merger) emit(tx step.Tx, r *result) error {
	l := r.ledger
	acc := &window.Acc{}
	if l.dim.sketched() {
		acc = window.NewSketched()
	}
	for g := range m.plan.grains {
		if !slices.Contains(m.plan.grains[g].Index, r.spec) {
			continue
		}
		i, _ := slices.BinarySearchFunc(l.slices[g], r.start, func(s *slice, start int64) int { return cmp.Compare(s.start, start) })
		for ; i < len(l.slices[g]) && l.slices[g][i].start < r.end; i++ {
			for _, slot := range l.slices[g][i].slots {
				if slot.from > r.end {
					break
				}
				if err := acc.MergeEncoded(slot.acc); err != nil {
					return fmt.Errorf("merge the window of %s that starts at %d: %w", l.key, r.start, err)
				}
			}
		}
	}
	a := events.Aggregate{
		Dimension: l.dim.String(), Value: l.value, Window: m.plan.names[r.spec], Start: r.start, End: r.end,
		Pane: r.pane, Final: r.final, Currency: m.plan.base,
		Count: acc.Count, Anomalies: acc.Anomalies, Sum: acc.Sum, Overflow: acc.Overflow,
		Min: acc.Min, Max: acc.Max, Mean: acc.Mean(), StdDev: acc.StdDev(),
	}
	if l.dim == dimCurrency {
		a.Currency = l.value
	}
	if a.Overflow && a.Final {
		m.plan.observer.SumOverflow(a.Dimension)
	}
	if l.dim.sketched() {
		m.at = acc.Quantiles.Values(m.at[:0], m.bins, 0.5, 0.9, 0.95, 0.99)
		// A quantile is the middle of its bin, which may lie beyond all values.
		for i, p := range []*int64{&a.P50, &a.P90, &a.P95, &a.P99} {
			*p = min(max(int64(math.Round(m.at[i])), acc.Min), acc.Max)
		}
		a.Sketched, a.Customers = true, int64(acc.Distinct.Estimate())
	}
	e := events.NewAggregate(&a)
	tx.Emit(events.TopicAggregates, &e)
	r.pane++
	r.count = acc.Count
	if !r.final {
		tx.Put(m.resultKey(r), appendResult(nil, r.pane, r.count))
	}
	return nil
}

func (m *merger) resultKey(r *result) []byte {
	m.key = appendResultKey(m.key[:0], r.ledger.dim, r.ledger.value, r.spec, r.start)
	return m.key
}

func (m *merger) forgetResult(tx step.Tx, r *result) {
	l := r.ledger
	l.results[r.spec] = slices.DeleteFunc(l.results[r.spec], func(other *result) bool { return other == r })
	if r.pane > 1 { // an update was emitted before the final result, and noted
		tx.Delete(m.resultKey(r))
	}
}

func (m *merger) forgetSlice(tx step.Tx, s *slice) {
	l := s.ledger
	for _, slot := range s.slots {
		m.key = appendSlotKey(m.key[:0], m.plan, l.dim, l.value, s.grain, s.start, slot.from, slot.partition)
		tx.Delete(m.key)
	}
	l.slices[s.grain] = slices.DeleteFunc(l.slices[s.grain], func(other *slice) bool { return other == s })
	for _, left := range l.slices {
		if len(left) > 0 {
			return
		}
	}
	delete(m.ledgers[l.dim], l.value)
}

// restoreSlot takes a slot from the state.
func (m *merger) restoreSlot(key, value []byte) error {
	d, name, grain, start, from, partition := parseSlotKey(m.plan, key)
	count, err := window.EncodedCount(value)
	if err != nil {
		return err
	}
	l := m.ledgers[d][name]
	if l == nil {
		l = m.newLedger(d, name)
	}
	m.slice(l, grain, start).put(slot{from: from, partition: partition, count: count, acc: value})
	return nil
}

// settle builds the windows of the slots that were restored: those that are not
// final yet. noted is what the state says of windows, by their keys.
func (m *merger) settle(noted map[string][]byte) error {
	for _, s := range m.slices {
		for _, slot := range s.slots {
			for w := range m.plan.grains[s.grain].Windows(s.start, slot.from) {
				if w.End > m.closed {
					m.result(s.ledger, w).count += slot.count
				}
			}
		}
	}
	for _, r := range m.open {
		now := r.count
		r.count = 0
		if value, ok := noted[string(m.resultKey(r))]; ok {
			var err error
			if r.pane, r.count, err = parseResult(value); err != nil {
				return err
			}
		}
		if r.count != now {
			m.touch(r)
		}
	}
	slices.SortFunc(m.dirty, compareResults)
	return nil
}

func compareResults(a, b *result) int {
	return cmp.Or(cmp.Compare(a.end, b.end), strings.Compare(a.ledger.key, b.ledger.key), cmp.Compare(a.spec, b.spec))
}

// resultHeap has the window that ends next on top; of several the first by key.
type resultHeap []*result

func (h resultHeap) Len() int           { return len(h) }
func (h resultHeap) Less(i, j int) bool { return compareResults(h[i], h[j]) < 0 }
func (h resultHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *resultHeap) Push(x any)        { *h = append(*h, x.(*result)) }
func (h *resultHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}

// sliceHeap has the slice that is needed for the shortest time on top.
type sliceHeap []*slice

func (h sliceHeap) Len() int           { return len(h) }
func (h sliceHeap) Less(i, j int) bool { return h[i].lastEnd < h[j].lastEnd }
func (h sliceHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sliceHeap) Push(x any)        { *h = append(*h, x.(*slice)) }
func (h *sliceHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
