package generate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"datasurge/functions/packed"
	"datasurge/functions/step"
)

// Kinds of state keys.
const (
	kindPosition = step.FirstKind + iota // the position; no more key
	kindSegment                          // segments that labels are due of: first transaction
)

// position is how far a task has come.
type position struct {
	next  uint64 // number of the next transaction
	label uint64 // number of the transaction whose label is next
}

const stateVersion = 1

// appendPosition writes version, label, and how many transactions wait for theirs.
func appendPosition(dst []byte, value any) []byte {
	p := value.(position)
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, p.label)
	return binary.AppendUvarint(dst, p.next-p.label)
}

func parsePosition(data []byte) (any, error) {
	values, err := parseUvarints(data, 2)
	if err != nil {
		return nil, fmt.Errorf("position of generate: %w", err)
	}
	return position{label: values[0], next: values[0] + values[1]}, nil
}

func segmentKey(first uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindSegment}, first)
}

// appendSegment writes all but the version as varints.
func appendSegment(dst []byte, value any) []byte {
	s := value.(segment)
	dst = append(dst, stateVersion)
	for _, v := range [...]uint64{
		s.first, uint64(s.origin), s.rate, s.model.seed,
		uint64(s.model.customers), uint64(s.model.merchants), uint64(s.model.intensity),
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func parseSegment(data []byte) (any, error) {
	values, err := parseUvarints(data, 7)
	if err != nil {
		return nil, fmt.Errorf("segment of generate: %w", err)
	}
	if values[2] == 0 {
		return nil, errors.New("segment of generate: the rate is 0")
	}
	return segment{
		first: values[0], origin: int64(values[1]), rate: values[2],
		model: model{
			seed: values[3], customers: uint32(values[4]),
			merchants: uint32(values[5]), intensity: uint32(values[6]),
		},
	}, nil
}

// parseUvarints reads a value of a version and count varints.
func parseUvarints(data []byte, count int) ([]uint64, error) {
	if len(data) == 0 {
		return nil, errors.New("the value is empty")
	}
	if data[0] != stateVersion {
		return nil, fmt.Errorf("version %d: %w", data[0], step.ErrNewerVersion)
	}
	r := packed.NewReader(data[1:])
	values := make([]uint64, count)
	for i := range values {
		values[i] = r.Uvarint()
	}
	if !r.Done() {
		return nil, fmt.Errorf("the value is not %d numbers", count)
	}
	return values, nil
}
