package aggregate

import (
	"encoding/binary"
	"math"

	"datasurge/functions/step"
)

// journal holds what was collected since the slices were last written to the
// state: one value per commit. A value grows during its commit and is left alone
// after it.
type journal struct {
	entry   *journalEntry // of the commit under way, nil when nothing came yet
	commit  uint64
	entries uint32 // number of values in the state
	bytes   int    // in all of them
	since   int64  // wall clock of the first, ms
	key     []byte
}

type journalEntry struct{ data []byte }

// A journal is checked in, with the slices that it is about, when it has grown
// to this size, or this old in ms of wall clock.
const (
	journalBytes = 1 << 20
	journalAge   = 10 * second
)

// add writes one row.
func (j *journal) add(tx step.Tx, write func(dst []byte) []byte) {
	if j.entry == nil || j.commit != tx.Commit() {
		if j.entries == 0 {
			j.since = tx.Now().UnixMilli()
		}
		size := 256
		if j.entry != nil {
			size = max(size, len(j.entry.data))
		}
		j.entry = &journalEntry{data: append(make([]byte, 0, size), valueVersion)}
		j.commit = tx.Commit()
		j.key = appendJournalKey(j.key[:0], j.entries)
		j.entries++
	}
	before := len(j.entry.data)
	j.entry.data = write(j.entry.data)
	j.bytes += len(j.entry.data) - before
	tx.Put(j.key, j.entry)
}

// due reports whether the journal has to be checked in.
func (j *journal) due(now int64) bool {
	return j.bytes >= journalBytes || j.entries > 0 && now-j.since >= journalAge
}

// clear forgets everything: it has been checked in.
func (j *journal) clear(tx step.Tx) {
	for n := range j.entries {
		j.key = appendJournalKey(j.key[:0], n)
		tx.Delete(j.key)
	}
	j.entry, j.entries, j.bytes = nil, 0, 0
}

// row is what collecting keeps of one event: enough to add it again.
type row struct {
	time      int64   // of the transaction
	from      []int64 // by grain: end of the first window that counts it, notCounted for none
	merchant  string
	fraud     bool // the row is a label that says fraud: only time and merchant are set
	user      uint64
	amount    int64
	base      int64
	anomaly   bool
	currency  string
	category  string
	country   string
	direction string // transactionType
	payment   string
	rules     []string
}

const notCounted = math.MinInt64

// Kinds of rows.
const (
	rowTransaction = 0
	rowAnomaly     = 1
	rowFraud       = 2
)

func (r *row) append(dst []byte, p *plan) []byte {
	kind := byte(rowTransaction)
	switch {
	case r.fraud:
		kind = rowFraud
	case r.anomaly:
		kind = rowAnomaly
	}
	dst = append(dst, kind)
	dst = binary.AppendVarint(dst, r.time)
	dst = appendText(dst, r.merchant)
	if r.fraud {
		return dst
	}
	for g := range p.grains {
		// 0 for none, 1 for the first window of all, and so on in slices.
		n := uint64(0)
		if r.from[g] != notCounted {
			n = 1 + uint64((r.from[g]-p.grains[g].Slice(r.time))/p.grains[g].Width)
		}
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.LittleEndian.AppendUint64(dst, r.user)
	dst = binary.AppendVarint(dst, r.amount)
	dst = binary.AppendVarint(dst, r.base)
	for _, text := range [...]string{r.currency, r.category, r.country, r.direction, r.payment} {
		dst = appendText(dst, text)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.rules)))
	for _, rule := range r.rules {
		dst = appendText(dst, rule)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parse reads what append wrote.
func (r *row) parse(d *decoder, p *plan) {
	*r = row{from: r.from[:0], rules: r.rules[:0]}
	kind := d.Byte()
	if kind > rowFraud {
		d.Fail()
	}
	if d.Failed() {
		return
	}
	r.fraud, r.anomaly = kind == rowFraud, kind == rowAnomaly
	r.time = d.Varint()
	r.merchant = d.Text()
	if r.fraud {
		return
	}
	for g := range p.grains {
		from := int64(notCounted)
		if n := d.Uvarint(); n > 0 {
			from = p.grains[g].Slice(r.time) + int64(n-1)*p.grains[g].Width
		}
		r.from = append(r.from, from)
	}
	r.user = d.Uint64()
	r.amount, r.base = d.Varint(), d.Varint()
	for _, text := range [...]*string{&r.currency, &r.category, &r.country, &r.direction, &r.payment} {
		*text = d.Text()
	}
	for range d.Items() {
		r.rules = append(r.rules, d.Text())
	}
}

// check reads all rows.
func (e *journalEntry) check(p *plan) error {
	var r row
	d := newDecoder(e.data)
	for d.Left() > 0 {
		r.parse(&d, p)
	}
	return d.problem()
}
