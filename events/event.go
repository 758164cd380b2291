// Package events holds the events that DataSurge's functions exchange: the
// CloudEvents envelope, the payloads of the event types com.datasurge.*.v1 with
// their validation and JSON encoding, and money without floating point.
//
// The package is pure: no I/O, no clock, no Kafka, no HTTP.
package events

import "time"

// Event is a CloudEvents 1.0 event as functions see it: the context attributes
// as plain fields and the data as bytes. It is what event.Event of the
// CloudEvents SDK holds, without a heap allocation for each attribute;
// [FromCloudEvent] and [Event.CloudEvent] convert.
type Event struct {
	ID              string
	Source          string
	Type            string
	Subject         string    // the business key; "" when absent
	Time            time.Time // event time; zero when absent. Of other producers it may have an offset from UTC
	DataContentType string    // "" when absent
	DataSchema      string    // "" when absent
	Key             string    // the extension partitionkey; "" when absent
	Data            []byte    // nil when the event has no data
	Extensions      []Extension
}

// Extension is one extension attribute in its canonical string form.
type Extension struct{ Name, Value string }

// Extension returns the value of the extension called name, "" when absent.
func (e *Event) Extension(name string) string {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			return e.Extensions[i].Value
		}
	}
	return ""
}
