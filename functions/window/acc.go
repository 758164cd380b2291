package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"datasurge/functions/packed"
)

// Value is one amount on its way into accumulators, with what is derived from it
// once for all of them.
type Value struct {
	Amount  int64  // minor units
	Bin     Bin    // of Amount, see Bins.Of
	User    uint64 // hash of the customer, for the distinct count
	Anomaly bool
}

// Acc accumulates amounts. The zero value is empty and has no sketches;
// [NewSketched] has them.
type Acc struct {
	Count     int64
	Anomalies int64
	// Sum is in minor units. When it does not fit, Overflow is set for good and
	// Sum stays at the end of int64 that it ran into; it never wraps.
	Sum      int64
	Overflow bool
	Min, Max int64 // 0 when Count is 0

	mean, m2 float64 // Welford: mean, and sum of squared differences from it

	Quantiles *Quantiles // nil without sketches
	Distinct  *Distinct  // nil without sketches
}

// NewSketched returns an empty accumulator with quantiles and distinct count.
func NewSketched() *Acc { return &Acc{Quantiles: NewQuantiles(), Distinct: NewDistinct()} }

// Add adds one value.
func (a *Acc) Add(v Value) {
	if a.Count == 0 || v.Amount < a.Min {
		a.Min = v.Amount
	}
	if a.Count == 0 || v.Amount > a.Max {
		a.Max = v.Amount
	}
	a.Count++
	if v.Anomaly {
		a.Anomalies++
	}
	a.addSum(v.Amount)
	x := float64(v.Amount)
	delta := x - a.mean
	a.mean += delta / float64(a.Count)
	// The conversion keeps the product from being fused with the sum, which
	// would give other bits on other machines.
	a.m2 += float64(delta * (x - a.mean))
	if a.Quantiles != nil {
		a.Quantiles.Add(v.Bin)
	}
	if a.Distinct != nil {
		a.Distinct.Add(v.User)
	}
}

func (a *Acc) addSum(v int64) {
	sum := a.Sum + v
	if (sum > a.Sum) == (v > 0) || v == 0 {
		a.Sum = sum
		return
	}
	a.Overflow = true
	a.Sum = math.MaxInt64
	if v < 0 {
		a.Sum = math.MinInt64
	}
}

// Merge adds everything that b accumulated. A sketch that only one of them has
// is left as it is in a. It fails on sketches that do not fit together, which
// those of this package always do.
func (a *Acc) Merge(b *Acc) error {
	if b.Count == 0 {
		return nil
	}
	if a.Distinct != nil && b.Distinct != nil {
		if err := a.Distinct.Merge(b.Distinct); err != nil {
			return fmt.Errorf("merge distinct counts: %w", err)
		}
	}
	if a.Quantiles != nil && b.Quantiles != nil {
		a.Quantiles.Merge(b.Quantiles)
	}
	a.mergeScalars(b)
	return nil
}

// mergeScalars merges all but the sketches; b is not empty. Means are merged by
// the formula of Chan, Golub and LeVeque.
func (a *Acc) mergeScalars(b *Acc) {
	if a.Count == 0 {
		a.Min, a.Max, a.mean, a.m2 = b.Min, b.Max, b.mean, b.m2
	} else {
		a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
		na, nb := float64(a.Count), float64(b.Count)
		n := na + nb
		delta := b.mean - a.mean
		a.mean += float64(delta * nb / n)
		a.m2 += b.m2 + float64(delta*delta*na*nb/n)
	}
	a.Count += b.Count
	a.Anomalies += b.Anomalies
	a.addSum(b.Sum)
	a.Overflow = a.Overflow || b.Overflow
}

// Mean returns the arithmetic mean in minor units, 0 when Count is 0.
func (a *Acc) Mean() float64 { return a.mean }

// StdDev returns the standard deviation of the values themselves (divided by
// Count), in minor units, 0 when Count is 0.
func (a *Acc) StdDev() float64 {
	if a.Count == 0 {
		return 0
	}
	return math.Sqrt(a.m2 / float64(a.Count))
}

const (
	accVersion = 1

	accOverflow  = 1 << 0
	accQuantiles = 1 << 1
	accDistinct  = 1 << 2
)

// ErrNewer: the accumulator was encoded by a newer version of this package.
var ErrNewer = errors.New("accumulator was written by a newer version")

var errAcc = errors.New("accumulator is damaged")

