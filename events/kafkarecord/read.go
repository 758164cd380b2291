package kafkarecord

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// ErrNoCloudEvent is returned by [Read] for a record that is no CloudEvent when
// the mapping takes nothing else.
var ErrNoCloudEvent = errors.New("record is no CloudEvent")

// Mapping says how a record becomes an event. The zero value is that of a
// KafkaSource called datasurge in the namespace default.
type Mapping struct {
	// Namespace and Name of the KafkaSource, which appear in the source of
	// events made from plain records. "" is default and datasurge.
	Namespace, Name string
	// KeyType is how the key of a plain record becomes text.
	KeyType KeyType
	// Place adds the extensions knativekafkapartition and knativekafkaoffset to
	// every event, in place of what the event itself says.
	Place bool
	// CloudEventsOnly makes Read return ErrNoCloudEvent instead of an event
	// made from a plain record, as Brokers and Channels have it.
	CloudEventsOnly bool
	// Reserialize writes the JSON data of structured records anew, without
	// spaces and with the numbers as Java prints doubles, as the data plane of
	// Knative does. Else they stay as they are.
	Reserialize bool
}

// KeyType is the value of the label kafkasources.sources.knative.dev/key-type.
type KeyType uint8

// Key types. A key that does not have the length of its type is taken as text.
const (
	KeyString KeyType = iota // UTF-8
	KeyInt                   // 4 bytes, big-endian, signed
	KeyFloat                 // 4 or 8 bytes, IEEE 754, big-endian
	KeyBytes                 // any bytes, which become base64
)

// Read makes an event of a record, as the KafkaSource of Knative does
// (eventing-kafka-broker 7d8fe89f):
//
//   - A record with the header content-type application/cloudevents+json is an
//     event in structured mode. Other headers do not matter.
//   - A record with the header ce_specversion is an event in binary mode.
//     Headers that do not begin with ce_ do not matter, apart from
//     content-type; of a header that is there twice the last counts; names of
//     attributes are taken in lower case. An empty value is no data.
//   - Any other record is plain, and so is one that says to be an event and is
//     none: without a required attribute, with an unknown version, a malformed
//     time or URI, or a bad name of an extension. It becomes an event of type
//     [events.TypePlain] with its place as id and subject, its timestamp as
//     time, its key as partitionkey and as the extension key, and each header
//     as an extension kafkaheader<name>, of whose name a-z and 0-9 stay.
//
// Attributes may be empty, as they may in Knative; [events.Event.Validate] says
// whether the event is a valid one. An event of version 0.3 becomes one of 1.0.
// Bytes that are no UTF-8 become U+FFFD. A header with a null value is as if it
// were not there (the data plane of Knative loses such records).
//
// The event's data is the record's value, and its strings are parts of the
// record's headers, not copies: the record may not be changed as long as the event
// is in use, and who keeps one of them keeps the batch that the record came with.
// Read uses the array of e.Extensions when it is large enough.
func Read(rec *kgo.Record, e *events.Event, m Mapping) error {
	var err error
	switch modeOf(rec) {
	case structured:
		err = readStructured(rec, e, m)
	case binaryMode:
		err = readBinary(rec, e)
	default:
		err = ErrNoCloudEvent
	}
	if err != nil {
		if m.CloudEventsOnly {
			return ErrNoCloudEvent
		}
		readPlain(rec, e, m)
	}
	if m.Place {
		setExtension(e, events.ExtPartition, strconv.Itoa(int(rec.Partition)))
		setExtension(e, events.ExtOffset, strconv.FormatInt(rec.Offset, 10))
	}
	return nil
}

// Original returns rec as a dead letter keeps it. Nothing is copied.
func Original(rec *kgo.Record) events.Original {
	o := events.Original{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
		Timestamp: rec.Timestamp.UnixMilli(), Key: rec.Key, Value: rec.Value,
	}
	for _, h := range rec.Headers {
		o.Headers = append(o.Headers, events.Header{Name: h.Key, Value: h.Value})
	}
	return o
}

// The names of headers. They are case-sensitive, as in the data plane of
// Knative.
const (
	contentType    = "content-type"
	prefix         = "ce_"
	specVersion    = prefix + "specversion"
	structuredJSON = "application/cloudevents+json"
)

type mode uint8

const (
	plain mode = iota
	binaryMode
	structured
)

