package learn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"datasurge/functions/packed"
	"datasurge/functions/step"
)

// version begins every stored value.
const version = 1

var errValue = errors.New("the stored value is broken")

// codecs are those of the state. Values of examples are features numbers each.
func codecs(features int) map[byte]step.Codec {
	return map[byte]step.Codec{
		kindPending: {
			Append: func(dst []byte, v any) []byte {
				p := v.(*pending)
				dst = appendText(append(dst, version), p.merchant)
				return appendFloats(appendFloats(dst, []float32{p.ratio}), p.values)
			},
			Parse: parser(func(r *reader) any {
				p := &pending{merchant: r.Text()}
				p.ratio, p.values = r.floats(1)[0], r.floats(features)
				return p
			}),
		},
		kindEarly: {
			Append: func(dst []byte, v any) []byte {
				l := v.(*early)
				return appendFraud(binary.AppendVarint(append(dst, version), l.known), l.fraud)
			},
			Parse: parser(func(r *reader) any { return &early{known: r.Varint(), fraud: r.fraud()} }),
		},
		kindMerchant: {
			Append: func(dst []byte, v any) []byte {
				m := v.(*merchant)
				dst = appendFraud(append(dst, version), m.unsent)
				return m.AppendState(appendText(dst, m.MerchantID))
			},
			Parse: parser(func(r *reader) any {
				m := &merchant{unsent: r.fraud()}
				m.MerchantID = r.Text()
				if m.ParseState(r.Rest()) != nil {
					r.Fail()
				}
				return m
			}),
		},
		kindExample: {
			Append: func(dst []byte, v any) []byte {
				e := v.(*example)
				dst = appendText(append(dst, version), e.id)
				dst = appendFraud(binary.AppendVarint(dst, e.known), e.fraud)
				return appendFloats(appendFloats(dst, []float32{e.weight}), e.values)
			},
			Parse: parser(func(r *reader) any {
				e := &example{id: r.Text(), known: r.Varint(), fraud: r.fraud()}
				e.weight, e.values = r.floats(1)[0], r.floats(features)
				return e
			}),
		},
		kindTrained: {
			Append: func(dst []byte, v any) []byte {
				t := v.(trained)
				return binary.AppendVarint(binary.AppendVarint(append(dst, version), t.midnight), int64(t.frauds))
			},
			Parse: parser(func(r *reader) any { return trained{midnight: r.Varint(), frauds: int(r.Varint())} }),
		},
		kindThinning: {
			Append: func(dst []byte, v any) []byte {
				t := v.(thinning)
				return binary.AppendVarint(binary.AppendVarint(append(dst, version), int64(t.level)), t.relaxed)
			},
			Parse: parser(func(r *reader) any {
				level := r.Varint()
				if level < 0 || level > mostThinning {
					r.Fail()
				}
				return thinning{uint(level), r.Varint()}
			}),
		},
	}
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendFraud(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendFloats(dst []byte, values []float32) []byte {
	for _, x := range values {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// parser returns a codec's Parse of what read reads.
func parser(read func(*reader) any) func([]byte) (any, error) {
	return func(data []byte) (any, error) {
		if len(data) == 0 {
			return nil, errValue
		}
		if data[0] > version {
			return nil, fmt.Errorf("version %d: %w", data[0], step.ErrNewerVersion)
		}
		if data[0] != version {
			return nil, errValue
		}
		r := &reader{packed.NewReader(data[1:])}
		v := read(r)
		if !r.Done() {
			return nil, errValue
		}
		return v, nil
	}
}

// reader reads a value.
type reader struct{ packed.Reader }

func (r *reader) fraud() bool {
	b := r.Byte()
	if b > 1 {
		r.Fail()
	}
	return b == 1
}

func (r *reader) floats(n int) []float32 {
	values := make([]float32, n)
	if data := r.Bytes(4 * uint64(n)); data != nil {
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	}
	return values
}
