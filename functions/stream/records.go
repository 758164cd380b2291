package stream

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// records owns the memory of what one commit produces. It is used again for the
// next one: after the flush nothing of it is referenced any more.
type records struct {
	chunks [][]kgo.Record
	used   int
	bytes  []byte

	stampOf int64
	stamps  []kgo.RecordHeader
}

const recordChunk = 256

func (r *records) next() *kgo.Record {
	chunk, i := r.used/recordChunk, r.used%recordChunk
	if chunk == len(r.chunks) {
		r.chunks = append(r.chunks, make([]kgo.Record, recordChunk))
	}
	r.used++
	rec := &r.chunks[chunk][i]
	*rec = kgo.Record{Headers: rec.Headers[:0]}
	return rec
}

func (r *records) copyOf(s string) []byte {
	start := len(r.bytes)
	r.bytes = append(r.bytes, s...)
	return r.bytes[start:len(r.bytes):len(r.bytes)]
}

// stampHeaders returns the headers of core's stamp, made anew when its watermark
// has moved.
func (r *records) stampHeaders(c *core) []kgo.RecordHeader {
	if r.stamps == nil || r.stampOf != c.announced {
		r.stampOf = c.announced
		r.stamps = []kgo.RecordHeader{
			{Key: "ce_" + events.ExtTask, Value: []byte(stampValue(c.def.Name, c.task, c.tasks))},
			{Key: "ce_" + events.ExtWatermark, Value: strconv.AppendInt(nil, c.announced, 10)},
		}
	}
	return r.stamps
}

// reset makes the memory free for the next commit; a burst's worth is let go.
func (r *records) reset() {
	r.used = 0
	if len(r.chunks) > 256 {
		r.chunks = r.chunks[:256]
	}
	if cap(r.bytes) > 16<<20 {
		r.bytes = nil
	}
	r.bytes = r.bytes[:0]
}
