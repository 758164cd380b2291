package window

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"

	"datasurge/functions/packed"
)

// QuantileAccuracy is the relative error of a quantile: 1%.
const QuantileAccuracy = 0.01

// maxBin is beyond the bin of the largest int64: ln(2^63) / ln(1.01/0.99).
const maxBin = 4096

// Bins maps amounts to the bins of [Quantiles]. It is made once and shared; an
// amount that goes into several sketches is mapped once.
type Bins struct{ mapping mapping.IndexMapping }

// NewBins returns the bins of a DDSketch of [QuantileAccuracy].
func NewBins() *Bins {
	m, err := mapping.NewLogarithmicMapping(QuantileAccuracy)
	if err != nil {
		panic(err) // the accuracy is a constant between 0 and 1
	}
	return &Bins{m}
}

// Bin is the bin of one value.
type Bin int16

// zeroBin holds zero and everything below it, which has no logarithm.
const zeroBin Bin = math.MinInt16

// Of returns the bin of value.
func (b *Bins) Of(value int64) Bin {
	if value <= 0 {
		return zeroBin
	}
	return Bin(b.mapping.Index(float64(value)))
}

// Quantiles is a DDSketch of non-negative amounts: the mapping and the store are
// those of sketches-go, the encoding is our own, because theirs depends on how
// the store has grown.
type Quantiles struct {
	zeros uint64
	bins  *store.BufferedPaginatedStore
}

// NewQuantiles returns an empty sketch.
func NewQuantiles() *Quantiles {
	return &Quantiles{bins: store.NewBufferedPaginatedStore()}
}

// Add counts one value.
func (q *Quantiles) Add(bin Bin) {
	if bin == zeroBin {
		q.zeros++
		return
	}
	q.bins.Add(int(bin))
}

// Merge adds all values of other.
func (q *Quantiles) Merge(other *Quantiles) {
	q.zeros += other.zeros
	q.bins.MergeWith(other.bins)
}

// Values appends to dst the value at each of the quantiles at (0 to 1), within
// [QuantileAccuracy]; zeros when the sketch is empty.
func (q *Quantiles) Values(dst []float64, bins *Bins, at ...float64) []float64 {
	count := float64(q.zeros) + q.bins.TotalCount()
	for _, p := range at {
		rank := float64(p * (count - 1))
		if count == 0 || rank < float64(q.zeros) {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, bins.mapping.Value(q.bins.KeyAtRank(rank-float64(q.zeros))))
	}
	return dst
}

// append encodes q: zeros, number of bins, then for each bin in rising order the
// distance to the one before it and its count.
func (q *Quantiles) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, q.zeros)
	n := 0
	q.bins.ForEach(func(int, float64) bool { n++; return false })
	dst = binary.AppendUvarint(dst, uint64(n))
	last := 0
	q.bins.ForEach(func(bin int, count float64) bool {
		dst = binary.AppendVarint(dst, int64(bin-last))
		dst = binary.AppendUvarint(dst, uint64(count))
		last = bin
		return false
	})
	return dst
}

var errQuantiles = errors.New("quantile sketch is damaged")

// merge adds what append encoded.
func (q *Quantiles) merge(data []byte) error {
	r := packed.NewReader(data)
	zeros := r.Uvarint()
	n := r.Uvarint()
	if n > 2*maxBin {
		return errQuantiles
	}
	bin := int64(0)
	for i := range n {
		delta, count := r.Varint(), r.Uvarint()
		bin += delta
		if i > 0 && delta <= 0 || bin < -maxBin || bin > maxBin || count == 0 || count > 1<<53 {
			return errQuantiles
		}
		q.bins.AddWithCount(int(bin), float64(count))
	}
	if !r.Done() {
		return errQuantiles
	}
	q.zeros += zeros
	return nil
}
