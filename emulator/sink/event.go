package sink

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"datasurge/events"
)

// event is a CloudEvent of version 1.0 or 0.3 as the receiver keeps it: nothing
// is converted between the versions, and an attribute that is empty is there.
type event struct {
	version          string // 1.0 or 0.3
	id, source, kind string
	contentType      optional // datacontenttype
	schema           optional // dataschema, or schemaurl of version 0.3
	subject          optional
	time             time.Time // zero when absent
	extensions       []extension
	data             []byte // nil without data
}

type optional struct {
	value string
	given bool
}

// extension is an extension attribute.
type extension struct {
	name, value string
	// literal: value is a JSON number or boolean, written as it is in structured
	// mode.
	literal bool
}

var errNoEvent = errors.New("neither a structured nor a binary CloudEvent")

// read makes the event of a request. Which mode it is in is told as
// io.cloudevents.core.message.impl.MessageUtils tells it: the content type is
// compared with case, and one of the family that is no known format is no event.
func (e *event) read(h http.Header, body []byte) error {
	contentType := last(h["Content-Type"])
	if strings.HasPrefix(contentType, "application/cloudevents") {
		media, _, _ := strings.Cut(contentType, ";")
		if strings.TrimSpace(media) != "application/cloudevents+json" {
			return errNoEvent
		}
		return e.readStructured(body)
	}
	return e.readBinary(h, body)
}

func (e *event) readBinary(h http.Header, body []byte) error {
	version, ok := h["Ce-Specversion"]
	if !ok {
		return errNoEvent
	}
	e.version = last(version)
	if e.version != "1.0" && e.version != "0.3" {
		return fmt.Errorf("specversion %q", e.version)
	}
	if v, ok := h["Content-Type"]; ok {
		e.contentType = optional{latin1(last(v)), true}
	}
	if len(body) > 0 {
		e.data = body
	}
	var required int
	for name, values := range h {
		if !strings.HasPrefix(name, "Ce-") {
			continue
		}
		value := latin1(last(values))
		switch name {
		case "Ce-Specversion":
		case "Ce-Id":
			e.id = value
			required++
		case "Ce-Source":
			e.source = value
			required++
		case "Ce-Type":
			e.kind = value
			required++
		default:
			if err := e.set(strings.ToLower(name[len("Ce-"):]), value); err != nil {
				return err
			}
		}
	}
	if required != 3 {
		return errors.New("id, source or type is missing")
	}
	sortExtensions(e.extensions)
	return e.check()
}

// set sets an optional attribute or an extension.
func (e *event) set(name, value string) error {
	switch {
	case name == "datacontenttype":
		e.contentType = optional{value, true}
	case name == "subject":
		e.subject = optional{value, true}
	case name == "time":
		var ok bool
		if e.time, ok = events.ParseTime(value); !ok {
			return fmt.Errorf("time %q is none", value)
		}
	case name == "dataschema" && e.version == "1.0", name == "schemaurl" && e.version == "0.3":
		e.schema = optional{value, true}
	default:
		return e.extend(extension{name: name, value: value})
	}
	return nil
}

func (e *event) extend(x extension) error {
	if x.name != "partitionkey" && !events.IsExtensionName(x.name) {
		return fmt.Errorf("%q is no name of an extension", x.name)
	}
	e.extensions = append(e.extensions, x)
	return nil
}

func (e *event) check() error {
	switch {
	case !events.IsURIReference(e.source):
		return fmt.Errorf("source %q is no URI reference", e.source)
	case !events.IsURIReference(e.schema.value):
		return fmt.Errorf("schema %q is no URI", e.schema.value)
	}
	return nil
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// latin1 returns the text of a header value whose bytes are Latin-1.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			runes := make([]rune, len(s))
			for i := range len(s) {
				runes[i] = rune(s[i])
			}
			return string(runes)
		}
	}
	return s
}

// sortExtensions puts extensions into the order in which Java's HashMap has them
// (java.util.HashMap of OpenJDK 25: a table of at least 16 buckets that is never
// more than three quarters full), so that records have the same bytes.
func sortExtensions(list []extension) {
	size := 16
	for len(list) > size/4*3 {
		size *= 2
	}
	bucket := func(name string) uint32 {
		var h uint32
		for i := range len(name) {
			h = 31*h + uint32(name[i])
		}
		return (h ^ h>>16) & uint32(size-1)
	}
	slices.SortFunc(list, func(a, b extension) int {
		// In one bucket the order is that of arrival, which is not known.
		return cmp.Or(cmp.Compare(bucket(a.name), bucket(b.name)), cmp.Compare(a.name, b.name))
	})
}
