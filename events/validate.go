package events

import (
	"strconv"
	"unicode/utf8"
)

// Validate checks the context attributes by the rules of CloudEvents 1.0 and by
// the limits of this package. It does not look into the data, which Parse
// functions do.
func (e *Event) Validate() error {
	switch {
	case e.ID == "":
		return &InvalidError{"id", "is missing"}
	case e.Source == "":
		return &InvalidError{"source", "is missing"}
	case e.Type == "":
		return &InvalidError{"type", "is missing"}
	}
	for _, a := range [...]struct{ name, value string }{
		{"id", e.ID}, {"source", e.Source}, {"type", e.Type}, {"subject", e.Subject},
		{"datacontenttype", e.DataContentType}, {"dataschema", e.DataSchema}, {"partitionkey", e.Key},
	} {
		if err := validateAttribute(a.name, a.value); err != nil {
			return err
		}
	}
	if !IsURIReference(e.Source) {
		return &InvalidError{"source", "is no URI reference"}
	}
	if e.DataSchema != "" && !IsURIReference(e.DataSchema) {
		return &InvalidError{"dataschema", "is no URI"}
	}
	if year := e.Time.Year(); !e.Time.IsZero() && (year < 1 || year > 9999) {
		return &InvalidError{"time", "is out of the range of RFC 3339"}
	}
	if len(e.Data) > MaxDataBytes {
		return &InvalidError{"data", "is longer than " + strconv.Itoa(MaxDataBytes) + " bytes"}
	}
	return e.validateExtensions()
}

func (e *Event) validateExtensions() error {
	if len(e.Extensions) > MaxExtensions {
		return &InvalidError{"extensions", "are more than " + strconv.Itoa(MaxExtensions)}
	}
	for i, x := range e.Extensions {
		if !IsExtensionName(x.Name) {
			return &InvalidError{"extension " + quote(x.Name), "must have a name of a-z and 0-9 that is no attribute's"}
		}
		for j := range i {
			if e.Extensions[j].Name == x.Name {
				return &InvalidError{x.Name, "occurs twice"}
			}
		}
		if err := validateAttribute(x.Name, x.Value); err != nil {
			return err
		}
	}
	return nil
}

func validateAttribute(name, value string) error {
	switch {
	case len(value) > MaxAttributeBytes:
		return &InvalidError{name, "is longer than " + strconv.Itoa(MaxAttributeBytes) + " bytes"}
	case !utf8.ValidString(value):
		return &InvalidError{name, "has invalid UTF-8"}
	case hasControl(value):
		return &InvalidError{name, "must not contain control characters"}
	}
	return nil
}

// IsExtensionName reports whether name can be that of an entry of Extensions:
// lower case letters and digits of ASCII, not an attribute's name, and not
// partitionkey, which is [Event.Key].
func IsExtensionName(name string) bool {
	switch name {
	case "", "specversion", "id", "source", "type", "subject", "time",
		"datacontenttype", "dataschema", "data", "partitionkey":
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isDigit(c) && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
