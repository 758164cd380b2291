package outcome

import (
	"encoding/binary"
	"errors"
	"slices"

	"datasurge/functions/packed"
)

// AppendState appends the outcomes in a binary form of some six bytes each: their
// number, and for each the distance in time from the one before and, in one
// number, its kind and how much later than that one's it was known.
func (h *History) AppendState(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h.Outcomes)))
	var last, delay int64
	for _, o := range h.Outcomes {
		dst = binary.AppendVarint(dst, o.Time-last)
		dst = binary.AppendVarint(dst, (o.Known-o.Time-delay)<<2|int64(o.Kind))
		last, delay = o.Time, o.Known-o.Time
	}
	return dst
}

var errState = errors.New("the stored outcomes of a merchant are broken")

// ParseState reads what AppendState wrote into h.
func (h *History) ParseState(data []byte) error {
	h.Outcomes = nil
	r := packed.NewReader(data)
	count := r.Items()
	if count > Most {
		return errState
	}
	var last, delay int64
	for range count {
		last += r.Varint()
		x := r.Varint()
		delay += x >> 2
		if r.Failed() || delay < 0 || x&3 > int64(UnusualFraud) {
			return errState
		}
		h.Outcomes = append(h.Outcomes, Outcome{last, last + delay, Kind(x & 3)})
	}
	if !r.Done() || !slices.IsSortedFunc(h.Outcomes, compare) {
		return errState
	}
	return nil
}
