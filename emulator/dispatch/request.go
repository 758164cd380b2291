package dispatch

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"sync"
	"time"

	"datasurge/events"
)

// request is an event as it is sent: binary mode always, also for records that
// were structured.
type request struct {
	header http.Header
	values []string // memory of the header's values
	body   []byte   // nil: the event has no data, and there is no content-length
	// err is why it cannot be sent: a header value with a control character.
	// That counts as a transport error before a byte is sent.
	err error
}

// requests are those that are not in use: their headers were a quarter of the memory
// that a delivery takes.
var requests = sync.Pool{New: func() any { return &request{header: make(http.Header)} }}

// release gives r up. Nobody may have its header any more.
func (r *request) release() {
	clear(r.header)
	clear(r.values)
	r.body, r.err = nil, nil
	requests.Put(r)
}

// newRequest makes the request of a message. It is to be released.
func newRequest(m *message, namespace string) *request {
	const most = 14 // headers beside the extensions
	r := requests.Get().(*request)
	r.values = slices.Grow(r.values[:0], most+len(m.Extensions)) // once: the header points into it
	w := headerWriter{r}
	w.header["Prefer"] = preferReply
	w.header["User-Agent"] = userAgent
	w.add("Kn-Namespace", namespace)
	w.add("Ce-Specversion", m.version)
	w.add("Ce-Id", m.ID)
	w.add("Ce-Source", m.Source)
	w.add("Ce-Type", m.Type)
	optional := func(header, attribute, value string) {
		if value != "" || slices.Contains(m.empty, attribute) {
			w.add(header, value)
		}
	}
	optional("Content-Type", contentType, m.DataContentType)
	schema := "Ce-Dataschema"
	if m.version == version03 {
		schema = "Ce-Schemaurl"
	}
	optional(schema, "dataschema", m.DataSchema)
	optional("Ce-Subject", "subject", m.Subject)
	if !m.Time.IsZero() {
		w.add("Ce-Time", m.Time.Format(time.RFC3339Nano))
	}
	optional("Ce-Partitionkey", "partitionkey", m.Key)
	for i := range m.Extensions {
		w.add(headerName(m.Extensions[i].Name), m.Extensions[i].Value)
	}
	if m.traceparent != "" {
		w.add("Traceparent", m.traceparent)
		if m.tracestate != "" {
			w.add("Tracestate", m.tracestate)
		}
	}
	r.body = m.Data
	return r
}

var (
	preferReply = []string{"reply"}
	userAgent   = []string{"datasurge-emulator"}
)

// headerWriter fills a request's header. The values of all lines are in one slice.
type headerWriter struct{ *request }

// add adds a line. An attribute that an extension is called like has two.
func (w headerWriter) add(name, value string) {
	value = toLatin1(value)
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t' || c == 0x7f) && w.err == nil {
			w.err = fmt.Errorf("header %s cannot be written: it has the control character %q", name, c)
		}
	}
	if before := w.header[name]; before != nil {
		w.header[name] = append(slices.Clip(before), value)
		return
	}
	n := len(w.values)
	w.values = append(w.values, value)
	w.header[name] = w.values[n : n+1 : n+1]
}

// headerName returns the canonical name of an extension's header, without
// allocating for those that every event has.
func headerName(extension string) string {
	switch extension {
	case events.ExtPartition:
		return "Ce-Knativekafkapartition"
	case events.ExtOffset:
		return "Ce-Knativekafkaoffset"
	case events.ExtTopic:
		return "Ce-Kafkatopic"
	case events.ExtTask:
		return "Ce-Datasurgetask"
	case events.ExtWatermark:
		return "Ce-Datasurgewatermark"
	case "key":
		return "Ce-Key"
	}
	return textproto.CanonicalMIMEHeaderKey("ce-" + extension)
}

// content returns a reader of the body, http.NoBody when the event has no data.
func (r *request) content() io.ReadCloser {
	if r.body == nil {
		return http.NoBody
	}
	return &content{*bytes.NewReader(r.body)}
}

// content is a body from memory.
type content struct{ bytes.Reader }

func (*content) Close() error { return nil }

// toLatin1 returns s as the data plane writes header values: each UTF-16 unit is
// a byte, and a question mark when it does not fit. Nothing is percent-encoded.
func toLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r < 0x100:
			b = append(b, byte(r))
		case r < 0x10000:
			b = append(b, '?')
		default:
			b = append(b, "??"...) // two UTF-16 units
		}
	}
	return string(b)
}

// fromLatin1 returns the text of a header value that was received.
func fromLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
