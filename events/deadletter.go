package events

import (
	"encoding/base64"
	"math"
	"unicode/utf8"

	"datasurge/events/internal/strictjson"
)

// DeadLetter is a record that a function could not make sense of: the data of
// TypeDeadLetter. It holds everything that is needed to write the record again
// once the reason is gone: its topic, key, value and headers.
//
// On the wire, bytes that are UTF-8 are strings ("key", "value"), others are
// base64 ("keyBase64", "valueBase64"), and what was null is absent. So
//
//	jq -r 'select(.reason | contains("$.currency")).value'
//
// gives the original JSON of all records with a bad currency. A value of more
// than MaxDeadLetterValue bytes is cut there, since the letter has to fit into
// a record itself; size then says how long it was, and topic, partition and
// offset where to find it while the topic retains it.
//
// A value may be here for the card number in it: the topic of dead letters
// deserves the same protection as the topic of the records.
type DeadLetter struct {
	Function string // function that refused the record
	Reason   string // a sentence, with the JSON path of what was wrong
	Original
	Size int // bytes of the whole value when Value was cut, else 0
}

// Original is a record as it stood in its topic. Nil is null.
type Original struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // ms since the epoch
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte // nil for null
}

// MaxDeadLetterValue is how many bytes of a value a dead letter keeps.
const MaxDeadLetterValue = 512 << 10

const (
	deadFunction field = iota
	deadReason
	deadTopic
	deadPartition
	deadOffset
	deadTimestamp

	deadKey // from here on optional
	deadValue
	deadSize
	deadHeaders
	deadHeaderName
	deadHeaderValue
)

const deadHeaderFields = fieldSet(1)<<deadHeaderName | 1<<deadHeaderValue

var deadPaths = [...]string{
	deadFunction:    "function",
	deadReason:      "reason",
	deadTopic:       "topic",
	deadPartition:   "partition",
	deadOffset:      "offset",
	deadTimestamp:   "timestamp",
	deadKey:         "key",
	deadValue:       "value",
	deadSize:        "size",
	deadHeaders:     "headers",
	deadHeaderName:  "headers[].name",
	deadHeaderValue: "headers[].value",
}

// ParseDeadLetter reads the data of a TypeDeadLetter event into l. Unlike other
// payloads it may contain card numbers.
func ParseDeadLetter(data []byte, l *DeadLetter) error {
	*l = DeadLetter{}
	var d decoder
	d.openText(string(data), deadPaths[:], maxDeadLetterBytes, MaxDepth)
	for name := range d.names {
		switch name {
		case "function":
			l.Function = d.id(deadFunction)
		case "reason":
			l.Reason = d.text(deadReason, maxReasonBytes)
		case "topic":
			l.Topic = d.text(deadTopic, MaxTextBytes)
		case "partition":
			l.Partition = int32(d.integerIn(deadPartition, 0, math.MaxInt32))
		case "offset":
			l.Offset = d.integerIn(deadOffset, 0, math.MaxInt64)
		case "timestamp":
			l.Timestamp = d.integer(deadTimestamp)
		case "key":
			l.Key = d.bytes(deadKey, false)
		case "keyBase64":
			l.Key = d.bytes(deadKey, true)
		case "value":
			l.Value = d.bytes(deadValue, false)
		case "valueBase64":
			l.Value = d.bytes(deadValue, true)
		case "size":
			l.Size = int(d.integerIn(deadSize, 0, math.MaxInt32))
		case "headers":
			l.Headers = d.headers()
		default:
			d.other(name)
		}
	}
	return d.close(fieldSet(1)<<deadKey - 1)
}

// maxDeadLetterBytes bounds what ParseDeadLetter reads: the worst value, in
// base64, and as much again for headers.
const maxDeadLetterBytes = 4 * MaxDeadLetterValue

// bytes reads the string f, in base64 or as it is.
func (d *decoder) bytes(f field, encoded bool) []byte {
	d.once(f)
	text := d.json.Str()
	if d.failed(f) {
		return nil
	}
	if !encoded {
		return []byte(text)
	}
	data, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(text))
	if err != nil {
		d.wrong(f, "is no base64")
	}
	return data
}

func (d *decoder) headers() []Header {
	const most = 10_000
	var headers []Header
	d.once(deadHeaders)
	d.json.Array()
	for d.more(deadHeaders, len(headers), most) {
		var header Header
		d.seen &^= deadHeaderFields
		var names strictjson.Names
		d.json.Object()
		for name := range d.names {
			switch name {
			case "name":
				d.once(deadHeaderName)
				header.Name = d.json.Str()
			case "value":
				header.Value = d.bytes(deadHeaderValue, false)
			case "valueBase64":
				header.Value = d.bytes(deadHeaderValue, true)
			default:
				d.unknown(&names, name, "$.headers")
			}
		}
		d.require(1 << deadHeaderName)
		headers = append(headers, header)
	}
	return headers
}

// AppendDeadLetter appends l as ParseDeadLetter reads it.
func AppendDeadLetter(dst []byte, l *DeadLetter) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "reason", l.Reason)
	dst = appendStringField(dst, "function", l.Function)
	dst = appendStringField(dst, "topic", l.Topic)
	dst = appendIntField(dst, "partition", int64(l.Partition))
	dst = appendIntField(dst, "offset", l.Offset)
	dst = appendIntField(dst, "timestamp", l.Timestamp)
	dst = appendBytesField(dst, "key", l.Key)
	if len(l.Headers) > 0 {
		dst = append(appendName(dst, "headers"), '[')
		for i := range l.Headers {
			dst = append(appendComma(dst), '{')
			dst = appendStringField(dst, "name", l.Headers[i].Name)
			dst = appendBytesField(dst, "value", l.Headers[i].Value)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	if l.Size > 0 {
		dst = appendIntField(dst, "size", int64(l.Size))
	}
	dst = appendBytesField(dst, "value", l.Value)
	return append(dst, '}')
}

// appendBytesField appends value as a string called name, or in base64 as
// name + "Base64" when it is no text; nothing when it is nil.
func appendBytesField(dst []byte, name string, value []byte) []byte {
	if value == nil {
		return dst
	}
	if isText(value) {
		return appendStringField(dst, name, string(value))
	}
	dst = appendName(dst, name+"Base64")
	dst = append(dst, '"')
	return append(base64.StdEncoding.AppendEncode(dst, value), '"')
}

// isText reports whether value is UTF-8 that, as a JSON string, is not much
// longer than in base64.
func isText(value []byte) bool {
	escapes := 0
	for _, c := range value {
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
			escapes++
		case c < ' ':
			escapes += 5
		}
	}
	return escapes <= len(value)/2 && utf8.Valid(value)
}
