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

	memory [][]byte // pieces of memoryChunk bytes, of length 0
	filled int      // how many of them are full
	bytes  []byte   // the one after them, with what is used of it

	stampOf int64
	stamps  []kgo.RecordHeader
}

const (
	recordChunk = 256
	memoryChunk = 256 << 10
)

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

// room returns memory to append about n bytes to; took takes it back with them.
func (r *records) room(n int) []byte {
	if cap(r.bytes)-len(r.bytes) >= n {
		return r.bytes
	}
	if r.bytes != nil {
		r.filled++
	}
	if r.filled == len(r.memory) {
		r.memory = append(r.memory, make([]byte, 0, max(n, memoryChunk)))
	}
	r.bytes = r.memory[r.filled]
	return r.bytes
}

// took returns what was appended to what room returned.
func (r *records) took(b []byte) []byte {
	start := len(r.bytes)
	if cap(b) == cap(r.bytes) {
		r.bytes = b
	} // else it has outgrown the chunk and is memory of its own
	return b[start:len(b):len(b)]
}

func (r *records) copyOf(s string) []byte {
	return r.took(append(r.room(len(s)), s...))
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
	if len(r.memory) > 128 {
		r.memory = r.memory[:128]
	}
	r.filled, r.bytes = 0, nil
}
