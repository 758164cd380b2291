package serve

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"datasurge/events"
)

// readPlain reads an event in binary mode whose attributes are as they should be:
// of version 1.0, each there once, in printable ASCII. ok is false for any other,
// which may be valid all the same: the CloudEvents SDK, which takes several times as
// long, decides about these. What is read here is what the SDK reads
// (FuzzReadPlain).
func readPlain(header http.Header, body []byte) (e events.Event, ok bool) {
	if !isOne(header["Ce-Specversion"], "1.0") {
		return e, false
	}
	e.Extensions = make([]events.Extension, 0, 8)
	for key, values := range header {
		name, isAttribute := strings.CutPrefix(key, "Ce-")
		if !isAttribute && key != "Content-Type" {
			continue
		}
		if len(values) != 1 || !isPlain(values[0]) {
			return e, false
		}
		value := values[0]
		switch key {
		case "Ce-Specversion":
		case "Ce-Id":
			e.ID = value
		case "Ce-Source":
			e.Source = value
		case "Ce-Type":
			e.Type = value
		case "Ce-Subject":
			e.Subject = value
		case "Ce-Partitionkey":
			e.Key = value
		case "Ce-Time":
			var err error
			if e.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
				return e, false
			}
		case "Content-Type":
			e.DataContentType = value
		default:
			if name = extensionName(name); !events.IsExtensionName(name) {
				return e, false
			}
			e.Extensions = append(e.Extensions, events.Extension{Name: name, Value: value})
		}
	}
	if strings.HasPrefix(e.DataContentType, "application/cloudevents") || !isPath(e.Source) {
		return e, false
	}
	if len(body) > 0 {
		e.Data = body
	}
	slices.SortFunc(e.Extensions, func(a, b events.Extension) int { return strings.Compare(a.Name, b.Name) })
	return e, e.Validate() == nil
}

func isOne(values []string, want string) bool { return len(values) == 1 && values[0] == want }

// isPlain reports whether s is printable ASCII without space at its ends, which
// the SDK would take away.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == ' ' && (i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}

// isPath reports whether s is a path, with or without a fragment, of characters
// that parsing and printing a URI leaves as they are.
func isPath(s string) bool {
	path, fragment, found := strings.Cut(s, "#")
	isSimple := func(s string) bool {
		for i := range len(s) {
			c := s[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("/-_.", c) < 0 {
				return false
			}
		}
		return s != ""
	}
	return isSimple(path) && path[0] == '/' && !strings.HasPrefix(path, "//") && (!found || isSimple(fragment))
}

// extensionName returns the name of an extension from that of its header, without
// allocating for those that a KafkaSource and our own functions add.
func extensionName(header string) string {
	switch header {
	case "Knativekafkapartition":
		return events.ExtPartition
	case "Knativekafkaoffset":
		return events.ExtOffset
	case "Kafkatopic":
		return events.ExtTopic
	case "Datasurgetask":
		return events.ExtTask
	case "Datasurgewatermark":
		return events.ExtWatermark
	}
	return strings.ToLower(header)
}
