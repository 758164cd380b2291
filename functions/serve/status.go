package serve

import (
	"context"
	"errors"
	"net/http"

	"datasurge/events"
	"datasurge/functions/stream"
)

// errNotCloudEvent: the request carries no CloudEvent in a mode that is known.
var errNotCloudEvent = errors.New("the request is no CloudEvent: send ce-* headers (binary mode) or content-type application/cloudevents+json (structured mode)")

// errForwarded: an event that another instance sent on arrived at one that does
// not work on its partition either.
var errForwarded = errors.New("the partition has just moved; try again")

// status is the one table from what became of an event to the answer. 503 makes
// a KafkaSource try again, 400, 413 and 415 send the event to its dead letter
// sink at once.
func status(err error) int {
	if _, ok := errors.AsType[*events.InvalidError](err); ok {
		return http.StatusBadRequest
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge
	}
	switch {
	case err == nil:
		return http.StatusAccepted
	case errors.Is(err, errNotCloudEvent):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, stream.ErrUnavailable),
		errors.Is(err, stream.ErrBusy),
		errors.Is(err, stream.ErrNotOwner),
		errors.Is(err, errForwarded),
		errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
