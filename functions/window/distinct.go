package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// distinctPrecision: 2^11 registers, a standard error of 2.3% beyond about a
// thousand values and next to none below, in 1 KB when encoded.
const distinctPrecision = 11

// Distinct counts different values, approximately: a HyperLogLog that is sparse
// while there are few. The sketch is axiomhq's; its encoding is made canonical
// here, and half as large.
type Distinct struct{ sketch *hyperloglog.Sketch }

// NewDistinct returns an empty sketch.
func NewDistinct() *Distinct {
	sketch, err := hyperloglog.NewSketch(distinctPrecision, true)
	if err != nil {
		panic(err) // the precision is a constant that is allowed
	}
	return &Distinct{sketch}
}

// Add counts the value with this hash, which must be 64 well mixed bits.
func (d *Distinct) Add(hash uint64) { d.sketch.InsertHash(hash) }

// Merge counts what other counted.
func (d *Distinct) Merge(other *Distinct) error { return d.sketch.Merge(other.sketch) }

// Estimate returns about how many different values were added.
func (d *Distinct) Estimate() uint64 { return d.sketch.Estimate() }

// Forms of an encoded sketch.
const (
	distinctSparse = 0
	distinctDense  = 1
)

// escape in the four bits of a register says that its value is among the
// exceptions at the end.
const escape = 15

// sketchHeader is the length of what the library writes before the registers.
const sketchHeader = 8

// append encodes d. What is sparse is first brought into the one form that its
// content determines, which Estimate does: a sorted list, or registers when that
// has become too long. Registers are the same whatever they came from.
//
// Registers take four bits each, above the smallest of them, in order; the few
// that do not fit follow as bytes.
func (d *Distinct) append(dst []byte) []byte {
	data := d.marshal()
	if isSparse(data) {
		d.sketch.Estimate()
		data = d.marshal()
	}
	if isSparse(data) {
		dst = append(dst, distinctSparse)
		return append(dst, data...)
	}
	registers := data[sketchHeader:]
	base := slices.Min(registers)
	dst = append(dst, distinctDense, base)
	for i := 0; i < len(registers); i += 2 {
		dst = append(dst, min(registers[i]-base, escape)<<4|min(registers[i+1]-base, escape))
	}
	for _, r := range registers {
		if r-base >= escape {
			dst = append(dst, r)
		}
	}
	return dst
}

func (d *Distinct) marshal() []byte {
	data, err := d.sketch.MarshalBinary()
	if err != nil {
		panic(fmt.Sprintf("encode a distinct sketch: %v", err)) // only without a precision, which NewDistinct sets
	}
	return data
}

// isSparse reads the form from the header of the library's encoding.
func isSparse(data []byte) bool { return data[3] == 1 }

var errDistinct = errors.New("distinct sketch is damaged")

// parseDistinct reads what append wrote.
func parseDistinct(data []byte) (*Distinct, error) {
	if len(data) == 0 {
		return nil, errDistinct
	}
	form, data := data[0], data[1:]
	switch form {
	case distinctSparse:
	case distinctDense:
		var err error
		if data, err = unpackRegisters(data); err != nil {
			return nil, err
		}
	default:
		return nil, errDistinct
	}
	sketch := new(hyperloglog.Sketch)
	if err := sketch.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("%w: %w", errDistinct, err)
	}
	// The precision is the second byte; the library merges only equal ones.
	if data[1] != distinctPrecision {
		return nil, fmt.Errorf("%w: precision %d, want %d", errDistinct, data[1], distinctPrecision)
	}
	return &Distinct{sketch}, nil
}

// unpackRegisters returns the library's encoding of the registers in data.
func unpackRegisters(data []byte) ([]byte, error) {
	const registers = 1 << distinctPrecision
	if len(data) < 1+registers/2 {
		return nil, errDistinct
	}
	base, packed, exceptions := data[0], data[1:1+registers/2], data[1+registers/2:]
	out := make([]byte, 0, sketchHeader+registers)
	out = append(out, 2, distinctPrecision, 0, 0)
	out = binary.BigEndian.AppendUint32(out, registers)
	for _, pair := range packed {
		for _, r := range [2]byte{pair >> 4, pair & 0xf} {
			if r < escape {
				out = append(out, base+r)
				continue
			}
			if len(exceptions) == 0 {
				return nil, errDistinct
			}
			out = append(out, exceptions[0])
			exceptions = exceptions[1:]
		}
	}
	if len(exceptions) > 0 {
		return nil, errDistinct
	}
	return out, nil
}
