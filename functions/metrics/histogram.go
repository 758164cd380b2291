package metrics

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// histogram is a prometheus.Histogram, classic and native, that takes the
// observations of a whole commit at once: one lock for thousands of them, which
// one by one would take a few percent of a function's time.
type histogram struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	bounds  []float64
	halves  [1 << schema]float64 // of nativeBounds
	created time.Time

	mu        sync.Mutex
	counts    []uint64 // by bound, the last for what is above all
	exemplars []*dto.Exemplar
	count     uint64
	sum       float64
	zero      uint64 // not above zeroThreshold
	native    nativeBuckets
}

// nativeBuckets counts by the index of a bucket. Values lie near each other, so
// that the buckets between the lowest and the highest are few.
type nativeBuckets struct {
	first  int32 // index of counts[0]
	counts []uint64
}

func (b *nativeBuckets) add(index int32) {
	switch at := int(index - b.first); {
	case len(b.counts) == 0:
		b.first, b.counts = index, append(b.counts, 0)
	case at < 0:
		b.first, b.counts = index, append(make([]uint64, -at), b.counts...)
	case at >= len(b.counts):
		b.counts = append(b.counts, make([]uint64, at+1-len(b.counts))...)
	}
	b.counts[index-b.first]++
}

const (
	// schema is the resolution of native buckets: eight for each power of two, so
	// that the upper bound is 9 % above the lower.
	schema = 3
	// zeroThreshold is the width of the native bucket around zero.
	zeroThreshold = 1e-9
)

// nativeBounds are the upper bounds of the native buckets from one half to one.
func nativeBounds() (bounds [1 << schema]float64) {
	for i := range bounds {
		bounds[i] = math.Exp2(float64(i)/(1<<schema)) / 2
	}
	return bounds
}

// newHistogram returns a histogram for values of 0 and more.
func newHistogram(name, help string, bounds []float64, labels prometheus.Labels) *histogram {
	h := &histogram{
		desc:   prometheus.NewDesc(namespace+"_"+name, help, nil, labels),
		bounds: bounds, created: time.Now(),
		counts: make([]uint64, len(bounds)+1), exemplars: make([]*dto.Exemplar, len(bounds)+1),
		halves: nativeBounds(),
	}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		h.labels = append(h.labels, &dto.LabelPair{Name: new(label), Value: new(labels[label])})
	}
	return h
}

// observe adds values.
func (h *histogram) observe(values []float64) {
	if len(values) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count += uint64(len(values))
	for _, v := range values {
		h.sum += v
		h.counts[h.bucket(v)]++
		if v <= zeroThreshold {
			h.zero++
			continue
		}
		fraction, exponent := math.Frexp(v)
		i := 0
		for i < len(h.halves) && h.halves[i] < fraction {
			i++
		}
		h.native.add(int32(i + (exponent-1)*len(h.halves)))
	}
}

func (h *histogram) bucket(v float64) int {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	return i
}

// exemplify makes v, which was observed, the example of its bucket.
func (h *histogram) exemplify(v float64, traceID string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.exemplars[h.bucket(v)] = &dto.Exemplar{
		Label:     []*dto.LabelPair{{Name: new("trace_id"), Value: new(strings.Clone(traceID))}}, // which is a piece of a record
		Value:     new(v),
		Timestamp: timestamppb.New(at),
	}
}

// Describe implements prometheus.Collector.
func (h *histogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements prometheus.Collector.
func (h *histogram) Collect(ch chan<- prometheus.Metric) { ch <- h }

// Desc implements prometheus.Metric.
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric.
func (h *histogram) Write(out *dto.Metric) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &dto.Histogram{
		SampleCount: new(h.count), SampleSum: new(h.sum),
		CreatedTimestamp: timestamppb.New(h.created),
		Schema:           proto.Int32(schema), ZeroThreshold: new(zeroThreshold), ZeroCount: new(h.zero),
	}
	cumulative := uint64(0)
	for i, bound := range h.bounds {
		cumulative += h.counts[i]
		d.Bucket = append(d.Bucket, &dto.Bucket{
			CumulativeCount: new(cumulative), UpperBound: new(bound), Exemplar: h.exemplars[i],
		})
	}
	if e := h.exemplars[len(h.bounds)]; e != nil {
		d.Bucket = append(d.Bucket, &dto.Bucket{
			CumulativeCount: new(h.count), UpperBound: new(math.Inf(1)), Exemplar: e,
		})
	}
	d.PositiveSpan, d.PositiveDelta = spans(h.native)
	if len(d.PositiveSpan) == 0 && h.zero == 0 {
		d.PositiveSpan = []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}} // native, and empty
	}
	out.Histogram, out.Label = d, h.labels
	return nil
}

// spans returns native buckets as they are exported: runs of neighbours, and the
// difference of each count to the one before.
func spans(buckets nativeBuckets) (list []*dto.BucketSpan, deltas []int64) {
	var previous int64
	var next int32
	for i, count := range buckets.counts {
		if count == 0 {
			continue
		}
		index, n := buckets.first+int32(i), int64(count)
		deltas = append(deltas, n-previous)
		previous = n
		if len(list) == 0 || index != next {
			list = append(list, &dto.BucketSpan{Offset: new(index - next), Length: proto.Uint32(0)})
		}
		*list[len(list)-1].Length++
		next = index + 1
	}
	return list, deltas
}

// histograms is a histogram for each of a fixed list of label values.
type histograms []*histogram

// Describe implements prometheus.Collector.
func (h histograms) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range h {
		one.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (h histograms) Collect(ch chan<- prometheus.Metric) {
	for _, one := range h {
		one.Collect(ch)
	}
}
