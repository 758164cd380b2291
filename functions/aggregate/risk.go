package aggregate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"datasurge/events"
	"datasurge/functions/step"
)

// risks is the merging phase of merchant risk: it has the daily counts of every
// partition for the merchants whose key this task owns, and publishes their risk
// when it changes.
type risks struct {
	plan       *plan
	partitions int
	merchants  map[string]*merchant
	lastDay    int32 // last day of the risk windows, MinInt32 before there is a watermark
	dirty      []*merchant
	key        []byte
}

type merchant struct {
	id        string
	days      []merchantDay // by day
	published [3]share      // what was last published; all zero when nothing was
	sentAt    int64         // wall clock of that, ms; 0 when it was not in this life
	dirty     bool
}

// merchantDay is one day of a merchant, by partition.
type merchantDay struct {
	day   int32
	parts []dayPart
}

type dayPart struct {
	partition     int
	count, frauds int64
}

// share is a number of transactions and how many of them were frauds.
type share struct{ count, frauds int64 }

func newRisks(p *plan, partitions int) *risks {
	return &risks{plan: p, partitions: partitions, merchants: map[string]*merchant{}, lastDay: math.MinInt32}
}

// take takes a partial of the dimension dimMerchantDay.
func (r *risks) take(tx step.Tx, p *events.Partial) error {
	switch {
	case p.Partition >= r.partitions:
		return &events.InvalidError{Path: "$.partition", Reason: "is none of " + events.TopicScored}
	case p.Width != day || p.Start%day != 0:
		return &events.InvalidError{Path: "$.start", Reason: "with width is no day"}
	case p.Value == "":
		return &events.InvalidError{Path: "$.value", Reason: "must not be empty"}
	}
	n := dayOf(p.Start)
	if n <= r.lastDayKept() {
		return nil // of a day that is no longer kept
	}
	m := r.merchants[p.Value]
	if m == nil {
		m = &merchant{id: strings.Clone(p.Value)}
		r.merchants[m.id] = m
	}
	if !m.put(n, dayPart{p.Partition, p.Count, p.Frauds}) {
		return nil
	}
	r.save(tx, m)
	r.touch(m)
	return nil
}

// lastDayKept is the last day that was forgotten.
func (r *risks) lastDayKept() int32 {
	if r.lastDay == math.MinInt32 {
		return math.MinInt32
	}
	return r.lastDay - int32(events.RiskDays(events.RiskMonth))
}

func (m *merchant) put(day int32, p dayPart) bool {
	i, found := slices.BinarySearchFunc(m.days, day, func(d merchantDay, day int32) int { return cmp.Compare(d.day, day) })
	if !found {
		m.days = slices.Insert(m.days, i, merchantDay{day: day})
	}
	d := &m.days[i]
	j, found := slices.BinarySearchFunc(d.parts, p, func(a, b dayPart) int { return cmp.Compare(a.partition, b.partition) })
	switch {
	case !found:
		d.parts = slices.Insert(d.parts, j, p)
	case p.count+p.frauds <= d.parts[j].count+d.parts[j].frauds:
		return false
	default:
		d.parts[j] = p
	}
	return true
}

func (r *risks) touch(m *merchant) {
	if !m.dirty {
		m.dirty = true
		r.dirty = append(r.dirty, m)
	}
}

func (r *risks) save(tx step.Tx, m *merchant) {
	r.key = appendMerchantKey(r.key[:0], kindRisk, m.id)
	if len(m.days) == 0 && m.published == [3]share{} {
		tx.Delete(r.key)
		delete(r.merchants, m.id)
		return
	}
	tx.Put(r.key, appendMerchant(nil, m))
}

