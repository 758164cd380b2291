package kafkarecord

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	_ binding.Message               = (*Message)(nil)
	_ binding.MessageMetadataReader = (*Message)(nil)
	_ binding.StructuredWriter      = (*recordWriter)(nil)
	_ binding.BinaryWriter          = (*recordWriter)(nil)
)

// specs is what the SDK knows of the attributes of each version; it never
// changes.
var specs = spec.WithPrefix(prefix)

// Message is a record as a message of the CloudEvents SDK. It may be read any
// number of times, also at the same time. Of what Knative adds to events
// (partition, offset, key) it adds nothing.
type Message struct {
	record  *kgo.Record
	format  format.Format // in structured mode
	version spec.Version  // in binary mode
}

// NewMessage returns rec as a message. A record that is no CloudEvent gives one
// of unknown encoding.
func NewMessage(rec *kgo.Record) *Message {
	m := &Message{record: rec}
	switch modeOf(rec) {
	case structured:
		m.format = format.JSON
	case binaryMode:
		if version, ok := lastHeader(rec, specVersion); ok {
			m.version = specs.Version(string(version))
		}
	}
	return m
}

// lastHeader returns the value of the last header called name that is not null.
func lastHeader(rec *kgo.Record, name string) ([]byte, bool) {
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		if h := &rec.Headers[i]; h.Key == name && h.Value != nil {
			return h.Value, true
		}
	}
	return nil, false
}

// ReadEncoding implements binding.MessageReader.
func (m *Message) ReadEncoding() binding.Encoding {
	switch {
	case m.format != nil:
		return binding.EncodingStructured
	case m.version != nil:
		return binding.EncodingBinary
	}
	return binding.EncodingUnknown
}

// ReadStructured implements binding.MessageReader.
func (m *Message) ReadStructured(ctx context.Context, w binding.StructuredWriter) error {
	if m.format == nil {
		return binding.ErrNotStructured
	}
	return w.SetStructuredEvent(ctx, m.format, bytes.NewReader(m.record.Value))
}

// ReadBinary implements binding.MessageReader.
func (m *Message) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	if m.version == nil {
		return binding.ErrNotBinary
	}
	for _, h := range m.record.Headers {
		if h.Value == nil {
			continue
		}
		value := string(h.Value)
		if h.Key == contentType {
			if err := w.SetAttribute(m.version.AttributeFromKind(spec.DataContentType), value); err != nil {
				return err
			}
			continue
		}
		name, ok := strings.CutPrefix(h.Key, prefix)
		if !ok || name == "" {
			continue
		}
		var err error
		if attribute := m.version.Attribute(h.Key); attribute != nil {
			err = w.SetAttribute(attribute, value)
		} else {
			err = w.SetExtension(strings.ToLower(name), value)
		}
		if err != nil {
			return err
		}
	}
	if len(m.record.Value) > 0 {
		return w.SetData(bytes.NewBuffer(m.record.Value))
	}
	return nil
}

// GetAttribute implements binding.MessageMetadataReader. In structured mode,
// where it would have to parse the event, there are none.
func (m *Message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	if m.version == nil {
		return nil, nil
	}
	attribute := m.version.AttributeFromKind(kind)
	if attribute == nil {
		return nil, nil
	}
	name := attribute.PrefixedName()
	if kind == spec.DataContentType {
		name = contentType
	}
	if value, ok := lastHeader(m.record, name); ok {
		return attribute, string(value)
	}
	return attribute, nil
}

// GetExtension implements binding.MessageMetadataReader.
func (m *Message) GetExtension(name string) any {
	if m.version != nil {
		if value, ok := lastHeader(m.record, prefix+name); ok {
			return string(value)
		}
	}
	return nil
}

// Finish implements binding.Message; there is nothing to be finished.
func (m *Message) Finish(error) error { return nil }

// WriteRecord makes rec the event that is in, as [Write] and [WriteStructured]
// do: structured when in is, or when the context asks for it
// (binding.WithForceStructured), else binary.
func WriteRecord(ctx context.Context, in binding.Message, rec *kgo.Record, transformers ...binding.Transformer) error {
	w := &recordWriter{record: rec}
	_, err := binding.Write(ctx, in, w, w, transformers...)
	return err
}

// recordWriter writes a message of the SDK into a record.
type recordWriter struct{ record *kgo.Record }

// SetStructuredEvent implements binding.StructuredWriter.
func (w *recordWriter) SetStructuredEvent(_ context.Context, f format.Format, event io.Reader) error {
	value, err := io.ReadAll(event)
	if err != nil {
		return err
	}
	w.record.Key, w.record.Value = nil, value
	w.record.Headers = []kgo.RecordHeader{{Key: contentType, Value: []byte(f.MediaType())}}
	if key, err := jsontext.AppendUnquote(nil, member(value, "partitionkey")); err == nil && len(key) > 0 {
		w.record.Key = key
	}
	return nil
}

// Start implements binding.BinaryWriter.
func (w *recordWriter) Start(context.Context) error {
	w.record.Key, w.record.Value, w.record.Headers = nil, nil, nil
	return nil
}

// SetAttribute implements binding.MessageMetadataWriter.
func (w *recordWriter) SetAttribute(attribute spec.Attribute, value any) error {
	if attribute.Kind() == spec.DataContentType {
		return w.set(contentType, value)
	}
	return w.set(prefix+attribute.Name(), value)
}

// SetExtension implements binding.MessageMetadataWriter.
func (w *recordWriter) SetExtension(name string, value any) error {
	return w.set(prefix+name, value)
}

// set replaces the header called name, or removes it when value is nil.
func (w *recordWriter) set(name string, value any) error {
	headers := w.record.Headers[:0]
	for _, h := range w.record.Headers {
		if h.Key != name {
			headers = append(headers, h)
		}
	}
	w.record.Headers = headers
	if value == nil {
		return nil
	}
	text, err := types.Format(value)
	if err != nil {
		return err
	}
	w.record.Headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	return nil
}

// SetData implements binding.BinaryWriter.
func (w *recordWriter) SetData(data io.Reader) error {
	value, err := io.ReadAll(data)
	w.record.Value = value
	return err
}

// End implements binding.BinaryWriter.
func (w *recordWriter) End(context.Context) error {
	if key, ok := lastHeader(w.record, prefix+"partitionkey"); ok && len(key) > 0 {
		w.record.Key = key
	}
	return nil
}
