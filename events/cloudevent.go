package events

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// FromCloudEvent converts an event of the CloudEvents SDK. An event of the
// spec's version 0.3 becomes one of 1.0. Extensions come in the order of their
// names, in their canonical string form. The data is shared.
//
// It returns an [*InvalidError] when the event is not valid.
func FromCloudEvent(ce event.Event) (Event, error) {
	if ce.Context == nil {
		return Event{}, &InvalidError{"specversion", "is missing"}
	}
	for name := range ce.FieldErrors {
		return Event{}, &InvalidError{name, "has a value that it must not have"}
	}
	c := ce.Context.AsV1()
	e := Event{
		ID:     c.ID,
		Source: c.Source.String(),
		Type:   c.Type,
		Data:   ce.DataEncoded,
	}
	if c.Subject != nil {
		e.Subject = *c.Subject
	}
	if c.Time != nil {
		e.Time = c.Time.Time
	}
	if c.DataContentType != nil {
		e.DataContentType = *c.DataContentType
	}
	if c.DataSchema != nil {
		e.DataSchema = c.DataSchema.String()
	}
	for name, v := range c.Extensions {
		value, err := types.Format(v)
		if err != nil {
			return Event{}, &InvalidError{name, "has a value of a type that CloudEvents does not have"}
		}
		if name == "partitionkey" {
			e.Key = value
			continue
		}
		e.Extensions = append(e.Extensions, Extension{name, value})
	}
	slices.SortFunc(e.Extensions, func(a, b Extension) int { return strings.Compare(a.Name, b.Name) })
	return e, e.Validate()
}

// CloudEvent converts e to an event of the CloudEvents SDK. The data is shared.
// It returns an [*InvalidError] when e is not valid.
func (e *Event) CloudEvent() (event.Event, error) {
	if err := e.Validate(); err != nil {
		return event.Event{}, err
	}
	source := types.ParseURIRef(e.Source)
	if source == nil {
		return event.Event{}, &InvalidError{"source", "is no URI reference"}
	}
	c := &event.EventContextV1{ID: e.ID, Source: *source, Type: e.Type}
	if e.Subject != "" {
		c.Subject = new(e.Subject)
	}
	if !e.Time.IsZero() {
		c.Time = &types.Timestamp{Time: e.Time}
	}
	if e.DataContentType != "" {
		c.DataContentType = new(e.DataContentType)
	}
	if e.DataSchema != "" {
		if c.DataSchema = types.ParseURI(e.DataSchema); c.DataSchema == nil {
			return event.Event{}, &InvalidError{"dataschema", "is no URI"}
		}
	}
	if e.Key != "" {
		if err := c.SetExtension("partitionkey", e.Key); err != nil {
			return event.Event{}, fmt.Errorf("setting extension partitionkey: %w", err)
		}
	}
	for _, x := range e.Extensions {
		if err := c.SetExtension(x.Name, x.Value); err != nil {
			return event.Event{}, fmt.Errorf("setting extension %s: %w", x.Name, err)
		}
	}
	return event.Event{Context: c, DataEncoded: e.Data, DataBase64: !isJSONToSDK(e.DataContentType)}, nil
}

// isJSONToSDK reports whether the SDK puts data of that type into an event of
// structured mode as it is. Other data it would write as a string, unless it is
// told to write base64.
func isJSONToSDK(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.TrimSpace(media) {
	case "", event.ApplicationJSON, event.TextJSON, event.ApplicationCloudEventsJSON:
		return true
	}
	return false
}
