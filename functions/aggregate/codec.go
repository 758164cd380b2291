package aggregate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"datasurge/functions/packed"
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

// decoder reads a value; err is set by a version that is not known.
type decoder struct {
	packed.Reader
	err error
}

// newDecoder checks the version of a value and takes it off.
func newDecoder(data []byte) decoder {
	d := decoder{Reader: packed.NewReader(data)}
	if version := d.Byte(); version > valueVersion {
		d.err = step.ErrNewerVersion
		d.Fail()
	} else if version != valueVersion {
		d.Fail()
	}
	return d
}

// problem returns the first error so far.
func (d *decoder) problem() error {
	if d.err == nil && d.Failed() {
		return errValue
	}
	return d.err
}

// end returns the first error; anything left is one.
func (d *decoder) end() error {
	if d.Left() > 0 {
		d.Fail()
	}
	return d.problem()
}

// parsePart splits the value of a part into the version that was last published
// and the accumulator.
func parsePart(data []byte) (published int64, acc []byte, err error) {
	d := newDecoder(data)
	published = d.Positive()
	return published, d.Rest(), d.problem()
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
	pane, count = d.Positive(), d.Positive()
	return pane, count, d.end()
}

func appendResult(dst []byte, pane, count int64) []byte {
	dst = append(dst, valueVersion)
	dst = binary.AppendUvarint(dst, uint64(pane))
	return binary.AppendUvarint(dst, uint64(count))
}

func parseClosed(data []byte) (int64, error) {
	d := newDecoder(data)
	closed := d.Varint()
	return closed, d.end()
}

func appendClosed(dst []byte, closed int64) []byte {
	return binary.AppendVarint(append(dst, valueVersion), closed)
}
