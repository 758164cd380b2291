package sink

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// The order of attributes in a record, in both modes, is: specversion, id,
// source, type, datacontenttype, dataschema, subject, time, extensions.

// schemaName is what the attribute of e.schema is called.
func (e *event) schemaName() string {
	if e.version == "0.3" {
		return "schemaurl"
	}
	return "dataschema"
}

// key is the extension partitionkey, nil without one.
func (e *event) key() []byte {
	for i := range e.extensions {
		if e.extensions[i].name == "partitionkey" {
			return []byte(e.extensions[i].value)
		}
	}
	return nil
}

func (e *event) writeBinary(rec *kgo.Record) {
	const room = 10 // the attributes and a trace
	headers := make([]kgo.RecordHeader, 0, room+len(e.extensions))
	add := func(name, value string) {
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	addOptional := func(name string, o optional) {
		if o.given {
			add(name, o.value)
		}
	}
	add("ce_specversion", e.version)
	add("ce_id", e.id)
	add("ce_source", e.source)
	add("ce_type", e.kind)
	addOptional("content-type", e.contentType)
	addOptional("ce_"+e.schemaName(), e.schema)
	addOptional("ce_subject", e.subject)
	if !e.time.IsZero() {
		add("ce_time", e.time.Format(time.RFC3339Nano))
	}
	for i := range e.extensions {
		add("ce_"+e.extensions[i].name, e.extensions[i].value)
	}
	rec.Key, rec.Value, rec.Headers = e.key(), e.data, headers
}

// writeStructured puts JSON data into the event as it is: what is called JSON
// and is none makes a record that is none either.
func (e *event) writeStructured(rec *kgo.Record) {
	b := make([]byte, 0, 256+2*len(e.data))
	field := func(name, value string) {
		b = append(b, ',', '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = appendString(b, value)
	}
	optionalField := func(name string, o optional) {
		if o.given {
			field(name, o.value)
		}
	}
	b = append(b, `{"specversion":"`...)
	b = append(b, e.version...)
	b = append(b, '"')
	field("id", e.id)
	field("source", e.source)
	field("type", e.kind)
	optionalField("datacontenttype", e.contentType)
	optionalField(e.schemaName(), e.schema)
	optionalField("subject", e.subject)
	if !e.time.IsZero() {
		field("time", e.time.Format(time.RFC3339Nano))
	}
	for i := range e.extensions {
		x := &e.extensions[i]
		if !x.literal {
			field(x.name, x.value)
			continue
		}
		b = append(b, ',', '"')
		b = append(b, x.name...)
		b = append(b, `":`...)
		b = append(b, x.value...)
	}
	if e.data != nil {
		if events.IsJSON(e.contentType.value) {
			b = append(b, `,"data":`...)
			b = append(b, e.data...)
		} else {
			name := `,"data_base64":"`
			if e.version == "0.3" {
				name = `,"datacontentencoding":"base64","data":"`
			}
			b = append(b, name...)
			b = base64.StdEncoding.AppendEncode(b, e.data)
			b = append(b, '"')
		}
	}
	rec.Key, rec.Value = e.key(), append(b, '}')
	rec.Headers = []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json")}}
}

// appendString appends s as JSON. Nothing in it can be refused: what is no UTF-8
// becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		panic("sink: " + err.Error())
	}
	return b
}

// appendTrace puts the trace of a request, continued by a span of the receiver's
// own, before the headers of its record.
func appendTrace(headers []kgo.RecordHeader, h http.Header) []kgo.RecordHeader {
	parent := h.Get("Traceparent")
	if parent == "" {
		return headers
	}
	// version-traceid-parentid-flags
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || !isHex(parts[1], 32) || !isHex(parts[2], 16) || len(parts[3]) != 2 {
		return headers
	}
	parts[2] = fmt.Sprintf("%016x", rand.Uint64()|1) // a span id is not zero
	trace := []kgo.RecordHeader{{Key: "traceparent", Value: []byte(strings.Join(parts, "-"))}}
	if state := h.Get("Tracestate"); state != "" {
		trace = append(trace, kgo.RecordHeader{Key: "tracestate", Value: []byte(state)})
	}
	return slices.Concat(trace, headers)
}

// isHex reports whether s is n hexadecimal digits, not all zero.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

// recordSize is the size that the Java producer holds against max.request.size:
// an upper bound of a batch with rec alone
// (AbstractRecords.estimateSizeInBytesUpperBound).
func recordSize(rec *kgo.Record) int {
	const (
		batch    = 61 // RECORD_BATCH_OVERHEAD
		overhead = 21 // DefaultRecord.MAX_RECORD_OVERHEAD
	)
	size := batch + overhead + varint(len(rec.Key)) + len(rec.Key) + varint(len(rec.Value)) + len(rec.Value) + varint(len(rec.Headers))
	for i := range rec.Headers {
		h := &rec.Headers[i]
		size += varint(len(h.Key)) + len(h.Key) + varint(len(h.Value)) + len(h.Value)
	}
	return size
}

// varint is the length of n as Kafka's zigzag varint, in bytes.
func varint(n int) int {
	size := 1
	for v := uint(n) << 1; v >= 0x80; v >>= 7 {
		size++
	}
	return size
}