func modeOf(rec *kgo.Record) mode {
	var media []byte
	found := plain
	for i := range rec.Headers {
		switch h := &rec.Headers[i]; {
		case h.Value == nil:
		case h.Key == contentType:
			media = h.Value
		case h.Key == specVersion:
			found = binaryMode
		}
	}
	if isStructured(media) {
		return structured
	}
	return found
}

// isStructured reports whether a content type is that of structured mode.
func isStructured[T string | []byte](media T) bool {
	const n = len(structuredJSON)
	return len(media) >= n && string(media[:n]) == structuredJSON && (len(media) == n || media[n] == ';')
}

// text returns b as a string that shares its memory.
func text(b []byte) string {
	if !utf8.Valid(b) {
		return replaceInvalid(b)
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// replaceInvalid converts b, with U+FFFD for each byte that is no UTF-8.
func replaceInvalid(b []byte) string {
	var s strings.Builder
	for _, r := range string(b) {
		s.WriteRune(r)
	}
	return s.String()
}

// binaryReader reads the headers of a record in binary mode.
type binaryReader struct {
	event                     *events.Event
	extensions                extensionSet
	left                      int // headers from the one being read on
	version                   string
	hasID, hasSource, hasType bool
}

func readBinary(rec *kgo.Record, e *events.Event) error {
	r := binaryReader{event: e, extensions: extensionSet{list: e.Extensions[:0]}}
	*e = events.Event{}
	if len(rec.Value) > 0 {
		e.Data = rec.Value
	}
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if h.Value == nil {
			continue
		}
		r.left = len(rec.Headers) - i
		if h.Key == contentType {
			e.DataContentType = text(h.Value)
		} else if name, ok := strings.CutPrefix(h.Key, prefix); ok && name != "" {
			if err := r.read(name, h.Value); err != nil {
				return err
			}
		}
	}
	if len(r.extensions.list) > 0 {
		e.Extensions = r.extensions.list
	}
	switch r.version {
	case "1.0":
	case "0.3":
		if url := takeExtension(e, "schemaurl"); url != "" {
			e.DataSchema = url
		}
	default:
		return ErrNoCloudEvent
	}
	if !r.hasID || !r.hasSource || !r.hasType || !events.IsURIReference(e.Source) || !events.IsURIReference(e.DataSchema) {
		return ErrNoCloudEvent
	}
	return nil
}

// read reads the attribute or extension called name.
func (r *binaryReader) read(name string, value []byte) error {
	e := r.event
	switch name {
	case "specversion":
		r.version = text(value)
	case "id":
		e.ID, r.hasID = text(value), true
	case "source":
		e.Source, r.hasSource = text(value), true
	case "type":
		e.Type, r.hasType = text(value), true
	case "subject":
		e.Subject = text(value)
	case "datacontenttype":
		e.DataContentType = text(value)
	case "dataschema":
		e.DataSchema = text(value)
	case "time":
		var ok bool
		if e.Time, ok = events.ParseTime(value); !ok {
			return ErrNoCloudEvent
		}
	case "partitionkey":
		e.Key = text(value)
	default:
		if !events.IsExtensionName(name) {
			if lower := strings.ToLower(name); lower != name {
				return r.read(lower, value)
			}
			return ErrNoCloudEvent
		}
		if cap(r.extensions.list) == 0 {
			r.extensions.list = make([]events.Extension, 0, r.left)
		}
		r.extensions.put(name, text(value))
	}
	return nil
}

// extensionSet is a list of extensions in which each name is once.
type extensionSet struct {
	list  []events.Extension
	index map[string]int // when list is long: a record may have 100,000 headers
}

func (s *extensionSet) put(name, value string) {
	const long = 32
	if s.index == nil && len(s.list) < long {
		for i := range s.list {
			if s.list[i].Name == name {
				s.list[i].Value = value
				return
			}
		}
		s.list = append(s.list, events.Extension{Name: name, Value: value})
		return
	}
	if s.index == nil {
		s.index = make(map[string]int, 2*long)
		for i := range s.list {
			s.index[s.list[i].Name] = i
		}
	}
	if i, ok := s.index[name]; ok {
		s.list[i].Value = value
		return
	}
	s.index[name] = len(s.list)
	s.list = append(s.list, events.Extension{Name: name, Value: value})
}

func setExtension(e *events.Event, name, value string) {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			e.Extensions[i].Value = value
			return
		}
	}
	e.Extensions = append(e.Extensions, events.Extension{Name: name, Value: value})
}

