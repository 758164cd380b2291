package aggregate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"datasurge/functions/step"
	"datasurge/functions/window"
)

// valueVersion is the first byte of every value but slots, which begin with the
// version of the accumulator.
const valueVersion = 1

var errValue = errors.New("stored value is damaged")

// codecs: values are kept encoded, so that nothing that has been handed to the
// engine changes any more. Parse checks all of a value, so that what is in the
// state can be read.
func codecs(p *plan) map[byte]step.Codec {
	return map[byte]step.Codec{
		kindPart: bytesCodec(func(data []byte) error {
			_, acc, err := parsePart(data)
			if err == nil {
				_, err = parseAcc(acc)
			}
			return err
		}),
		kindJournal: {
			Append: func(dst []byte, v any) []byte { return append(dst, v.(*journalEntry).data...) },
			Parse: func(data []byte) (any, error) {
				e := &journalEntry{data: bytes.Clone(data)}
				return e, e.check(p)
			},
		},
		kindDays:   bytesCodec(func(data []byte) error { _, err := parseDays(data); return err }),
		kindSlot:   bytesCodec(func(data []byte) error { _, err := parseAcc(data); return err }),
		kindResult: bytesCodec(func(data []byte) error { _, _, err := parseResult(data); return err }),
		kindClosed: bytesCodec(func(data []byte) error { _, err := parseClosed(data); return err }),
		kindRisk:   bytesCodec(func(data []byte) error { _, err := parseMerchant("", data); return err }),
	}
}

func bytesCodec(check func([]byte) error) step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte { return append(dst, v.([]byte)...) },
		Parse: func(data []byte) (any, error) {
			if err := check(data); err != nil {
				return nil, err
			}
			return bytes.Clone(data), nil
		},
	}
}

func parseAcc(data []byte) (*window.Acc, error) {
	acc, err := window.ParseAcc(data)
	if errors.Is(err, window.ErrNewer) {
		return nil, fmt.Errorf("%w: %w", step.ErrNewerVersion, err)
	}
	return acc, err
}

// decoder takes numbers off the front of a value; the first that is not there
// makes it bad.
type decoder struct {
	data []byte
	err  error
}

// newDecoder checks the version of a value and takes it off.
func newDecoder(data []byte) decoder {
	switch {
	case len(data) == 0:
		return decoder{err: errValue}
	case data[0] > valueVersion:
		return decoder{err: step.ErrNewerVersion}
	case data[0] != valueVersion:
		return decoder{err: errValue}
	}
	return decoder{data: data[1:]}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) count() int64 {
	v := d.uvarint()
	if int64(v) < 0 {
		d.fail()
		return 0
	}
	return int64(v)
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.data)) {
		d.fail()
		return nil
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(d.uvarint())) }

// items reads a number of items that take at least one byte each.
func (d *decoder) items() int {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail()
		return 0
	}
	return int(n)
}

// end returns the first error; anything left is one.
func (d *decoder) end() error {
	if d.err == nil && len(d.data) > 0 {
		d.fail()
	}
	return d.err
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errValue
	}
	d.data = nil
}

// parsePart splits the value of a part into the version that was last published
// and the accumulator.
func parsePart(data []byte) (published int64, acc []byte, err error) {
	d := newDecoder(data)
	published = d.count()
	return published, d.data, d.err
}

func appendPart(dst []byte, published int64, acc *window.Acc) []byte {
	dst = append(dst, valueVersion)
	dst = binary.AppendUvarint(dst, uint64(published))
	return acc.Append(dst)
}

// parseResult reads the next pane of a window, and how many transactions the
// last one counted.
func parseResult(data []byte) (pane, count int64, err error) {
	d := newDecoder(data)
	pane, count = d.count(), d.count()
	return pane, count, d.end()
}

func appendResult(dst []byte, pane, count int64) []byte {
	dst = append(dst, valueVersion)
	dst = binary.AppendUvarint(dst, uint64(pane))
	return binary.AppendUvarint(dst, uint64(count))
}

func parseClosed(data []byte) (int64, error) {
	d := newDecoder(data)
	closed := d.varint()
	return closed, d.end()
}

func appendClosed(dst []byte, closed int64) []byte {
	return binary.AppendVarint(append(dst, valueVersion), closed)
}
