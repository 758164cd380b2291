package dispatch

import (
	"errors"
	"strings"
	"time"
)

// Filter chooses events, as the filters of a Trigger do. The error means that
// the data plane fails on this event, and discards it whatever stands around the
// filter.
type Filter interface {
	match(m *message) (bool, error)
}

// attributeFilter compares attributes with text.
type attributeFilter struct {
	want  map[string]string
	equal func(given, want string) bool
}

// Exact takes events whose attributes all have these values. An empty value asks
// nothing. It is also what filter.attributes means.
func Exact(attributes map[string]string) Filter {
	return attributeFilter{attributes, func(given, want string) bool { return given == want }}
}

// Prefix takes events whose attributes all begin with these values.
func Prefix(attributes map[string]string) Filter {
	return attributeFilter{attributes, strings.HasPrefix}
}

// Suffix takes events whose attributes all end with these values.
func Suffix(attributes map[string]string) Filter {
	return attributeFilter{attributes, strings.HasSuffix}
}

func (f attributeFilter) match(m *message) (bool, error) {
	all := true
	for name, want := range f.want {
		if want == "" {
			continue
		}
		given, err := m.attribute(name)
		if err != nil {
			return false, err
		}
		all = all && f.equal(given, want)
	}
	return all, nil
}

// errNoAttribute is what the data plane makes of a filter on an attribute that
// the event does not have: a null pointer.
var errNoAttribute = errors.New("the event has no such attribute")

// attribute returns the value of an attribute or extension as filters see it.
// One that is not there is empty, but for those of which the data plane asks in
// another way.
func (m *message) attribute(name string) (string, error) {
	switch name {
	case "specversion":
		return m.version, nil
	case "id":
		return m.ID, nil
	case "source":
		return m.Source, nil
	case "type":
		return m.Type, nil
	case "datacontenttype":
		if m.DataContentType == "" {
			return "", errNoAttribute
		}
		return m.DataContentType, nil
	case "subject":
		if m.Subject == "" {
			return "", errNoAttribute
		}
		return m.Subject, nil
	case "dataschema", "schemaurl":
		return m.DataSchema, nil
	case "time":
		if m.Time.IsZero() {
			return "", nil
		}
		return instant(m.Time), nil
	case "partitionkey":
		return m.Key, nil
	}
	return m.Extension(name), nil
}

// instant formats t as Java's ISO_INSTANT does: in UTC, with no, three, six or
// nine digits of a second.
func instant(t time.Time) string {
	t = t.UTC()
	layout := "2006-01-02T15:04:05.000000000Z"
	switch ns := t.Nanosecond(); {
	case ns == 0:
		layout = "2006-01-02T15:04:05Z"
	case ns%1e6 == 0:
		layout = "2006-01-02T15:04:05.000Z"
	case ns%1e3 == 0:
		layout = "2006-01-02T15:04:05.000000Z"
	}
	return t.Format(layout)
}

type allFilter []Filter

// All takes events that all filters take.
func All(filters ...Filter) Filter { return allFilter(filters) }

func (f allFilter) match(m *message) (bool, error) {
	for _, one := range f {
		if ok, err := one.match(m); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

type anyFilter []Filter

// Any takes events that at least one filter takes.
func Any(filters ...Filter) Filter { return anyFilter(filters) }

func (f anyFilter) match(m *message) (bool, error) {
	for _, one := range f {
		if ok, err := one.match(m); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

type notFilter struct{ Filter }

// Not takes events that the filter does not take.
func Not(filter Filter) Filter { return notFilter{filter} }

func (f notFilter) match(m *message) (bool, error) {
	ok, err := f.Filter.match(m)
	return !ok && err == nil, err
}
