package tracing

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"datasurge/events"
	"datasurge/functions/stream"
)

func TestEnabled(t *testing.T) {
	for _, c := range []struct {
		name        string
		environment map[string]string
		want        bool
	}{
		{"nothing", nil, false},
		{"an endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, true},
		{"an endpoint of traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, true},
		{"otlp", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		{"none", map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, false},
		{"disabled", map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
				t.Setenv(name, c.environment[name])
			}
			if got := Enabled(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestExport: a span arrives at a collector, under the trace of the event, with
// what came of it.
func TestExport(t *testing.T) {
	var mu sync.Mutex
	var requests []*collector.ExportTraceServiceRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, "no spans", http.StatusBadRequest)
			return
		}
		mu.Lock()
		requests = append(requests, &request)
		mu.Unlock()
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	tracer, err := Open(t.Context(), "enrich", "test")
	if err != nil {
		t.Fatal(err)
	}
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent := stream.Trace{Parent: "00-" + id + "-00f067aa0ba902b7-01", State: "vendor=1"}
	e := &events.Event{ID: "1", Source: "/test", Type: events.TypeTransaction}
	out, s := tracer.Start("enrich", 3, e, parent)
	s.End(nil)
	if out.ID() != id || out.Parent == parent.Parent || out.State != parent.State {
		t.Errorf("what is emitted carries %+v", out)
	}
	_, s = tracer.Start("enrich", 3, e, stream.Trace{}) // begins a trace
	s.End(io.ErrUnexpectedEOF)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var text strings.Builder
	spans := 0
	for _, r := range requests {
		for _, rs := range r.ResourceSpans {
			text.WriteString(rs.Resource.String())
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					spans++
					text.WriteString(s.Status.String())
					if strings.EqualFold(hex.EncodeToString(s.GetTraceId()), id) != (hex.EncodeToString(s.GetParentSpanId()) == "00f067aa0ba902b7") {
						t.Errorf("span %s of trace %x below %x", s.Name, s.TraceId, s.ParentSpanId)
					}
				}
			}
		}
	}
	if spans != 2 || !strings.Contains(text.String(), "datasurge-enrich") || !strings.Contains(text.String(), "deployment.environment") ||
		!strings.Contains(text.String(), "was not committed") {
		t.Errorf("%d spans: %s", spans, &text)
	}
}
