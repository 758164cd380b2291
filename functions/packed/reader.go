// Package packed reads the values that functions keep in their changelogs: numbers
// as encoding/binary writes them, and texts and lists behind their lengths. Writing
// needs no package: the Append functions of encoding/binary do it.
package packed

import (
	"encoding/binary"
	"math"
)

// Reader takes values off the front of a slice, which it does not change. After the
// first that is not there it has failed: everything that it returns from then on is
// zero, so that only the end has to be looked at, with [Reader.Failed] or
// [Reader.Done].
type Reader struct {
	data   []byte
	next   int
	failed bool
}

// NewReader returns a Reader of data.
func NewReader(data []byte) Reader { return Reader{data: data} }

// Failed reports whether something was not there, or Fail was called.
func (r *Reader) Failed() bool { return r.failed }

// Done reports whether everything was read and nothing failed.
func (r *Reader) Done() bool { return !r.failed && r.next == len(r.data) }

// Left returns the number of bytes that are to be read.
func (r *Reader) Left() int { return len(r.data) - r.next }

// Fail says that what was read cannot be.
func (r *Reader) Fail() { r.next, r.failed = len(r.data), true }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.next >= len(r.data) {
		r.Fail()
		return 0
	}
	b := r.data[r.next]
	r.next++
	return b
}

// Bytes reads n bytes, which are part of the Reader's; nil when there are fewer.
func (r *Reader) Bytes(n uint64) []byte {
	if n > uint64(r.Left()) {
		r.Fail()
		return nil
	}
	b := r.data[r.next : r.next+int(n) : r.next+int(n)]
	r.next += int(n)
	return b
}

// Rest reads all that is left.
func (r *Reader) Rest() []byte { return r.Bytes(uint64(r.Left())) }

// Uvarint is binary.Uvarint without making a slice for each number, which halves
// the time of values that are mostly numbers.
func (r *Reader) Uvarint() uint64 {
	var x uint64
	shift := 0
	for i := r.next; i < len(r.data); i++ {
		b := r.data[i]
		if b < 0x80 {
			if shift == 63 && b > 1 {
				break
			}
			r.next = i + 1
			return x | uint64(b)<<shift
		}
		x |= uint64(b&0x7f) << shift
		if shift += 7; shift > 63 {
			break
		}
	}
	r.Fail()
	return 0
}

// Varint reads what binary.AppendVarint wrote.
func (r *Reader) Varint() int64 {
	x := r.Uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// Positive reads a Uvarint that fits an int64.
func (r *Reader) Positive() int64 {
	x := r.Uvarint()
	if x > math.MaxInt64 {
		r.Fail()
		return 0
	}
	return int64(x)
}

// Items reads the length of a list whose items take at least one byte each, so that
// a damaged length cannot ask for more memory than the value has.
func (r *Reader) Items() int {
	n := r.Uvarint()
	if n > uint64(r.Left()) {
		r.Fail()
		return 0
	}
	return int(n)
}

// Text reads a length and as many bytes, which it copies.
func (r *Reader) Text() string { return string(r.Bytes(r.Uvarint())) }

// Uint32 reads four bytes, the lowest first.
func (r *Reader) Uint32() uint32 {
	b := r.Bytes(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// Uint64 reads eight bytes, the lowest first.
func (r *Reader) Uint64() uint64 {
	b := r.Bytes(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// Float reads the eight bytes of a float, the lowest first.
func (r *Reader) Float() float64 { return math.Float64frombits(r.Uint64()) }
