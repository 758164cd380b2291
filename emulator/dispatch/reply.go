package dispatch

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events/kafkarecord"
)

// handleReply does with a successful answer what the egress says. Its outcome is
// that of the whole: a reply that cannot be read or passed on is a failure of the
// event, without another attempt.
func (d *Deliverer) handleReply(ctx context.Context, o outcome) (outcome, error) {
	if d.egress.Reply.kind == discardReply {
		return o, nil
	}
	reply, ok := readReply(&o)
	if !ok {
		if len(o.body) == 0 {
			return o, nil
		}
		return outcome{err: errors.New("the answer is neither empty nor an event: " + o.String())}, nil
	}
	if d.egress.Reply.kind == replyToURL {
		r := newRequest(&reply, d.egress.Namespace)
		defer r.release()
		return d.send(ctx, &d.egress.Reply.target, r, false)
	}
	rec := &kgo.Record{Topic: d.topic}
	writeRecord(&reply, rec)
	if err := d.produce(ctx, rec); err != nil {
		if ctx.Err() != nil {
			return o, errCut
		}
		return outcome{err: err}, nil
	}
	return o, nil
}

// readReply makes a message of an answer: it puts the answer into the form of a
// record, where the same attributes stand in the same two modes, and reads that.
// ok is false when it is no event.
func readReply(o *outcome) (m message, ok bool) {
	rec := kgo.Record{Value: o.body}
	if len(o.body) == 0 {
		rec.Value = nil
	}
	for name, values := range o.header {
		var key string
		if name == "Content-Type" {
			key = contentType
		} else if attribute, ok := strings.CutPrefix(name, "Ce-"); ok {
			key = attributeStart + strings.ToLower(attribute)
		} else {
			continue
		}
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(fromLatin1(values[len(values)-1]))})
	}
	return readRecord(&rec, kafkarecord.Mapping{Reserialize: true}, false)
}

// writeRecord makes rec of a message, in binary mode.
func writeRecord(m *message, rec *kgo.Record) {
	kafkarecord.Write(&m.Event, rec)
	if m.version == version03 {
		for i := range rec.Headers {
			switch h := &rec.Headers[i]; h.Key {
			case "ce_specversion":
				h.Value = []byte(version03)
			case "ce_dataschema":
				h.Key = "ce_schemaurl"
			}
		}
	}
	for _, name := range m.empty {
		if name == contentType {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: contentType, Value: []byte{}})
			continue
		}
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: attributeStart + name, Value: []byte{}})
		if name == "partitionkey" {
			rec.Key = []byte{}
		}
	}
}
