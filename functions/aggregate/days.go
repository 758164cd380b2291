package aggregate

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"datasurge/events"
	"datasurge/functions/step"
)

// dayCounts is the collecting phase of merchant risk: transactions and frauds by
// merchant and day in one input partition. Like slices they are published
// cumulatively and written to the state when the journal is checked in.
type dayCounts struct {
	plan      *plan
	merchants map[string]*merchantDays
	oldest    int32 // days before are not kept
	unsaved   []*merchantDays
	unsent    []*merchantDays
	key       []byte
}

type merchantDays struct {
	merchant string
	days     []dayCount // by day
	sentAt   int64      // wall clock of the last partial, ms; 0 when there was none in this life
	urgent   bool       // a fraud came since
	unsaved  bool
	unsent   bool
	stored   bool
}

type dayCount struct {
	day           int32
	count, frauds int64
	published     int64 // version when it was last published
}

// version grows with every change.
func (d *dayCount) version() int64 { return d.count + d.frauds }

// countsEvery is how often, in ms of wall clock, a merchant's number of
// transactions is published when no fraud came: it changes a risk only slowly,
// and none at all while there are no frauds.
const countsEvery = 60 * second

func newDayCounts(p *plan) dayCounts {
	return dayCounts{plan: p, merchants: map[string]*merchantDays{}, oldest: math.MinInt32}
}

// add counts a transaction, or a fraud.
func (c *dayCounts) add(merchant string, day int32, fraud bool) {
	m := c.merchants[merchant]
	if m == nil {
		m = &merchantDays{merchant: strings.Clone(merchant)}
		c.merchants[m.merchant] = m
	}
	i := len(m.days) - 1
	if i < 0 || m.days[i].day != day { // nearly always it is the last day
		var found bool
		i, found = slices.BinarySearchFunc(m.days, day, func(d dayCount, day int32) int { return cmp.Compare(d.day, day) })
		if !found {
			m.days = slices.Insert(m.days, i, dayCount{day: day})
		}
	}
	if fraud {
		m.days[i].frauds++
		m.urgent = true
	} else {
		m.days[i].count++
	}
	if !m.unsaved {
		m.unsaved = true
		c.unsaved = append(c.unsaved, m)
	}
	if !m.unsent {
		m.unsent = true
		c.unsent = append(c.unsent, m)
	}
}

// tick publishes what is due and forgets days that are too old. It reports
// whether it forgot anything.
func (c *dayCounts) tick(tx step.Tx, partition int, watermark, now int64) bool {
	waiting := c.unsent[:0]
	for _, m := range c.unsent {
		every := countsEvery
		if m.urgent {
			every = second
		}
		if now-m.sentAt < every {
			waiting = append(waiting, m)
			continue
		}
		c.publish(tx, m, partition, now)
	}
	clear(c.unsent[len(waiting):])
	c.unsent = waiting

	if watermark == step.MinWatermark {
		return false
	}
	oldest := dayOf(watermark) - c.plan.retain
	if oldest <= c.oldest {
		return false
	}
	c.oldest = oldest
	forgot := false
	for _, m := range c.merchants {
		n := 0
		for n < len(m.days) && m.days[n].day < oldest {
			n++
		}
		if n == 0 {
			continue
		}
		forgot = true
		m.days = slices.Delete(m.days, 0, n)
		if !m.unsaved {
			m.unsaved = true
			c.unsaved = append(c.unsaved, m)
		}
		if len(m.days) == 0 {
			delete(c.merchants, m.merchant)
		}
	}
	return forgot
}

func (c *dayCounts) publish(tx step.Tx, m *merchantDays, partition int, now int64) {
	m.unsent, m.urgent, m.sentAt = false, false, now
	for i := range m.days {
		d := &m.days[i]
		if d.version() == d.published {
			continue
		}
		d.published = d.version()
		start := int64(d.day) * day
		e := events.NewPartial(&events.Partial{
			Dimension: dimMerchantDay, Value: m.merchant, Width: day, Start: start, From: start + day,
			Partition: partition, Version: d.version(), Count: d.count, Frauds: d.frauds,
		})
		tx.Emit(events.TopicPartials, &e)
	}
}

// checkIn writes what has changed to the state.
func (c *dayCounts) checkIn(tx step.Tx) {
	for i, m := range c.unsaved {
		c.unsaved[i] = nil
		m.unsaved = false
		c.key = appendMerchantKey(c.key[:0], kindDays, m.merchant)
		switch {
		case len(m.days) > 0:
			tx.Put(c.key, appendDays(nil, m.days))
			m.stored = true
		case m.stored:
			tx.Delete(c.key)
			m.stored = false
		}
	}
	c.unsaved = c.unsaved[:0]
}

// restore takes a merchant from the state.
func (c *dayCounts) restore(key, value []byte) error {
	days, err := parseDays(value)
	if err != nil {
		return err
	}
	m := &merchantDays{merchant: string(key[1:]), days: days, stored: true}
	c.merchants[m.merchant] = m
	if slices.ContainsFunc(days, func(d dayCount) bool { return d.published != d.version() }) {
		m.unsent = true
		c.unsent = append(c.unsent, m)
	}
	return nil
}

func (c *dayCounts) settle() {
	slices.SortFunc(c.unsent, func(a, b *merchantDays) int { return strings.Compare(a.merchant, b.merchant) })
}

func appendDays(dst []byte, days []dayCount) []byte {
	dst = append(dst, valueVersion)
	dst = binary.AppendUvarint(dst, uint64(len(days)))
	for i := range days {
		dst = binary.AppendVarint(dst, int64(days[i].day))
		dst = binary.AppendUvarint(dst, uint64(days[i].count))
		dst = binary.AppendUvarint(dst, uint64(days[i].frauds))
		dst = binary.AppendUvarint(dst, uint64(days[i].published))
	}
	return dst
}

func parseDays(data []byte) ([]dayCount, error) {
	d := newDecoder(data)
	days := make([]dayCount, d.Items())
	for i := range days {
		days[i] = dayCount{day: int32(d.Varint()), count: d.Positive(), frauds: d.Positive(), published: d.Positive()}
	}
	return days, d.end()
}
