package outcome

import (
	"encoding/binary"
	"errors"
	"slices"
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
	broken := false
	next := func() int64 {
		x, n := binary.Varint(data)
		if n <= 0 {
			broken = true
			return 0
		}
		data = data[n:]
		return x
	}
	count, n := binary.Uvarint(data)
	if n <= 0 || count > Most {
		return errState
	}
	data = data[n:]
	var last, delay int64
	for range count {
		last += next()
		x := next()
		delay += x >> 2
		if broken || delay < 0 || x&3 > int64(UnusualFraud) {
			return errState
		}
		h.Outcomes = append(h.Outcomes, Outcome{last, last + delay, Kind(x & 3)})
	}
	if len(data) > 0 || !slices.IsSortedFunc(h.Outcomes, compare) {
		return errState
	}
	return nil
}
