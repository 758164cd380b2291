package kafkarecord

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// Write makes rec the event in binary mode: it sets the key, the value and the
// headers and leaves everything else alone. The value is e's data, not a copy;
// an event without data has a null value. The key is the event's key; without
// one it is null.
//
// The headers stand in the order in which KafkaSink writes them: specversion,
// id, source, type, content-type, dataschema, subject, time, extensions. Write
// uses the array of rec.Headers when it is large enough.
//
// An event whose data is an event in structured mode (by its datacontenttype)
// would be taken for that event; it is written in structured mode itself. An
// event that Validate refuses may come back from Read as a plain record.
func Write(e *events.Event, rec *kgo.Record) {
	if isStructured(e.DataContentType) {
		WriteStructured(e, rec)
		return
	}
	size := len("1.0") + len(e.ID) + len(e.Source) + len(e.Type) + len(e.DataContentType) +
		len(e.DataSchema) + len(e.Subject) + len(time.RFC3339Nano) + len(e.Key)
	for i := range e.Extensions {
		size += len(e.Extensions[i].Value)
	}
	writeBinary(make([]byte, 0, size), e, rec)
	rec.Value = e.Data
}

// Append is Write for one of many records that are written together: all that rec
// refers to, a copy of the data too, is appended to buf, which is returned.
func Append(buf []byte, e *events.Event, rec *kgo.Record) []byte {
	if isStructured(e.DataContentType) {
		WriteStructured(e, rec)
		return buf
	}
	w := writeBinary(buf, e, rec)
	rec.Value = nil
	if e.Data != nil {
		start := len(w.values)
		w.values = append(w.values, e.Data...)
		rec.Value = w.from(start)
	}
	return w.values
}

// writeBinary writes the key and the headers, with their values behind values.
func writeBinary(values []byte, e *events.Event, rec *kgo.Record) writer {
	w := writer{values: values, headers: rec.Headers[:0]}
	const attributes = 9
	if n := attributes + len(e.Extensions); cap(w.headers) < n {
		const room = 2 // for what the sender of the record may add
		w.headers = make([]kgo.RecordHeader, 0, n+room)
	}
	w.add(specVersion, "1.0")
	w.add("ce_id", e.ID)
	w.add("ce_source", e.Source)
	w.add("ce_type", e.Type)
	w.addOptional(contentType, e.DataContentType)
	w.addOptional("ce_dataschema", e.DataSchema)
	w.addOptional("ce_subject", e.Subject)
	if !e.Time.IsZero() {
		start := len(w.values)
		w.values = e.Time.AppendFormat(w.values, time.RFC3339Nano)
		w.headers = append(w.headers, kgo.RecordHeader{Key: "ce_time", Value: w.from(start)})
	}
	rec.Key = nil
	if e.Key != "" {
		w.add("ce_partitionkey", e.Key)
		rec.Key = w.headers[len(w.headers)-1].Value
	}
	for i := range e.Extensions {
		w.add(headerName(e.Extensions[i].Name), e.Extensions[i].Value)
	}
	rec.Headers = w.headers
	return w
}

// WriteStructured is Write in structured mode.
func WriteStructured(e *events.Event, rec *kgo.Record) {
	rec.Key = nil
	if e.Key != "" {
		rec.Key = []byte(e.Key)
	}
	rec.Headers = append(rec.Headers[:0], kgo.RecordHeader{Key: contentType, Value: []byte(structuredJSON)})
	rec.Value = e.AppendJSON(make([]byte, 0, 512+len(e.Data)))
}

// writer collects headers whose values are parts of one slice.
type writer struct {
	values  []byte
	headers []kgo.RecordHeader
}

func (w *writer) add(name, value string) {
	start := len(w.values)
	w.values = append(w.values, value...)
	w.headers = append(w.headers, kgo.RecordHeader{Key: name, Value: w.from(start)})
}

func (w *writer) addOptional(name, value string) {
	if value != "" {
		w.add(name, value)
	}
}

// from returns the values from start on, so that appending to it cannot
// overwrite the next one. It is never nil, which would be a null value.
func (w *writer) from(start int) []byte {
	return w.values[start:len(w.values):len(w.values)]
}

// headerName returns the name of an extension's header, without allocating for
// those that are on every record.
func headerName(extension string) string {
	switch extension {
	case events.ExtTask:
		return prefix + events.ExtTask
	case events.ExtWatermark:
		return prefix + events.ExtWatermark
	case events.ExtTopic:
		return prefix + events.ExtTopic
	case events.ExtPartition:
		return prefix + events.ExtPartition
	case events.ExtOffset:
		return prefix + events.ExtOffset
	case "key":
		return prefix + "key"
	case "traceparent":
		return prefix + "traceparent"
	}
	return prefix + extension
}
