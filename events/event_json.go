package events

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"datasurge/events/internal/strictjson"
)

// maxEventBytes is the most that one event may have in the JSON format: data in
// base64 and every attribute at its limit.
const maxEventBytes = MaxDataBytes/3*4 + (MaxExtensions+8)*6*MaxAttributeBytes

// IsJSON reports whether a datacontenttype says that the data is JSON, as the
// Java SDK decides it: application/json, text/json or a +json of these, in
// lower case, or none at all.
func IsJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	kind, subtype, ok := strings.Cut(media, "/")
	if !ok || kind != "application" && kind != "text" {
		return false
	}
	prefix, ok := strings.CutSuffix(subtype, "json")
	if !ok || prefix == "" {
		return ok
	}
	prefix, ok = strings.CutSuffix(prefix, "+")
	for i := range len(prefix) {
		if c := prefix[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return ok && prefix != ""
}

// AppendJSON appends e in the CloudEvents JSON format ("structured mode").
// Data is written as JSON where datacontenttype says that it is and it really
// is; else in base64, so that [ParseJSON] always returns the same bytes.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"specversion":"1.0"`...)
	dst = appendStringField(dst, "id", e.ID)
	dst = appendStringField(dst, "source", e.Source)
	dst = appendStringField(dst, "type", e.Type)
	if e.DataContentType != "" {
		dst = appendStringField(dst, "datacontenttype", e.DataContentType)
	}
	if e.DataSchema != "" {
		dst = appendStringField(dst, "dataschema", e.DataSchema)
	}
	if e.Subject != "" {
		dst = appendStringField(dst, "subject", e.Subject)
	}
	if !e.Time.IsZero() {
		dst = append(appendName(dst, "time"), '"')
		dst = append(e.Time.AppendFormat(dst, time.RFC3339Nano), '"')
	}
	if e.Key != "" {
		dst = appendStringField(dst, "partitionkey", e.Key)
	}
	for _, x := range e.Extensions {
		dst = appendStringField(dst, x.Name, x.Value)
	}
	switch {
	case e.Data == nil:
	case e.DataContentType != "" && IsJSON(e.DataContentType) && embeddable(e.Data):
		dst = append(appendName(dst, "data"), e.Data...)
	default:
		dst = append(appendName(dst, "data_base64"), '"')
		dst = append(base64.StdEncoding.AppendEncode(dst, e.Data), '"')
	}
	return append(dst, '}')
}

// embeddable reports whether data comes back byte for byte when it is put into
// a JSON object as it is.
func embeddable(data []byte) bool {
	return len(bytes.TrimSpace(data)) == len(data) && strictjson.Valid(string(data), MaxDepth)
}

// ParseJSON reads an event in the CloudEvents JSON format into e: of version 1.0,
// or of 0.3, which it converts. JSON data is taken as it is written and without
// a datacontenttype gets application/json; an extension that is no string
// becomes its canonical string, or its JSON text. It returns an
// [*InvalidError] for what is no such event; attributes may be empty but have to
// be there, see [Event.Validate].
func (e *Event) ParseJSON(data []byte) error {
	*e = Event{}
	d := eventDecoder{event: e}
	if len(data) > maxEventBytes {
		return &InvalidError{"$", "is longer than " + strconv.Itoa(maxEventBytes) + " bytes"}
	}
	// The event nests deeper than its data.
	d.json.Reset(string(data), MaxDepth+1)
	d.read()
	d.json.End()
	d.failed("$")
	d.finish()
	if d.problem != nil {
		return d.problem
	}
	return nil
}

// eventDecoder reads one event in the CloudEvents JSON format.
type eventDecoder struct {
	event   *Event
	json    strictjson.Scanner
	problem *InvalidError

	names                  strictjson.Names
	version                string
	hasID, hasSource       bool
	hasType                bool
	encoding, dataSchema   string // datacontentencoding and schemaurl of version 0.3
	data, base64           string // texts of the members data and data_base64
	hasData, hasDataBase64 bool
}

func (d *eventDecoder) fail(path, reason string) {
	if d.problem == nil {
		d.problem = &InvalidError{path, reason}
	}
}

// failed notes that reading the value at path went wrong, if it did.
func (d *eventDecoder) failed(path string) {
	if err := d.json.Err(); err == nil {
		return
	} else if err.Mismatch {
		d.fail(path, err.Reason)
	} else {
		d.fail("$", "is "+err.Error())
	}
}

