package dispatch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// message is an event on its way: what stands in a record or in a reply, and the
// extensions that were added to it. An extension may be called like an
// attribute; then both are sent.
type message struct {
	events.Event
	version string // of the spec: 1.0 or 0.3
	// empty names the optional attributes that are there, but empty. An Event
	// cannot tell these from attributes that are not there.
	empty []string
	// traceparent and tracestate, "" without.
	traceparent, tracestate string
}

const (
	version1  = "1.0"
	version03 = "0.3"
)

// readRecord makes a message of a record. ok is false for one that is no event:
// with plain, every record is one, unless a header has a null value.
func readRecord(rec *kgo.Record, mapping kafkarecord.Mapping, plain bool) (m message, ok bool) {
	if HasNullHeader(rec) {
		return m, false
	}
	mapping.CloudEventsOnly = true
	m.version = version1
	switch err := kafkarecord.Read(rec, &m.Event, mapping); {
	case err == nil:
		m.version = specVersion(rec)
		m.empty = emptyAttributes(rec)
	case plain:
		mapping.CloudEventsOnly = false
		if err := kafkarecord.Read(rec, &m.Event, mapping); err != nil {
			return m, false
		}
	default:
		return m, false
	}
	m.trace(rec)
	return m, true
}

// HasNullHeader reports whether a header of rec has a null value. Such a record
// is no event to the data plane; and where plain records become events, the step
// that makes them fails for all records of the same poll.
func HasNullHeader(rec *kgo.Record) bool {
	for i := range rec.Headers {
		if rec.Headers[i].Value == nil {
			return true
		}
	}
	return false
}

// Headers of records, as package kafkarecord has them.
const (
	contentType    = "content-type"
	structuredJSON = "application/cloudevents+json"
	attributeStart = "ce_"
)

// specVersion returns the version of a record that is an event.
func specVersion(rec *kgo.Record) string {
	version := version1
	for i := range rec.Headers {
		switch h := &rec.Headers[i]; h.Key {
		case contentType:
			if bytes.HasPrefix(h.Value, []byte(structuredJSON)) {
				return specVersionOfJSON(rec.Value)
			}
		case attributeStart + "specversion":
			version = string(h.Value)
		}
	}
	return version
}

// specVersionOfJSON returns the version of an event in structured mode.
func specVersionOfJSON(data []byte) string {
	if !bytes.Contains(data, []byte(version03)) {
		return version1
	}
	in := jsontext.NewDecoder(bytes.NewReader(data))
	if _, err := in.ReadToken(); err != nil {
		return version1
	}
	for in.PeekKind() == '"' {
		name, err := in.ReadToken()
		if err != nil {
			break
		}
		found := name.String() == "specversion"
		if value, err := in.ReadValue(); err != nil || found {
			if string(value) == `"`+version03+`"` {
				return version03
			}
			break
		}
	}
	return version1
}

// emptyAttributes returns which optional attributes of an event in binary mode
// are empty.
func emptyAttributes(rec *kgo.Record) (names []string) {
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if len(h.Value) > 0 {
			continue
		}
		switch h.Key {
		case contentType:
			names = append(names, h.Key)
		case attributeStart + "subject", attributeStart + "dataschema", attributeStart + "partitionkey":
			names = append(names, h.Key[len(attributeStart):])
		}
	}
	return names
}

// setExtension sets an extension. It returns an error when name is no extension
// name: the data plane throws there, where nobody catches it.
func (m *message) setExtension(name, value string) error {
	if !isExtensionName(name) {
		return fmt.Errorf("%q is no name of an extension: want lower case letters and digits", name)
	}
	if name == "partitionkey" {
		m.Key = value
		if value == "" {
			m.empty = append(m.empty, name)
		}
		return nil
	}
	for i := range m.Extensions {
		if m.Extensions[i].Name == name {
			m.Extensions[i].Value = value
			return nil
		}
	}
	m.Extensions = append(m.Extensions, events.Extension{Name: name, Value: value})
	return nil
}

// isExtensionName reports whether the data plane takes name: also an empty one.
func isExtensionName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// clone returns a message whose extensions can be changed.
func (m *message) clone() message {
	c := *m
	c.Extensions = append(make([]events.Extension, 0, len(m.Extensions)+4), m.Extensions...)
	c.empty = append([]string(nil), m.empty...)
	return c
}

// trace continues the trace that a record's headers name: the same trace with a
// new span. Without a valid traceparent there is none, also with tracing on.
func (m *message) trace(rec *kgo.Record) {
	var parent, state string
	for i := range rec.Headers {
		switch rec.Headers[i].Key {
		case "traceparent":
			parent = string(rec.Headers[i].Value)
		case "tracestate":
			state = string(rec.Headers[i].Value)
		}
	}
	if parent == "" {
		return
	}
	// version-traceid-parentid-flags
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || !isHex(parts[1], 32) || !isHex(parts[2], 16) || len(parts[3]) != 2 {
		return
	}
	parts[2] = fmt.Sprintf("%016x", rand.Uint64()|1) // a span id is not zero
	m.traceparent, m.tracestate = strings.Join(parts, "-"), state
}

// isHex reports whether s is n hexadecimal digits, not all zero.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}