// tick publishes the risks that changed, each at most once a second.
func (r *risks) tick(tx step.Tx, now int64) {
	watermark := tx.InputWatermark(events.TopicPartials)
	if watermark == step.MinWatermark {
		return
	}
	last, asOf := dayOf(watermark), watermark
	if r.plan.delay >= day {
		last = dayOf(watermark-r.plan.delay) - 1
		asOf = (int64(last) + 1) * day
	}
	if last > r.lastDay {
		r.lastDay = last
		for _, m := range r.merchants {
			r.touch(m)
		}
	}
	slices.SortFunc(r.dirty, func(a, b *merchant) int { return strings.Compare(a.id, b.id) })
	waiting := r.dirty[:0]
	for _, m := range r.dirty {
		if now-m.sentAt < second {
			waiting = append(waiting, m)
			continue
		}
		m.dirty = false
		r.publish(tx, m, asOf, now)
	}
	clear(r.dirty[len(waiting):])
	r.dirty = waiting
}

// publish emits m's risk if it is another than the last one. A merchant without
// frauds has no risk, and no record as long as it never had any.
func (r *risks) publish(tx step.Tx, m *merchant, asOf, now int64) {
	old := 0
	for old < len(m.days) && m.days[old].day <= r.lastDayKept() {
		old++
	}
	m.days = slices.Delete(m.days, 0, old)
	shares := m.shares(r.lastDay)
	if shares[events.RiskMonth].frauds == 0 {
		shares = [3]share{}
	}
	if shares == m.published {
		if old > 0 {
			r.save(tx, m)
		}
		return
	}
	m.published, m.sentAt = shares, now
	risk := events.MerchantRisk{MerchantID: m.id, AsOf: asOf}
	for i, s := range shares {
		risk.Windows[i] = events.RiskWindow{Count: s.count, Frauds: s.frauds}
		if s.count > 0 {
			risk.Windows[i].Risk = float64(s.frauds) / float64(s.count)
		}
	}
	e := events.NewRisk(&risk)
	// Up to the same day there can be several, with ever more counted.
	month := shares[events.RiskMonth]
	e.ID = fmt.Sprintf("%s/%d-%d", e.ID, month.count, month.frauds)
	tx.Emit(events.TopicRisk, &e)
	r.save(tx, m)
}

// shares sums up the windows that end with the day last.
func (m *merchant) shares(last int32) (shares [3]share) {
	for i := range m.days {
		d := &m.days[i]
		for w := range shares {
			if d.day > last || d.day <= last-int32(events.RiskDays(w)) {
				continue
			}
			for _, p := range d.parts {
				shares[w].count += p.count
				shares[w].frauds += p.frauds
			}
		}
	}
	for w := range shares {
		// Labels can be of transactions that were late, or before the first one
		// that was seen.
		shares[w].count = max(shares[w].count, shares[w].frauds)
	}
	return shares
}

// restore takes a merchant from the state. Whether its risk has changed is found
// out on the first Tick, which comes to a new last day.
func (r *risks) restore(key, value []byte) error {
	m, err := parseMerchant(string(key[1:]), value)
	if err != nil {
		return err
	}
	r.merchants[m.id] = m
	return nil
}

func appendMerchant(dst []byte, m *merchant) []byte {
	dst = append(dst, valueVersion)
	for _, s := range m.published {
		dst = binary.AppendUvarint(dst, uint64(s.count))
		dst = binary.AppendUvarint(dst, uint64(s.frauds))
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.days)))
	for _, d := range m.days {
		dst = binary.AppendVarint(dst, int64(d.day))
		dst = binary.AppendUvarint(dst, uint64(len(d.parts)))
		for _, p := range d.parts {
			dst = binary.AppendUvarint(dst, uint64(p.partition))
			dst = binary.AppendUvarint(dst, uint64(p.count))
			dst = binary.AppendUvarint(dst, uint64(p.frauds))
		}
	}
	return dst
}

func parseMerchant(id string, data []byte) (*merchant, error) {
	m := &merchant{id: id}
	d := newDecoder(data)
	for i := range m.published {
		m.published[i] = share{d.Positive(), d.Positive()}
	}
	m.days = make([]merchantDay, d.Items())
	for i := range m.days {
		m.days[i].day = int32(d.Varint())
		m.days[i].parts = make([]dayPart, d.Items())
		for j := range m.days[i].parts {
			m.days[i].parts[j] = dayPart{int(d.Positive()), d.Positive(), d.Positive()}
		}
	}
	return m, d.end()
}
