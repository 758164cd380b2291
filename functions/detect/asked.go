package detect

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
)

// askedSlots is how many panes are kept of a window that rules ask for.
const askedSlots = rules.Panes + 1

// mostDistinct is how many different values a distinct window tells apart. More
// count as that many: a rule that wants to know about a hundred would find out
// no more, and the window has to stay below 300 bytes.
const mostDistinct = 48

// windowID is rules.Window.ID as bytes.
type windowID [8]byte

func parseWindowID(s string) windowID {
	var id windowID
	if n, err := hex.Decode(id[:], []byte(s)); err != nil || n != len(id) {
		panic(fmt.Sprintf("detect: window id %q", s)) // rules makes them
	}
	return id
}

func (id windowID) String() string { return hex.EncodeToString(id[:]) }

// askedPane is a part of a window: how many transactions fell into it and what
// the aggregate keeps of their numbers, in ten thousandths.
type askedPane struct {
	count uint32
	value int64
}

func (p *askedPane) add(aggregate rules.Aggregate, value int64) {
	switch {
	case p.count == 0:
		p.value = value
	case aggregate == rules.Min:
		p.value = min(p.value, value)
	case aggregate == rules.Max:
		p.value = max(p.value, value)
	default:
		p.value = addSaturated(p.value, value)
	}
	if p.count < math.MaxUint32 {
		p.count++
	}
}

// merge adds other, a pane of another task.
func (p *askedPane) merge(aggregate rules.Aggregate, other askedPane) {
	if other.count == 0 {
		return
	}
	count := uint64(p.count) + uint64(other.count)
	p.add(aggregate, other.value)
	p.count = uint32(min(count, math.MaxUint32))
}

// addSaturated stays at the largest and the smallest number rather than wrap.
func addSaturated(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

// seenValue is a value of a distinct window: its hash, and the pane in which it
// was seen last.
type seenValue struct {
	hash uint32
	pane int64
}

// series is one window of one customer or merchant.
type series struct {
	id        windowID
	aggregate rules.Aggregate
	newest    int64 // number of the newest pane, from the epoch
	panes     [askedSlots]askedPane
	seen      []seenValue // of distinct: no value twice; panes is not used
}

func (s *series) reset(id windowID, aggregate rules.Aggregate) {
	*s = series{id: id, aggregate: aggregate, newest: math.MinInt64, seen: s.seen[:0]}
}

// empty says that nothing was added yet.
func (s *series) empty() bool { return s.newest == math.MinInt64 }

// add counts a transaction in pane. One that is older than the window is not
// counted.
func (s *series) add(pane, value int64, hash uint32) {
	if s.empty() {
		s.newest = pane
	}
	if pane > s.newest {
		s.advance(pane)
	}
	slot := s.newest - pane
	switch {
	case slot >= askedSlots:
	case s.aggregate == rules.Distinct:
		s.see(hash, pane)
	default:
		s.panes[slot].add(s.aggregate, value)
	}
}

func (s *series) advance(pane int64) {
	distance := pane - s.newest
	s.newest = pane
	if s.aggregate == rules.Distinct {
		s.seen = slices.DeleteFunc(s.seen, func(v seenValue) bool { return pane-v.pane >= askedSlots })
		return
	}
	if distance >= askedSlots {
		clear(s.panes[:])
		return
	}
	copy(s.panes[distance:], s.panes[:])
	clear(s.panes[:distance])
}

// see remembers a value; when there is no room, in place of the one that was
// seen longest ago.
func (s *series) see(hash uint32, pane int64) {
	oldest := 0
	for i := range s.seen {
		if s.seen[i].hash == hash {
			s.seen[i].pane = max(s.seen[i].pane, pane)
			return
		}
		if s.seen[i].pane < s.seen[oldest].pane {
			oldest = i
		}
	}
	if len(s.seen) < mostDistinct {
		s.seen = append(s.seen, seenValue{hash, pane})
	} else if s.seen[oldest].pane <= pane {
		s.seen[oldest] = seenValue{hash, pane}
	}
}

// total is what a window holds: of one task, or of several after merge.
type total struct {
	aggregate rules.Aggregate
	pane      askedPane
	seen      []uint32
}

func (t *total) reset(aggregate rules.Aggregate) {
	t.aggregate, t.pane, t.seen = aggregate, askedPane{}, t.seen[:0]
}

// merge adds the window of s for a transaction in pane: that pane and those
// before it which the window reaches, as far as they are kept.
func (t *total) merge(s *series, pane int64) {
	if s.empty() {
		return
	}
	for i := range s.seen {
		if p := s.seen[i].pane; p <= pane && pane-p < askedSlots && !slices.Contains(t.seen, s.seen[i].hash) {
			t.seen = append(t.seen, s.seen[i].hash)
		}
	}
	if s.aggregate == rules.Distinct {
		return
	}
	for p := max(s.newest-askedSlots+1, pane-askedSlots+1); p <= min(s.newest, pane); p++ {
		t.pane.merge(t.aggregate, s.panes[s.newest-p])
	}
}

// count adds a transaction that no pane holds, because it came too late for its
// window: it counts itself alone.
func (t *total) count(value int64, hash uint32) {
	if t.aggregate == rules.Distinct {
		t.seen = append(t.seen, hash)
		return
	}
	t.pane.add(t.aggregate, value)
}

// holdsNothing says that no transaction is in the window.
func (t *total) holdsNothing() bool { return t.pane.count == 0 && len(t.seen) == 0 }

// value is the window's value in rules: 0 when nothing is in it.
func (t *total) value() float64 {
	switch t.aggregate {
	case rules.Count:
		return float64(t.pane.count)
	case rules.Distinct:
		return float64(min(len(t.seen), mostDistinct))
	case rules.Mean:
		if t.pane.count == 0 {
			return 0
		}
		return round(float64(t.pane.value) / float64(t.pane.count) / askedUnit)
	}
	return round(float64(t.pane.value) / askedUnit)
}

// askedUnit is one in the fixed-point numbers of windows.
const askedUnit = 1e4

func fixedPoint(x float64) int64 {
	x = math.Round(x * askedUnit)
	switch {
	case x >= math.MaxInt64:
		return math.MaxInt64
	case x <= math.MinInt64:
		return math.MinInt64
	case x != x:
		return 0
	}
	return int64(x)
}

func valueHash(s string) uint32 { return uint32(xxhash.Sum64String(s)) }

// askedVersion begins the encoded windows of a customer or merchant.
const askedVersion = 1

// askedRecord is the state value of a customer's or a merchant's windows,
// encoded, as it is kept in memory:
//
//	version      1 byte
//	unpublished  1 byte: of a merchant, whether other tasks have to be told
//	currency     3 bytes: that of amounts
//	windows      each:
//	  id         8 bytes
//	  aggregate  1 byte
//	  newest     varint
//	  panes      1 byte for the number of panes up to the last one that is not
//	             empty, each: count, and when it is not 0 in a window that is no
//	             count: value
//	  or values  of distinct: 1 byte for their number, each: hash 4 bytes,
//	             1 byte for the panes since
type askedRecord struct{ data []byte }

const (
	askedHeader      = 5
	askedUnpublished = 1 // place of the byte
)

func askedCodec() step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte { return append(dst, v.(*askedRecord).data...) },
		Parse: func(data []byte) (any, error) {
			var windows askedWindows
			if err := windows.decode(data); err != nil {
				return nil, fmt.Errorf("windows of rules: %w", err)
			}
			return &askedRecord{slices.Clone(data)}, nil
		},
	}
}

