// Package serve takes CloudEvents over HTTP, hands them to a function's tasks and
// answers when they are committed.
package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"datasurge/events"
	"datasurge/functions/stream"
)

// MaxBody is the largest request body that is taken, in bytes.
const MaxBody = 1 << 20

// Function takes one event and returns when its effects are durable. The events
// returned are the answer to the request; with Kafka there are none, because they
// stand in their topics.
type Function interface {
	Handle(ctx context.Context, r *Request) ([]events.Event, error)
}

// Request is one event and what it came in, for a Function that has to send it
// on.
type Request struct {
	Event     events.Event
	Header    http.Header
	Body      []byte
	Forwarded bool // another instance sent it on
}

// NewHandler returns the handler of a function's port:
//
//	POST /         a CloudEvent, binary or structured
//	GET  /healthz  200 while the process lives
//	GET  /readyz   200 when ready returns nil, else 503 with the reason
//	GET  /metrics  metrics
func NewHandler(f Function, ready func() error, metrics http.Handler, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /{$}", handleEvent(f, log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// NewServer returns a server for handler with limits on what a client may take of
// it.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func handleEvent(f Function, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := read(w, r)
		var answer []events.Event
		if err == nil {
			answer, err = f.Handle(r.Context(), request)
		}
		if code := status(err); err != nil {
			if code == http.StatusInternalServerError {
				log.Error("an event failed", slog.Any("error", err))
			}
			http.Error(w, err.Error(), code)
			return
		}
		if err := write(r.Context(), w, answer); err != nil {
			log.Warn("an answer could not be written", slog.Any("error", err))
		}
	})
}

// read takes the event out of r.
func read(w http.ResponseWriter, r *http.Request) (*Request, error) {
	body, err := readBody(w, r)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, &events.InvalidError{Path: "the body", Reason: "could not be read: " + err.Error()}
	}
	request := &Request{Header: r.Header, Body: body, Forwarded: r.Header.Get(forwardedHeader) != ""}
	var ok bool
	if request.Event, ok = readPlain(r.Header, body); !ok {
		request.Event, err = readAny(r.Context(), r.Header, body)
	}
	adoptTrace(&request.Event, r.Header)
	return request, err
}

// readBody reads the body, of which there may be MaxBody bytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > MaxBody {
		return io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// readAny reads an event in any mode.
func readAny(ctx context.Context, header http.Header, body []byte) (events.Event, error) {
	message := cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body)))
	switch message.ReadEncoding() {
	case binding.EncodingUnknown:
		if version := header.Get("Ce-Specversion"); version != "" || header.Get("Ce-Id") != "" {
			return events.Event{}, wrongVersion(version)
		}
		return events.Event{}, errNotCloudEvent
	case binding.EncodingBatch:
		return events.Event{}, errNotCloudEvent
	}
	parsed, err := binding.ToEvent(ctx, message)
	if problems, ok := errors.AsType[event.ValidationError](err); ok && problems["specversion"] != nil {
		var said struct {
			Version string `json:"specversion"`
		}
		_ = json.Unmarshal(body, &said) // one that is no text is none
		return events.Event{}, wrongVersion(said.Version)
	}
	if err != nil {
		return events.Event{}, &events.InvalidError{Path: "the request", Reason: "is no valid CloudEvent: " + err.Error()}
	}
	return events.FromCloudEvent(*parsed)
}

// wrongVersion says which version of the spec an event should have. "" is none. 0.3,
// which is taken too, is not what anybody should begin with.
func wrongVersion(version string) error {
	if version == "" {
		return &events.InvalidError{Path: "specversion", Reason: `must be the text "1.0"`}
	}
	return &events.InvalidError{Path: "specversion", Reason: fmt.Sprintf(`%.10q is not supported: send "1.0"`, version)}
}

// adoptTrace gives an event without a trace context that of its request.
func adoptTrace(e *events.Event, header http.Header) {
	if e.Extension("traceparent") != "" {
		return
	}
	for _, name := range [...]string{"traceparent", "tracestate"} {
		if value := header.Get(name); value != "" {
			e.Extensions = append(e.Extensions, events.Extension{Name: name, Value: value})
		}
	}
}

// write answers with what a function without Kafka would have emitted: nothing,
// one event in binary mode, or a batch.
func write(ctx context.Context, w http.ResponseWriter, answer []events.Event) error {
	switch len(answer) {
	case 0:
		w.WriteHeader(http.StatusAccepted)
		return nil
	case 1:
		e, err := answer[0].CloudEvent()
		if err != nil {
			return err
		}
		return cehttp.WriteResponseWriter(ctx, binding.ToMessage(&e), http.StatusOK, w)
	}
	batch := make([]event.Event, 0, len(answer))
	for i := range answer {
		e, err := answer[i].CloudEvent()
		if err != nil {
			return err
		}
		batch = append(batch, e)
	}
	w.Header().Set("Content-Type", event.ApplicationCloudEventsBatchJSON)
	return json.NewEncoder(w).Encode(batch)
}

// Local answers with what a function without Kafka emits.
type Local struct{ Function *stream.Local }

// Handle implements Function.
func (l Local) Handle(_ context.Context, r *Request) ([]events.Event, error) {
	return l.Function.Deliver(&r.Event, time.Now())
}

// Engine hands events to the tasks of this instance and sends those of other
// instances' partitions on.
type Engine struct {
	Engine *stream.Engine
	Client *http.Client
	// Self is the address of this instance, to which nothing is sent on.
	Self string
}

// forwardedHeader marks an event that was sent on by another instance. It is not
// sent on again.
const forwardedHeader = "Datasurge-Forwarded"

// Handle implements Function.
func (e Engine) Handle(ctx context.Context, r *Request) ([]events.Event, error) {
	place := e.Engine.Place(&r.Event)
	err := e.Engine.Deliver(ctx, place, &r.Event)
	if !errors.Is(err, stream.ErrNotOwner) {
		return nil, err
	}
	if r.Forwarded {
		return nil, errForwarded
	}
	return nil, e.forward(ctx, place.Task, r)
}

func (e Engine) forward(ctx context.Context, task int, r *Request) error {
	owner, err := e.Engine.Owner(ctx, task)
	if err != nil || owner == "" || owner == e.Self {
		e.Engine.Forget(task)
		return errors.Join(stream.ErrNotOwner, err)
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+owner+"/", bytes.NewReader(r.Body))
	if err != nil {
		return err
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Ce-") || name == "Content-Type" {
			out.Header[name] = values
		}
	}
	out.Header.Set(forwardedHeader, "1")
	response, err := e.Client.Do(out)
	if err != nil {
		e.Engine.Forget(task)
		return errors.Join(stream.ErrNotOwner, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	switch {
	case err != nil:
		return errors.Join(stream.ErrUnavailable, err)
	case response.StatusCode == http.StatusAccepted:
		return nil
	case response.StatusCode == http.StatusBadRequest:
		return &events.InvalidError{Path: "$", Reason: strings.TrimSpace(string(text))}
	}
	e.Engine.Forget(task)
	return fmt.Errorf("%w: the owner %s answered %s", stream.ErrUnavailable, owner, response.Status)
}
