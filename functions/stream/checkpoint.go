package stream

import "github.com/twmb/franz-go/pkg/kgo"

// Checkpoint reads from a record of a changelog how far the task had got when it
// made the commit that the record ends: by input topic, the offset below which
// every event has been processed. ok is false when rec does not end a commit or
// was written by a newer binary.
//
// Under transport http events are processed in any order, and many above that
// offset may be done, too.
func Checkpoint(rec *kgo.Record) (next map[string]int64, ok bool) {
	if rec.Attrs.IsControl() || len(rec.Key) == 0 || rec.Key[0] != kindMeta || rec.Value == nil {
		return nil, false
	}
	m, err := parseMeta(rec.Value)
	if err != nil {
		return nil, false
	}
	next = make(map[string]int64, len(m.inputs))
	for i := range m.inputs {
		next[m.inputs[i].topic] = m.inputs[i].low
	}
	return next, true
}
