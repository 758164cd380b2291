package stream

import (
	"encoding/binary"
	"fmt"

	"datasurge/functions/step"
)

// reader decodes the engine's own changelog values. The first error sticks and
// every later read returns zero.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("changelog value is cut short or damaged at %s", what)
	}
	r.data = nil
}

// version reads the version byte and refuses one above known.
func (r *reader) version(what string, known byte) {
	if len(r.data) == 0 {
		r.fail("the version of " + what)
		return
	}
	if v := r.data[0]; v == 0 || v > known {
		r.err = fmt.Errorf("%s has version %d and this binary knows up to %d: %w", what, v, known, step.ErrNewerVersion)
		r.data = nil
		return
	}
	r.data = r.data[1:]
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.data = r.data[n:]
	return v
}

// count reads the length of a list whose entries take at least one byte each.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.fail("the length of a list")
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	if r.err != nil {
		return ""
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}

func (r *reader) bool() bool { return r.uvarint() == 1 }

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}
