package packed

import (
	"encoding/binary"
	"math"
	"testing"
)

// What encoding/binary writes is what is read, and nothing is read of a value that
// is cut short anywhere.
func TestReader(t *testing.T) {
	numbers := []int64{0, 1, -1, 127, 128, 1 << 31, math.MaxInt64, math.MinInt64}
	var data []byte
	for _, n := range numbers {
		data = binary.AppendUvarint(data, uint64(n))
		data = binary.AppendVarint(data, n)
	}
	data = append(binary.AppendUvarint(data, 5), "text."...)
	data = binary.LittleEndian.AppendUint32(data, 1<<31)
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(-0.5))
	data = append(data, 7, 'a', 'b', 'c')

	read := func(data []byte) (r Reader, good bool) {
		r, good = NewReader(data), true
		is := func(same bool) { good = good && same }
		for _, n := range numbers {
			is(r.Uvarint() == uint64(n))
			is(r.Varint() == n)
		}
		is(r.Text() == "text.")
		is(r.Uint32() == 1<<31)
		is(r.Float() == -0.5)
		is(r.Byte() == 7)
		is(string(r.Bytes(2)) == "ab")
		is(r.Left() == 1)
		is(string(r.Rest()) == "c")
		return r, good
	}
	if r, good := read(data); !good || !r.Done() || r.Failed() {
		t.Errorf("what was written is not what is read: %+v", r)
	}
	for n := range len(data) - 1 { // the last byte may be missing from the rest
		if r, good := read(data[:n]); good || !r.Failed() || r.Done() || r.Uvarint() != 0 || r.Rest() != nil && len(r.Rest()) > 0 {
			t.Errorf("of the first %d bytes: %+v", n, r)
		}
	}
}

func TestReaderFails(t *testing.T) {
	overflow := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}
	for name, read := range map[string]func(*Reader){
		"a number of more than 64 bits":    func(r *Reader) { *r = NewReader(overflow); r.Uvarint() },
		"a number of too many bytes":       func(r *Reader) { *r = NewReader(append(overflow[:9:9], 0x80, 0)); r.Uvarint() },
		"one too large for an int64":       func(r *Reader) { *r = NewReader(binary.AppendUvarint(nil, 1<<63)); r.Positive() },
		"a list longer than the value":     func(r *Reader) { *r = NewReader([]byte{3, 1, 1}); r.Items() },
		"a text longer than the value":     func(r *Reader) { *r = NewReader(binary.AppendUvarint(nil, math.MaxUint64)); r.Text() },
		"something that the caller denies": func(r *Reader) { *r = NewReader([]byte{1}); r.Fail() },
	} {
		t.Run(name, func(t *testing.T) {
			var r Reader
			if read(&r); !r.Failed() || r.Done() || r.Left() != 0 || r.Byte() != 0 {
				t.Errorf("it has not failed: %+v", r)
			}
		})
	}
	r := NewReader([]byte{2, 8, 9})
	if n := r.Items(); n != 2 || r.Failed() {
		t.Errorf("a list of 2 items has %d", n)
	}
}

// FuzzUvarint holds Uvarint to that of encoding/binary.
func FuzzUvarint(f *testing.F) {
	f.Add([]byte{0x80, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		want, n := binary.Uvarint(data)
		r := NewReader(data)
		got := r.Uvarint()
		if r.Failed() != (n <= 0) || n > 0 && (got != want || r.Left() != len(data)-n) {
			t.Errorf("%d with %d left, encoding/binary has %d in %d bytes", got, r.Left(), want, n)
		}
	})
}