// Append encodes a: a version byte, flags, counts, sums, mean and squared
// differences, and the sketches with their lengths; under 80 bytes without
// sketches. Equal content gives equal bytes.
func (a *Acc) Append(dst []byte) []byte {
	flags := byte(0)
	if a.Overflow {
		flags |= accOverflow
	}
	if a.Quantiles != nil {
		flags |= accQuantiles
	}
	if a.Distinct != nil {
		flags |= accDistinct
	}
	dst = append(dst, accVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(a.Count))
	dst = binary.AppendUvarint(dst, uint64(a.Anomalies))
	dst = binary.AppendVarint(dst, a.Sum)
	dst = binary.AppendVarint(dst, a.Min)
	dst = binary.AppendVarint(dst, a.Max)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(a.mean))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(a.m2))
	if a.Quantiles != nil {
		dst = appendSized(dst, a.Quantiles.append)
	}
	if a.Distinct != nil {
		dst = appendSized(dst, a.Distinct.append)
	}
	return dst
}

// appendSized appends two bytes of length and what write appends.
func appendSized(dst []byte, write func([]byte) []byte) []byte {
	at := len(dst)
	dst = write(append(dst, 0, 0))
	size := len(dst) - at - 2
	if size > math.MaxUint16 {
		panic(fmt.Sprintf("sketch of %d bytes", size)) // bounded by the number of bins and registers
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(size))
	return dst
}

// encoded is an accumulator whose sketches are still bytes.
type encoded struct {
	Acc
	flags               byte
	quantiles, distinct []byte
}

func parse(data []byte) (e encoded, err error) {
	r := packed.NewReader(data)
	if version := r.Byte(); version > accVersion {
		return encoded{}, ErrNewer
	} else if version != accVersion {
		return encoded{}, errAcc
	}
	e.flags = r.Byte()
	e.Overflow = e.flags&accOverflow != 0
	count, anomalies := r.Uvarint(), r.Uvarint()
	e.Count, e.Anomalies = int64(count), int64(anomalies)
	e.Sum, e.Min, e.Max = r.Varint(), r.Varint(), r.Varint()
	e.mean, e.m2 = r.Float(), r.Float()
	if e.flags&accQuantiles != 0 {
		e.quantiles = sized(&r)
	}
	if e.flags&accDistinct != 0 {
		e.distinct = sized(&r)
	}
	if !r.Done() || e.flags >= accDistinct<<1 ||
		count > math.MaxInt64 || anomalies > count || !(e.m2 >= 0) || math.IsInf(e.m2, 0) ||
		math.IsNaN(e.mean) || math.IsInf(e.mean, 0) {
		return encoded{}, errAcc
	}
	return e, nil
}

func sized(r *packed.Reader) []byte {
	size := r.Bytes(2)
	if size == nil {
		return nil
	}
	return r.Bytes(uint64(binary.BigEndian.Uint16(size)))
}

// ParseAcc reads what Append wrote.
func ParseAcc(data []byte) (*Acc, error) {
	e, err := parse(data)
	if err != nil {
		return nil, err
	}
	a := e.Acc
	if e.flags&accQuantiles != 0 {
		a.Quantiles = NewQuantiles()
		if err := a.Quantiles.merge(e.quantiles); err != nil {
			return nil, err
		}
	}
	if e.flags&accDistinct != 0 {
		if a.Distinct, err = parseDistinct(e.distinct); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// MergeEncoded merges what Append wrote, taking the sketches straight from the
// bytes. When it fails, a is damaged.
func (a *Acc) MergeEncoded(data []byte) error {
	e, err := parse(data)
	if err != nil || e.Count == 0 {
		return err
	}
	if a.Quantiles != nil && e.flags&accQuantiles != 0 {
		if err := a.Quantiles.merge(e.quantiles); err != nil {
			return err
		}
	}
	if a.Distinct != nil && e.flags&accDistinct != 0 {
		other, err := parseDistinct(e.distinct)
		if err != nil {
			return err
		}
		if err := a.Distinct.Merge(other); err != nil {
			return err
		}
	}
	a.mergeScalars(&e.Acc)
	return nil
}

// EncodedCount returns the Count of what Append wrote. It looks at nothing else:
// the rest may be damaged.
func EncodedCount(data []byte) (int64, error) {
	r := packed.NewReader(data)
	if version := r.Byte(); version > accVersion {
		return 0, ErrNewer
	} else if version != accVersion {
		return 0, errAcc
	}
	r.Byte()
	count := r.Uvarint()
	if r.Failed() || count > math.MaxInt64 {
		return 0, errAcc
	}
	return int64(count), nil
}
