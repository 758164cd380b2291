package source

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// attribute is one context attribute as it stands on HTTP.
type attribute struct{ name, value string } // name without ce-

// request is an event as it is sent: binary mode always, also for records that
// were structured.
type request struct {
	header  http.Header
	body    []byte
	hasBody bool
}

// newRequest makes the request of an event. Overrides come last, and do not
// replace an attribute of the same name: both are sent, as the data plane does.
func newRequest(e *events.Event, overrides []attribute, namespace string) *request {
	h := make(http.Header, 10+len(e.Extensions)+len(overrides))
	h["Prefer"] = preferReply
	h["Kn-Namespace"] = []string{namespace}
	h["User-Agent"] = userAgent
	h["Ce-Specversion"] = specVersion
	h["Ce-Id"] = []string{latin1(e.ID)}
	h["Ce-Source"] = []string{latin1(e.Source)}
	h["Ce-Type"] = []string{latin1(e.Type)}
	optional := func(name, value string) {
		if value != "" {
			h[name] = []string{latin1(value)}
		}
	}
	optional("Content-Type", e.DataContentType)
	optional("Ce-Dataschema", e.DataSchema)
	optional("Ce-Subject", e.Subject)
	optional("Ce-Partitionkey", e.Key)
	if !e.Time.IsZero() {
		h["Ce-Time"] = []string{e.Time.Format(time.RFC3339Nano)}
	}
	for i := range e.Extensions {
		x := &e.Extensions[i]
		h[headerName(x.Name)] = []string{latin1(x.Value)}
	}
	r := &request{header: h, body: e.Data, hasBody: e.Data != nil}
	for _, o := range overrides {
		r.override(o.name, o.value)
	}
	return r
}

var (
	preferReply = []string{"reply"}
	specVersion = []string{"1.0"}
	userAgent   = []string{"datasurge-emulator"}
)

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

// attributes are the names that belong to the event itself.
var attributes = map[string]bool{
	"specversion": true, "id": true, "source": true, "type": true, "subject": true, "time": true, "dataschema": true,
}

// override sets an extension, or adds a second value to an attribute.
func (r *request) override(name, value string) {
	h := headerName(name)
	if attributes[name] {
		r.header[h] = append(r.header[h], latin1(value))
		return
	}
	r.header[h] = []string{latin1(value)}
}

// trace continues the trace that a record's headers name: the same trace with a
// new span. Without a valid traceparent there is none, also with tracing on.
func (r *request) trace(rec *kgo.Record) {
	var parent, state string
	for i := range rec.Headers {
		switch rec.Headers[i].Key {
		case "traceparent":
			parent = string(rec.Headers[i].Value)
		case "tracestate":
			state = string(rec.Headers[i].Value)
		}
	}
	// version-traceid-parentid-flags
	parts := strings.Split(parent, "-")
	if len(parts) != 4 || len(parts[0]) != 2 || !isHex(parts[1], 32) || !isHex(parts[2], 16) || len(parts[3]) != 2 {
		return
	}
	parts[2] = fmt.Sprintf("%016x", rand.Uint64()|1) // a span id is not zero
	r.header["Traceparent"] = []string{strings.Join(parts, "-")}
	if state != "" {
		r.header["Tracestate"] = []string{latin1(state)}
	}
}

// isHex reports whether s is n hexadecimal digits, not all zero.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

// clone returns a request whose extensions can be changed.
func (r *request) clone() *request {
	c := *r
	c.header = make(http.Header, len(r.header)+3)
	for name, values := range r.header {
		c.header[name] = values[:len(values):len(values)]
	}
	return &c
}

// content returns a reader of the body, http.NoBody when the event has no data.
func (r *request) content() io.ReadCloser {
	if !r.hasBody {
		return http.NoBody
	}
	return io.NopCloser(bytes.NewReader(r.body))
}

// latin1 returns s as the data plane writes header values: each UTF-16 unit is a
// byte, and a question mark when it does not fit. Nothing is percent-encoded.
func latin1(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
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
			b = append(b, '?', '?') // two UTF-16 units
		}
	}
	return string(b)
}