// askedWindows is an askedRecord decoded; its memory is used again.
type askedWindows struct {
	currency [3]byte
	list     []series
}

// next returns a series to fill.
func (w *askedWindows) next() *series {
	n := len(w.list)
	if n < cap(w.list) {
		w.list = w.list[:n+1] // with the memory of an earlier one
	} else {
		w.list = append(w.list, series{})
	}
	return &w.list[n]
}

func (w *askedWindows) find(id windowID) *series {
	for i := range w.list {
		if w.list[i].id == id {
			return &w.list[i]
		}
	}
	return nil
}

func (s *series) append(dst []byte) []byte {
	dst = append(dst, s.id[:]...)
	dst = append(dst, byte(s.aggregate))
	dst = binary.AppendVarint(dst, s.newest)
	if s.aggregate == rules.Distinct {
		dst = append(dst, byte(len(s.seen)))
		for _, v := range s.seen {
			dst = binary.LittleEndian.AppendUint32(dst, v.hash)
			dst = append(dst, byte(s.newest-v.pane))
		}
		return dst
	}
	used := askedSlots
	for used > 0 && s.panes[used-1].count == 0 {
		used--
	}
	dst = append(dst, byte(used))
	for _, p := range s.panes[:used] {
		dst = binary.AppendUvarint(dst, uint64(p.count))
		if p.count > 0 && s.aggregate != rules.Count {
			dst = binary.AppendVarint(dst, p.value)
		}
	}
	return dst
}

var errAsked = errors.New("the encoding is broken")

// decode replaces w by the record encoded in data.
func (w *askedWindows) decode(data []byte) error {
	w.list = w.list[:0]
	switch {
	case len(data) == 0:
		return errAsked
	case data[0] > askedVersion:
		return fmt.Errorf("version %d: %w", data[0], step.ErrNewerVersion)
	case data[0] != askedVersion || len(data) < askedHeader || data[askedUnpublished] > 1:
		return errAsked
	}
	copy(w.currency[:], data[2:askedHeader])
	r := newReader(data, askedHeader)
	for r.Left() > 0 {
		if len(w.list) == maxAskedWindows {
			return errAsked
		}
		w.next().read(&r)
	}
	if r.Failed() {
		return errAsked
	}
	return nil
}

// maxAskedWindows bounds the windows in one record.
const maxAskedWindows = 255

func (s *series) read(r *reader) {
	var id windowID
	for i := range id {
		id[i] = r.Byte()
	}
	aggregate := rules.Aggregate(r.Byte())
	s.reset(id, aggregate)
	if s.newest = r.Varint(); s.newest < math.MinInt64+askedSlots || aggregate > rules.Distinct {
		r.Fail()
		return
	}
	if aggregate == rules.Distinct {
		for range r.length(mostDistinct) {
			hash := r.Uint32()
			s.seen = append(s.seen, seenValue{hash, s.newest - int64(r.length(askedSlots-1))})
		}
		return
	}
	used := r.length(askedSlots)
	for slot := range used {
		count := r.Uvarint()
		if count > math.MaxUint32 {
			r.Fail()
			return
		}
		s.panes[slot].count = uint32(count)
		if count > 0 && aggregate != rules.Count {
			s.panes[slot].value = r.Varint()
		}
	}
	if used > 0 && s.panes[used-1].count == 0 {
		r.Fail()
	}
}
