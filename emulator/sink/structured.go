package sink

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// structuredReader reads an event in the JSON format.
type structuredReader struct {
	event      *event
	attributes map[string]string // of text, by name
	data       jsontext.Value    // member data, nil when it is not there
	base64     *string           // member data_base64
	others     []member          // extensions
}

type member struct {
	name  string
	value jsontext.Value
}

func (e *event) readStructured(body []byte) error {
	r := structuredReader{event: e, attributes: make(map[string]string)}
	if err := r.members(body); err != nil {
		return err
	}
	e.version = r.attributes["specversion"]
	if e.version != "1.0" && e.version != "0.3" {
		return fmt.Errorf("specversion %q", e.version)
	}
	for _, name := range []string{"id", "source", "type"} {
		if _, ok := r.attributes[name]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	e.id, e.source, e.kind = r.attributes["id"], r.attributes["source"], r.attributes["type"]
	schema := "dataschema"
	if e.version == "0.3" {
		schema = "schemaurl"
	}
	for _, name := range []string{"datacontenttype", "subject", "time", schema} {
		if value, ok := r.attributes[name]; ok {
			if err := e.set(name, value); err != nil {
				return err
			}
		}
	}
	for _, m := range r.others {
		if err := r.extension(m); err != nil {
			return err
		}
	}
	if err := r.readData(); err != nil {
		return err
	}
	sortExtensions(e.extensions)
	return e.check()
}

// members reads the members of the object into r.
func (r *structuredReader) members(body []byte) error {
	in := jsontext.NewDecoder(bytes.NewReader(body))
	if in.PeekKind() != '{' {
		return errors.New("body is no JSON object")
	}
	if _, err := in.ReadToken(); err != nil {
		return err
	}
	for in.PeekKind() == '"' {
		token, err := in.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := in.ReadValue()
		if err != nil {
			return err
		}
		if err := r.member(name, bytes.Clone(value)); err != nil {
			return err
		}
	}
	if _, err := in.ReadToken(); err != nil {
		return err
	}
	if _, err := in.ReadToken(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (r *structuredReader) member(name string, value jsontext.Value) error {
	switch name {
	case "data":
		r.data = value
		return nil
	case "specversion", "id", "source", "type", "datacontenttype", "subject", "time", "dataschema", "schemaurl", "datacontentencoding", "data_base64":
	default:
		r.others = append(r.others, member{name, value})
		return nil
	}
	if value.Kind() == 'n' {
		return nil // as if it were not there
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return fmt.Errorf("%s is no text", name)
	}
	if name == "data_base64" {
		s := string(text)
		r.base64 = &s
	} else {
		r.attributes[name] = string(text)
	}
	return nil
}

func (r *structuredReader) extension(m member) error {
	x := extension{name: m.name}
	switch m.value.Kind() {
	case 'n':
		return nil
	case '"':
		text, err := jsontext.AppendUnquote(nil, m.value)
		if err != nil {
			return err
		}
		x.value = string(text)
	case '0', 't', 'f':
		x.value, x.literal = string(kafkarecord.Reserialize(m.value)), true
	default:
		x.value = string(kafkarecord.Reserialize(m.value))
	}
	return r.event.extend(x)
}

// readData makes the data of the members that hold it. JSON is written anew, as
// Jackson does it.
func (r *structuredReader) readData() error {
	e := r.event
	if e.version == "0.3" && r.data != nil && r.attributes["datacontentencoding"] == "base64" {
		text, err := jsontext.AppendUnquote(nil, r.data)
		if err != nil {
			return errors.New("data is no text, though datacontentencoding is base64")
		}
		s := string(text)
		r.data, r.base64 = nil, &s
	}
	switch {
	case r.base64 != nil && r.data != nil:
		return errors.New("data and data_base64 are both there")
	case r.base64 != nil:
		data, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(*r.base64))
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		e.data = data
	case r.data == nil:
	case events.IsJSON(e.contentType.value):
		e.data = kafkarecord.Reserialize(r.data)
		if !e.contentType.given {
			e.contentType = optional{"application/json", true}
		}
	default:
		text, err := jsontext.AppendUnquote([]byte{}, r.data)
		if err != nil {
			return errors.New("data is no text, though datacontenttype is not JSON's")
		}
		e.data = text
	}
	return nil
}
