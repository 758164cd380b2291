package aggregate

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/window"
)

// collector is the first phase: it adds the transactions of one input partition
// to slices and publishes them.
type collector struct {
	plan      *plan
	bins      *window.Bins
	partition int

	series  [dimensions]map[string]*series
	open    partHeap // by the end of the first window that counts them
	unsaved []*part  // changed since they were last written to the state
	unsent  []*part  // changed since they were last published
	days    dayCounts

	journal journal
	row     row // the event being collected, reused
	starts  []int64
	scored  events.Scored
	label   events.Label
	key     []byte
	value   []byte
}

// series is the parts of one value of one dimension that are open.
type series struct {
	dim   dimension
	value string
	parts []*part
}

// part is what this partition knows of a slice, for the windows that end at from
// or later.
type part struct {
	series      *series
	acc         window.Acc
	start, from int64
	published   int64 // the accumulator's Count when it was last published
	sentAt      int64 // wall clock of that, ms; 0 when it was not in this life
	grain       uint8
	unsaved     bool // is in collector.unsaved
	unsent      bool // is in collector.unsent
	stored      bool // has a value in the state
	closed      bool
}

func newCollector(p *plan, bins *window.Bins, partition int) *collector {
	c := &collector{plan: p, bins: bins, partition: partition, days: newDayCounts(p)}
	for d := range c.series {
		c.series[d] = map[string]*series{}
	}
	return c
}

// collect takes one scored transaction.
func (c *collector) collect(tx step.Tx, e *events.Event) error {
	t := &c.scored
	if err := events.ParseVerdict(e.Data, t); err != nil {
		return err
	}
	if t.BaseCurrency != c.plan.base {
		return &events.InvalidError{
			Path:   "$.baseCurrency",
			Reason: "is " + t.BaseCurrency + ", but sums are kept in " + c.plan.base + "; configure aggregate as enrich",
		}
	}
	if err := tx.Observe(t.Time); err != nil {
		return err
	}
	r := &c.row
	*r = row{
		time: t.Time, from: r.from[:0], merchant: t.MerchantID,
		user: xxhash.Sum64String(t.UserID), amount: t.Amount, base: t.BaseAmount, anomaly: t.Flagged,
		currency: t.Currency, category: cmp.Or(t.Category, unknownValue), country: cmp.Or(t.Country, unknownValue),
		direction: t.Type, payment: t.PaymentMethod, rules: r.rules[:0],
	}
	closed := window.Closed(tx.InputWatermark(events.TopicScored), c.plan.lateness)
	late := true
	for g := range c.plan.grains {
		grain := &c.plan.grains[g]
		from, ok := grain.From(grain.Slice(t.Time), closed)
		if !ok {
			from = notCounted
		}
		late = late && !ok
		r.from = append(r.from, from)
	}
	if late {
		return &step.LateError{Reason: "every window of the transaction is closed"}
	}
	for i := range t.Rules {
		if id := t.Rules[i].ID; !slices.Contains(r.rules, id) {
			r.rules = append(r.rules, id)
		}
	}
	c.note(tx)
	return nil
}

// collectLabel takes one label. Only frauds are counted, on the day of the
// transaction; those of days that are no longer kept are passed over.
func (c *collector) collectLabel(tx step.Tx, e *events.Event) error {
	l := &c.label
	if err := events.ParseLabel(e.Data, l); err != nil {
		return err
	}
	if err := tx.Observe(l.LabelTime); err != nil {
		return err
	}
	if !l.Fraud || dayOf(l.TransactionTime) < c.days.oldest {
		return nil
	}
	c.row = row{time: l.TransactionTime, merchant: l.MerchantID, fraud: true, from: c.row.from[:0], rules: c.row.rules[:0]}
	c.note(tx)
	return nil
}

// note writes the row to the journal and adds it.
func (c *collector) note(tx step.Tx) {
	c.journal.add(tx, func(dst []byte) []byte { return c.row.append(dst, c.plan) })
	c.apply()
}

// apply adds the row to everything that it counts for.
func (c *collector) apply() {
	r := &c.row
	c.days.add(r.merchant, dayOf(r.time), r.fraud)
	if r.fraud {
		return
	}
	c.starts = c.starts[:0]
	for g := range c.plan.grains {
		c.starts = append(c.starts, c.plan.grains[g].Slice(r.time))
	}
	v := window.Value{Amount: r.base, Bin: c.bins.Of(r.base), User: r.user, Anomaly: r.anomaly}
	own := v
	if r.amount != r.base {
		own.Amount, own.Bin = r.amount, c.bins.Of(r.amount)
	}
	c.add(dimAll, allValue, &v)
	c.add(dimCurrency, r.currency, &own)
	c.add(dimMerchant, r.merchant, &v)
	c.add(dimCategory, r.category, &v)
	c.add(dimCountry, r.country, &v)
	c.add(dimType, r.direction, &v)
	c.add(dimPayment, r.payment, &v)
	for _, rule := range r.rules {
		c.add(dimRule, rule, &v)
	}
}

func (c *collector) add(d dimension, value string, v *window.Value) {
	s := c.series[d][value]
	if s == nil {
		s = c.newSeries(d, value)
	}
	for g, from := range c.row.from {
		if from == notCounted {
			continue
		}
		p := s.find(uint8(g), c.starts[g], from)
		if p == nil {
			p = c.newPart(s, uint8(g), c.starts[g], from)
			if d.sketched() {
				p.acc = *window.NewSketched()
			}
		}
		p.acc.Add(*v)
		if !p.unsaved {
			p.unsaved = true
			c.unsaved = append(c.unsaved, p)
		}
		if !p.unsent {
			p.unsent = true
			c.unsent = append(c.unsent, p)
		}
	}
}

