// Package tracing exports what happens to events as OpenTelemetry spans, when the
// standard variables say so. It is off by default, and then nothing of it runs:
// the trace context of an event goes through all functions and into the logs in
// any case (see stream.Trace).
package tracing

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"datasurge/events"
	"datasurge/functions/stream"
)

// Enabled reports whether the environment asks for spans: an endpoint is given or
// OTEL_TRACES_EXPORTER is otlp, and neither OTEL_SDK_DISABLED nor
// OTEL_TRACES_EXPORTER=none says otherwise.
//
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func Enabled() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch os.Getenv("OTEL_TRACES_EXPORTER") {
	case "none":
		return false
	case "otlp":
		return true
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Tracer makes spans. Close it.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	names    propagation.TraceContext
}

// Open returns a tracer for a function, which exports as the OTEL_* variables
// say, over HTTP. Call it when Enabled. The spans of a collector that is away are
// dropped.
func Open(ctx context.Context, function, version string) (*Tracer, error) {
	client, err := newUploader()
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("export of traces: %w", err)
	}
	// What the environment says of the service comes last and counts.
	of, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "datasurge-"+function),
			attribute.String("service.namespace", "datasurge"),
			attribute.String("service.version", version),
		),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// The sampler is that of OTEL_TRACES_SAMPLER, by default all.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))
	return &Tracer{provider: provider, tracer: provider.Tracer("datasurge")}, nil
}

// Close exports the last spans, waiting no longer than ctx lives.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Start implements stream.Tracer.
func (t *Tracer) Start(function string, task int, e *events.Event, parent stream.Trace) (stream.Trace, stream.Span) {
	carrier := propagation.MapCarrier{"traceparent": parent.Parent, "tracestate": parent.State}
	ctx := t.names.Extract(context.Background(), carrier)
	ctx, s := t.tracer.Start(ctx, function+" process", trace.WithSpanKind(trace.SpanKindConsumer))
	if s.IsRecording() {
		s.SetAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.operation.type", "process"),
			attribute.Int("messaging.destination.partition.id", task),
			attribute.String("cloudevents.event_id", e.ID),
			attribute.String("cloudevents.event_type", e.Type),
			attribute.String("cloudevents.event_source", e.Source),
		)
	}
	out := propagation.MapCarrier{}
	t.names.Inject(ctx, out)
	return stream.Trace{Parent: out["traceparent"], State: out["tracestate"]}, span{s}
}

type span struct{ trace.Span }

// End implements stream.Span.
func (s span) End(err error) {
	if err != nil {
		s.RecordError(err)
		s.SetStatus(codes.Error, "the event was not committed")
	}
	s.Span.End()
}

var _ stream.Tracer = (*Tracer)(nil)
