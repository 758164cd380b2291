package aggregate

import (
	"encoding/binary"

	"datasurge/functions/step"
)

// Kinds of state keys.
const (
	kindPart    = step.FirstKind + iota // collect: part of a slice, as of the last checkpoint
	kindJournal                         // collect: what came since, by commit
	kindDays                            // collect: a merchant's daily counts in this partition
	kindSlot                            // merge: newest part of one partition
	kindResult                          // merge: what was emitted of an open window
	kindClosed                          // merge: up to where results are final
	kindRisk                            // merge: a merchant's daily counts in all partitions
)

// appendPartKey appends kind, dimension, value, and a tail of fixed length: grain,
// end of the first window that counts the part, in slices after its start, and
// start.
func appendPartKey(dst []byte, p *plan, d dimension, value string, grain int, start, from int64) []byte {
	dst = append(dst, kindPart, byte(d))
	dst = append(dst, value...)
	return appendSlice(dst, p, grain, start, from)
}

func appendSlice(dst []byte, p *plan, grain int, start, from int64) []byte {
	dst = append(dst, byte(grain))
	dst = binary.BigEndian.AppendUint32(dst, uint32((from-start)/p.grains[grain].Width))
	return step.AppendTime(dst, start)
}

const sliceTail = 1 + 4 + 8

func parsePartKey(p *plan, key []byte) (d dimension, value string, grain int, start, from int64) {
	value, tail := string(key[2:len(key)-sliceTail]), key[len(key)-sliceTail:]
	grain, start, from = parseSlice(p, tail)
	return dimension(key[1]), value, grain, start, from
}

func parseSlice(p *plan, tail []byte) (grain int, start, from int64) {
	grain, start = int(tail[0]), step.KeyTime(tail)
	return grain, start, start + int64(binary.BigEndian.Uint32(tail[1:]))*p.grains[grain].Width
}

// appendSlotKey appends kind, dimension, value, partition and the tail of a part.
func appendSlotKey(dst []byte, p *plan, d dimension, value string, grain int, start, from int64, partition int) []byte {
	dst = append(dst, kindSlot, byte(d))
	dst = append(dst, value...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	return appendSlice(dst, p, grain, start, from)
}

func parseSlotKey(p *plan, key []byte) (d dimension, value string, grain int, start, from int64, partition int) {
	rest, tail := key[2:len(key)-sliceTail], key[len(key)-sliceTail:]
	value, partition = string(rest[:len(rest)-4]), int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	grain, start, from = parseSlice(p, tail)
	return dimension(key[1]), value, grain, start, from, partition
}

// appendResultKey appends kind, dimension, value, number of the window's spec and
// its start.
func appendResultKey(dst []byte, d dimension, value string, spec int, start int64) []byte {
	dst = append(dst, kindResult, byte(d))
	dst = append(dst, value...)
	return step.AppendTime(append(dst, byte(spec)), start)
}

func appendJournalKey(dst []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, kindJournal), n)
}

func appendMerchantKey(dst []byte, kind byte, merchant string) []byte {
	return append(append(dst, kind), merchant...)
}