// newSeries clones value, which may be a piece of a whole record.
func (c *collector) newSeries(d dimension, value string) *series {
	s := &series{dim: d, value: strings.Clone(value)}
	c.series[d][s.value] = s
	return s
}

func (c *collector) newPart(s *series, grain uint8, start, from int64) *part {
	p := &part{series: s, grain: grain, start: start, from: from}
	s.parts = append(s.parts, p)
	heap.Push(&c.open, p)
	return p
}

// find returns a part; the newest, which most events are for, stand at the end.
func (s *series) find(grain uint8, start, from int64) *part {
	for i := len(s.parts) - 1; i >= 0; i-- {
		if p := s.parts[i]; p.start == start && p.from == from && p.grain == grain {
			return p
		}
	}
	return nil
}

// publishBudget bounds the partials of merchants' parts still under way that one
// Tick publishes: there may be very many merchants, and their updates come less
// often then, rather than the owners spending all their time on them. Those that
// have waited longest go first.
const publishBudget = 12

// tick publishes what is due, and what the watermark has passed in any case, and
// forgets parts that nothing can be added to any more.
func (c *collector) tick(tx step.Tx, now int64) {
	watermark := tx.InputWatermark(events.TopicScored)
	waiting, budget := c.unsent[:0], publishBudget
	for _, p := range c.unsent {
		if complete := p.start+c.plan.grains[p.grain].Width <= watermark; !complete {
			bounded := p.series.dim == dimMerchant
			if bounded && budget == 0 || now-p.sentAt < c.plan.publishEvery[p.grain] {
				waiting = append(waiting, p)
				continue
			}
			if bounded {
				budget--
			}
		}
		c.publish(tx, p, now)
	}
	clear(c.unsent[len(waiting):])
	c.unsent = waiting

	closed := window.Closed(watermark, c.plan.lateness)
	forgot := false
	for len(c.open) > 0 && c.open[0].from <= closed {
		c.forget(tx, heap.Pop(&c.open).(*part))
		forgot = true
	}
	if c.days.tick(tx, c.partition, watermark, now) {
		forgot = true
	}
	// The journal speaks only of what is open.
	if forgot || c.journal.due(now) {
		c.checkIn(tx)
	}
}

func (c *collector) publish(tx step.Tx, p *part, now int64) {
	p.unsent, p.published, p.sentAt = false, p.acc.Count, now
	c.value = p.acc.Append(c.value[:0])
	e := events.NewPartial(&events.Partial{
		Dimension: p.series.dim.String(), Value: p.series.value,
		Width: c.plan.grains[p.grain].Width, Start: p.start, From: p.from,
		Partition: c.partition, Version: p.acc.Count, Count: p.acc.Count, State: c.value,
	})
	tx.Emit(events.TopicPartials, &e)
}

func (c *collector) forget(tx step.Tx, p *part) {
	p.closed = true
	s := p.series
	s.parts = slices.DeleteFunc(s.parts, func(other *part) bool { return other == p })
	if len(s.parts) == 0 {
		delete(c.series[s.dim], s.value)
	}
	if p.stored {
		tx.Delete(c.partKey(p))
	}
}

// checkIn writes everything that the journal is about to the state, and clears
// the journal.
func (c *collector) checkIn(tx step.Tx) {
	for i, p := range c.unsaved {
		c.unsaved[i] = nil
		p.unsaved = false
		if p.closed {
			continue
		}
		p.stored = true
		c.value = appendPart(c.value[:0], p.published, &p.acc)
		tx.Put(c.partKey(p), slices.Clone(c.value))
	}
	c.unsaved = c.unsaved[:0]
	c.days.checkIn(tx)
	c.journal.clear(tx)
}

func (c *collector) partKey(p *part) []byte {
	c.key = appendPartKey(c.key[:0], c.plan, p.series.dim, p.series.value, int(p.grain), p.start, p.from)
	return c.key
}

// restorePart takes a part from the state.
func (c *collector) restorePart(key, value []byte) error {
	d, name, grain, start, from := parsePartKey(c.plan, key)
	published, data, err := parsePart(value)
	if err != nil {
		return err
	}
	acc, err := parseAcc(data)
	if err != nil {
		return err
	}
	s := c.series[d][name]
	if s == nil {
		s = c.newSeries(d, name)
	}
	p := c.newPart(s, uint8(grain), start, from)
	p.acc, p.published, p.stored = *acc, published, true
	if p.unsent = p.published != p.acc.Count; p.unsent {
		c.unsent = append(c.unsent, p)
	}
	return nil
}

// replay adds the rows of a journal. Its parts must have been restored.
func (c *collector) replay(entries map[uint32]*journalEntry) error {
	for n := range uint32(len(entries)) {
		entry := entries[n]
		if entry == nil {
			return errValue
		}
		d := newDecoder(entry.data)
		for d.Left() > 0 {
			if c.row.parse(&d, c.plan); d.Failed() {
				return d.problem()
			}
			c.apply()
		}
		c.journal.bytes += len(entry.data)
	}
	c.journal.entries = uint32(len(entries))
	return nil
}

// settle brings what came from the state, in no particular order, into one.
func (c *collector) settle() {
	slices.SortFunc(c.unsent, func(a, b *part) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.series.dim, b.series.dim),
			strings.Compare(a.series.value, b.series.value), cmp.Compare(a.grain, b.grain), cmp.Compare(a.from, b.from))
	})
	c.days.settle()
}

// partHeap has the part that closes next on top.
type partHeap []*part

func (h partHeap) Len() int           { return len(h) }
func (h partHeap) Less(i, j int) bool { return h[i].from < h[j].from }
func (h partHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *partHeap) Push(x any)        { *h = append(*h, x.(*part)) }
func (h *partHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