func (d *eventDecoder) read() {
	d.json.Object()
	for d.problem == nil {
		name, ok := d.json.Name()
		if !ok {
			d.failed("$")
			return
		}
		if !d.names.Add(name) {
			d.fail(memberPath(name), "occurs twice")
			return
		}
		d.member(name)
		if d.json.Err() != nil {
			d.failed(memberPath(name))
		}
	}
}

func (d *eventDecoder) member(name string) {
	e := d.event
	switch name {
	case "specversion":
		d.version = d.json.Str()
	case "id":
		e.ID, d.hasID = d.json.Str(), true
	case "source":
		e.Source, d.hasSource = d.json.Str(), true
	case "type":
		e.Type, d.hasType = d.json.Str(), true
	case "subject":
		e.Subject = d.optional()
	case "datacontenttype":
		e.DataContentType = d.optional()
	case "dataschema":
		e.DataSchema = d.optional()
	case "schemaurl":
		d.dataSchema = d.optional()
	case "datacontentencoding":
		d.encoding = d.optional()
	case "time":
		if text := d.optional(); text != "" {
			var ok bool
			if e.Time, ok = ParseTime(text); !ok {
				d.fail("$.time", "is no time as RFC 3339 writes it")
			}
		}
	case "data":
		d.data, d.hasData = d.json.Raw(), true
	case "data_base64":
		d.base64, d.hasDataBase64 = d.json.Str(), true
	default:
		d.extension(name)
	}
}

// optional reads a string or null.
func (d *eventDecoder) optional() string {
	if d.json.Kind() == strictjson.Null {
		d.json.Null()
		return ""
	}
	return d.json.Str()
}

func (d *eventDecoder) extension(name string) {
	var value string
	switch d.json.Kind() {
	case strictjson.Null:
		d.json.Null()
		return
	case strictjson.String:
		value = d.json.Str()
	default:
		value = d.json.Raw()
	}
	switch {
	case name == "partitionkey":
		d.event.Key = value
	case !IsExtensionName(name):
		d.fail(memberPath(name), "must have a name of a-z and 0-9")
	default:
		d.event.Extensions = append(d.event.Extensions, Extension{name, value})
	}
}

// finish does what needs all members, in whatever order they came.
func (d *eventDecoder) finish() {
	e := d.event
	switch {
	case d.problem != nil:
		return
	case d.version != "1.0" && d.version != "0.3":
		d.fail("$.specversion", "must be 1.0")
		return
	case !d.hasID:
		d.fail("$.id", "is missing")
	case !d.hasSource:
		d.fail("$.source", "is missing")
	case !d.hasType:
		d.fail("$.type", "is missing")
	case !IsURIReference(e.Source):
		d.fail("$.source", "is no URI reference")
	case d.hasData && d.hasDataBase64:
		d.fail("$.data_base64", "and data must not both be there")
	}
	d.convert03()
	switch {
	case d.problem != nil:
	case !IsURIReference(e.DataSchema):
		d.fail("$.dataschema", "is no URI")
	case d.hasDataBase64:
		d.decode()
	case !d.hasData:
	case IsJSON(e.DataContentType):
		e.Data = []byte(d.data)
		if e.DataContentType == "" {
			e.DataContentType = "application/json"
		}
	case d.data[0] != '"':
		d.fail("$.data", "must be a string, since datacontenttype is not JSON's")
	default:
		// The scanner has found the string to be valid.
		e.Data, _ = jsontext.AppendUnquote([]byte{}, d.data)
	}
}

// convert03 turns what version 0.3 has and 1.0 has not into the latter's, and
// what 0.3 has not into an extension.
func (d *eventDecoder) convert03() {
	if d.version == "1.0" {
		if d.dataSchema != "" {
			d.event.Extensions = append(d.event.Extensions, Extension{"schemaurl", d.dataSchema})
		}
		if d.encoding != "" {
			d.event.Extensions = append(d.event.Extensions, Extension{"datacontentencoding", d.encoding})
		}
		return
	}
	if d.dataSchema != "" {
		d.event.DataSchema = d.dataSchema
	}
	if d.encoding == "" || !d.hasData {
		return
	}
	text, err := jsontext.AppendUnquote(nil, d.data)
	if d.encoding != "base64" || err != nil {
		d.fail("$.datacontentencoding", "must be base64, and data a string")
		return
	}
	d.base64, d.hasDataBase64 = string(text), true
}

func (d *eventDecoder) decode() {
	data, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(d.base64))
	if err != nil {
		d.fail("$.data_base64", "is no base64")
		return
	}
	d.event.Data = data
}
