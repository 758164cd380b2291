package stream

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// Trace is a W3C trace context as it stands in an event's extensions
// traceparent and tracestate (CloudEvents distributed tracing extension). The
// zero value is none. What a function emits while it steps an event carries that
// event's.
type Trace struct {
	Parent string // traceparent: version, trace id, parent id, flags
	State  string // tracestate
}

const (
	extTraceParent = "traceparent"
	extTraceState  = "tracestate"
	// A record that is no CloudEvent has its headers as extensions.
	extPlainParent = "kafkaheadertraceparent"
	extPlainState  = "kafkaheadertracestate"
)

// TraceOf returns the trace context of e. One that is malformed is as none.
func TraceOf(e *events.Event) (t Trace) {
	for i := range e.Extensions {
		switch x := &e.Extensions[i]; x.Name {
		case extTraceParent:
			t.Parent = x.Value
		case extTraceState:
			t.State = x.Value
		case extPlainParent:
			if t.Parent == "" {
				t.Parent = x.Value
			}
		case extPlainState:
			if t.State == "" {
				t.State = x.Value
			}
		}
	}
	if t.Parent != "" && t.ID() == "" {
		return Trace{}
	}
	return t
}

// ID returns the trace id, 32 lower case hexadecimal digits, "" when there is
// none.
func (t Trace) ID() string {
	const (
		start, end = len("00-"), len("00-") + 32
		length     = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	)
	p := t.Parent
	if len(p) < length || p[:2] == "ff" || len(p) > length && (p[:2] == "00" || p[length] != '-') {
		return ""
	}
	zero := true
	for i := range length {
		switch c := p[i]; {
		case i == 2 || i == end || i == length-3:
			if c != '-' {
				return ""
			}
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'f':
			if c != '0' && start <= i && i < end {
				zero = false
			}
		default:
			return ""
		}
	}
	if zero {
		return ""
	}
	return p[start:end]
}

// Tracer makes spans of what happens to events.
type Tracer interface {
	// Start begins the span of one event that is about to be stepped. What the
	// function emits carries the Trace that it returns. The span, which may be
	// nil, is ended with the outcome of the commit.
	Start(function string, task int, e *events.Event, parent Trace) (Trace, Span)
}

// Span is the work on one event.
type Span interface {
	// End ends the span; err is why the event was not committed, or not taken.
	End(err error)
}

// traceHeaders appends the trace context to the headers of a record that has
// none.
func traceHeaders(headers []kgo.RecordHeader, t Trace) []kgo.RecordHeader {
	const parent, state = "ce_" + extTraceParent, "ce_" + extTraceState
	for i := range headers {
		if headers[i].Key == parent {
			return headers
		}
	}
	headers = append(headers, kgo.RecordHeader{Key: parent, Value: []byte(t.Parent)})
	if t.State != "" {
		headers = append(headers, kgo.RecordHeader{Key: state, Value: []byte(t.State)})
	}
	return headers
}

// on returns e with the trace context, unless it has one.
func (t Trace) on(e *events.Event) events.Event {
	out := *e
	if t.Parent == "" || e.Extension(extTraceParent) != "" {
		return out
	}
	out.Extensions = append(slices.Clone(e.Extensions), events.Extension{Name: extTraceParent, Value: t.Parent})
	if t.State != "" {
		out.Extensions = append(out.Extensions, events.Extension{Name: extTraceState, Value: t.State})
	}
	return out
}

// endSpans ends the spans of the events of a commit.
func (s *session) endSpans(err error) {
	for i, span := range s.spans {
		span.End(err)
		s.spans[i] = nil
	}
	s.spans = s.spans[:0]
}
