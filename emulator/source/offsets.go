package source

import "slices"

// partition is what is known of one partition's records that were received:
// which are done, and so how far the group's position may go. The zero value is
// not usable; see newPartition. It is guarded by the dispatcher's mutex.
type partition struct {
	topic  string
	number int32
	// waiting are the records from the first that is not done on, in the order
	// of their offsets.
	waiting []progress
	// next is the position: the first offset that is not known to be done. A
	// gap (an aborted record, a marker, a compacted record) is done.
	next int64
	// committed is the position that was last committed, at first that of the
	// first record.
	committed int64
	// end is the offset after the last record that was received.
	end int64
}

type progress struct {
	offset int64
	done   bool
}

func newPartition(topic string, number int32, next int64) *partition {
	return &partition{topic: topic, number: number, next: next, committed: next, end: next}
}

// received notes that the record at offset is being worked on. Offsets only grow.
func (p *partition) received(offset int64) {
	if len(p.waiting) == 0 {
		p.next = offset
	}
	p.waiting = append(p.waiting, progress{offset: offset})
	p.end = offset + 1
}

// done notes that the record at offset is delivered, dead or lost. An offset
// that was not received is ignored.
func (p *partition) done(offset int64) {
	i, ok := slices.BinarySearchFunc(p.waiting, offset, func(w progress, o int64) int { return int(w.offset - o) })
	if !ok {
		return
	}
	p.waiting[i].done = true
	if i > 0 {
		return
	}
	n := 0
	for n < len(p.waiting) && p.waiting[n].done {
		n++
	}
	p.waiting = slices.Delete(p.waiting, 0, n)
	p.next = p.end
	if len(p.waiting) > 0 {
		p.next = p.waiting[0].offset
	}
}
