package golden

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// CanonicalRequest is a request as text without what is volatile, the same for
// requests that count as the same. The names of headers may be in any case and
// order. A body that is not there is nil or empty; content-length tells.
func CanonicalRequest(method, path string, headers []Header, body []byte) string {
	lines := make([]string, 0, len(headers))
	for _, h := range headers {
		name := strings.ToLower(h.Name)
		if name == "host" || name == "user-agent" {
			continue
		}
		lines = append(lines, name+": "+text([]byte(canonicalValue(name, h.Value))))
	}
	slices.Sort(lines)
	if body == nil {
		body = []byte{}
	}
	return method + " " + path + "\n" + strings.Join(lines, "\n") + "\n" + text(body)
}

// Canonical is [CanonicalRequest] of a recorded request.
func (q *Request) Canonical() string {
	body, err := q.Body.Bytes()
	if err != nil {
		// The bytes are not known. Their description stands for them, as it
		// does for the bytes it is compared with.
		return strings.TrimSuffix(CanonicalRequest(q.Method, q.Path, q.Headers, nil), `""`) + q.Body.String()
	}
	return CanonicalRequest(q.Method, q.Path, q.Headers, body)
}

// canonicalValue returns the value of a header without its volatile part.
func canonicalValue(name string, value []byte) string {
	v := string(value)
	switch name {
	case "ce-knativeerrordest", "ce_knativeerrordest":
		if u, err := url.Parse(v); err == nil && u.Host != "" {
			u.Scheme, u.Host = "", ""
			return u.String()
		}
	case "traceparent":
		// version-traceid-parentid-flags
		if parts := strings.Split(v, "-"); len(parts) == 4 {
			parts[2] = "span"
			return strings.Join(parts, "-")
		}
	}
	return v
}

// CanonicalHead is the head of a request as text, without what is volatile: the
// attributes in their order, then the extensions as a set.
func CanonicalHead(head []byte) string {
	lines := strings.Split(strings.TrimRight(string(head), "\r\n"), "\r\n")
	var extensions []string
	rest := slices.DeleteFunc(lines, func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		if strings.HasPrefix(name, "ce-") && !slices.Contains(attributes, name[len("ce-"):]) {
			extensions = append(extensions, line)
			return true
		}
		return false
	})
	for i, line := range rest {
		if name, value, ok := strings.Cut(line, ": "); ok {
			switch name {
			case "host", "user-agent":
				rest[i] = name
			default:
				rest[i] = name + ": " + canonicalValue(name, []byte(value))
			}
		}
	}
	slices.Sort(extensions)
	return strings.Join(append(rest, extensions...), "\n")
}

// attributes are the context attributes. Their order on the wire is fixed, that
// of extensions is not.
var attributes = []string{"specversion", "id", "source", "type", "dataschema", "subject", "time", "schemaurl"}

// CanonicalRecord is a record that was read from a topic as text: its place,
// key, value and headers, the attributes in their order, then the extensions as
// a set. Null and empty differ. The timestamp is volatile.
func CanonicalRecord(r *kgo.Record) string {
	headers := make([]Header, 0, len(r.Headers))
	for _, h := range r.Headers {
		headers = append(headers, Header{Name: h.Key, Value: h.Value})
	}
	return canonicalRecord(r.Topic, r.Partition, r.Offset, text(r.Key), text(r.Value), headers)
}

// Canonical is [CanonicalRecord] of a recorded one.
func (r *Record) Canonical() string {
	return canonicalRecord(r.Topic, r.Partition, r.Offset, r.Key.String(), r.Value.String(), r.Headers)
}

func canonicalRecord(topic string, partition int32, offset int64, key, value string, headers []Header) string {
	var fixed, extensions []string
	for _, h := range headers {
		line := h.Name + ": " + text([]byte(canonicalValue(h.Name, h.Value)))
		if h.Value == nil {
			line = h.Name + ": null"
		}
		if name, ok := strings.CutPrefix(h.Name, "ce_"); ok && !slices.Contains(attributes, name) {
			extensions = append(extensions, line)
		} else {
			fixed = append(fixed, line)
		}
	}
	slices.Sort(extensions)
	return fmt.Sprintf("%s/%d@%d\nkey %s\n%s\nvalue %s", topic, partition, offset, key,
		strings.Join(append(fixed, extensions...), "\n"), value)
}

// CanonicalResponse is the answer of a KafkaSink as text. body is nil where there
// can be none, as to a HEAD. Connection headers and dates are not the receiver's
// to say and have to be left out by the caller if its server adds them.
func CanonicalResponse(status int, reason string, headers []Header, body []byte) string {
	lines := make([]string, 0, len(headers))
	for _, h := range headers {
		lines = append(lines, strings.ToLower(h.Name)+": "+text(h.Value))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d %s\n%s\n%s", status, reason, strings.Join(lines, "\n"), text(body))
}

// Canonical is [CanonicalResponse] of a recorded one.
func (r *Response) Canonical() string {
	body, err := r.Body.Bytes()
	if err != nil {
		body = bytes.Clone(r.Body.first)
	}
	return CanonicalResponse(r.Status, r.Reason, r.Headers, body)
}
