package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"datasurge/functions/packed"
	"datasurge/functions/step"
)

// reader decodes the engine's own changelog values.
type reader struct {
	packed.Reader
	err error // the version is not known
}

func newReader(data []byte) reader { return reader{Reader: packed.NewReader(data)} }

// version reads the version byte and refuses one above known.
func (r *reader) version(what string, known byte) {
	if v := r.Byte(); v > known {
		r.err = fmt.Errorf("%s has version %d and this binary knows up to %d: %w", what, v, known, step.ErrNewerVersion)
		r.Fail()
	} else if v == 0 {
		r.Fail()
	}
}

func (r *reader) bool() bool { return r.Uvarint() == 1 }

// problem returns what was wrong so far.
func (r *reader) problem() error {
	if r.err == nil && r.Failed() {
		return errors.New("changelog value is cut short or damaged")
	}
	return r.err
}

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