// takeExtension removes the extension called name and returns its value.
func takeExtension(e *events.Event, name string) string {
	for i, x := range e.Extensions {
		if x.Name == name {
			e.Extensions = append(e.Extensions[:i], e.Extensions[i+1:]...)
			return x.Value
		}
	}
	return ""
}

func readStructured(rec *kgo.Record, e *events.Event, m Mapping) error {
	if err := e.ParseJSON(rec.Value); err != nil {
		return ErrNoCloudEvent
	}
	if m.Reserialize && member(rec.Value, "data") != nil && events.IsJSON(e.DataContentType) {
		e.Data = Reserialize(e.Data)
	}
	return nil
}

// member returns the value of the member called name of the JSON object in
// data, nil when there is none.
func member(data []byte, name string) jsontext.Value {
	in := jsontext.NewDecoder(bytes.NewReader(data))
	if _, err := in.ReadToken(); err != nil {
		return nil
	}
	for in.PeekKind() == '"' {
		token, err := in.ReadToken()
		if err != nil {
			return nil
		}
		found := token.String() == name
		value, err := in.ReadValue()
		if err != nil {
			return nil
		}
		if found {
			return value
		}
	}
	return nil
}

// The maximal length of what readPlain makes of partition and offset:
// "partition:/offset:" and "partition:#", each with both numbers.
const placeBytes = len("partition:/offset:") + len("partition:#") + 2*(10+19)

func readPlain(rec *kgo.Record, e *events.Event, m Mapping) {
	namespace, name := m.Namespace, m.Name
	if namespace == "" {
		namespace = "default"
	}
	if name == "" {
		name = "datasurge"
	}
	const (
		root    = "/apis/v1/namespaces/"
		kind    = "/kafkasources/"
		headers = "kafkaheader"
	)
	size := placeBytes + len(root) + len(namespace) + len(kind) + len(name) + 1 + len(rec.Topic)
	for i := range rec.Headers {
		size += len(headers) + len(rec.Headers[i].Key)
	}
	var all strings.Builder // of which all new strings are parts
	all.Grow(size)
	var digits [2][20]byte
	partition := strconv.AppendInt(digits[0][:0], int64(rec.Partition), 10)
	offset := strconv.AppendInt(digits[1][:0], rec.Offset, 10)

	set := extensionSet{list: e.Extensions[:0]}
	*e = events.Event{Type: events.TypePlain, Data: rec.Value, Time: rec.Timestamp.UTC()}
	if rec.Timestamp.IsZero() {
		e.Time = time.Unix(0, 0).UTC()
	}
	start := all.Len()
	all.WriteString("partition:")
	all.Write(partition)
	all.WriteString("/offset:")
	all.Write(offset)
	e.ID = all.String()[start:]

	start = all.Len()
	all.WriteString("partition:")
	all.Write(partition)
	all.WriteByte('#')
	all.Write(offset)
	e.Subject = all.String()[start:]

	start = all.Len()
	for _, part := range [...]string{root, namespace, kind, name, "#", rec.Topic} {
		all.WriteString(part)
	}
	e.Source = all.String()[start:]

	if len(rec.Key) > 0 {
		if set.list == nil {
			set.list = make([]events.Extension, 0, 1+len(rec.Headers))
		}
		e.Key = m.KeyType.text(rec.Key)
		set.put("key", e.Key)
	}
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if h.Value == nil {
			continue
		}
		if strings.EqualFold(h.Key, contentType) {
			e.DataContentType = strings.ToLower(text(h.Value))
			continue
		}
		start := all.Len()
		all.WriteString(headers)
		writeFolded(&all, h.Key)
		name := all.String()[start:]
		set.put(name, text(h.Value))
	}
	if len(set.list) > 0 {
		e.Extensions = set.list
	}
}

// writeFolded writes the letters and digits of name, in lower case.
func writeFolded(b *strings.Builder, name string) {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		}
	}
}

func (t KeyType) text(key []byte) string {
	switch {
	case t == KeyInt && len(key) == 4:
		return strconv.Itoa(int(int32(binary.BigEndian.Uint32(key))))
	case t == KeyFloat && len(key) == 4:
		return string(appendJavaFloat(nil, float64(math.Float32frombits(binary.BigEndian.Uint32(key))), 32))
	case t == KeyFloat && len(key) == 8:
		return string(appendJavaFloat(nil, math.Float64frombits(binary.BigEndian.Uint64(key)), 64))
	case t == KeyBytes:
		return base64.StdEncoding.EncodeToString(key)
	}
	return text(key)
}
