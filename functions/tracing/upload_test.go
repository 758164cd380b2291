package tracing

import (
	"compress/gzip"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestUpload: what the environment says is done: path, headers, compression, trust;
// and who is busy is asked again.
func TestUpload(t *testing.T) {
	var refusals = []int{http.StatusServiceUnavailable, http.StatusTooManyRequests}
	var got *http.Request
	var request collector.ExportTraceServiceRequest
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(refusals) > 0 {
			w.WriteHeader(refusals[0])
			refusals = refusals[1:]
			return
		}
		got = r
		plain, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(plain)
		if err != nil || proto.Unmarshal(body, &request) != nil {
			t.Errorf("%d bytes are no spans: %v", len(body), err)
		}
	}))
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nobody.invalid")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL+"/spans")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20token, X-Tenant=payments")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority)
	u, err := newUploader()
	if err != nil {
		t.Fatal(err)
	}
	u.backoff = 2 * time.Millisecond
	if err := u.UploadTraces(t.Context(), []*spans.ResourceSpans{{SchemaUrl: "here"}}); err != nil {
		t.Fatal(err)
	}
	if got.URL.Path != "/spans" || got.Header.Get("Authorization") != "Bearer token" || got.Header.Get("X-Tenant") != "payments" {
		t.Errorf("%s with %v", got.URL, got.Header)
	}
	if len(request.ResourceSpans) != 1 || request.ResourceSpans[0].SchemaUrl != "here" {
		t.Errorf("the collector read %v", &request)
	}
}

// TestUploadRefused: what a collector refuses is not sent again.
func TestUploadRefused(t *testing.T) {
	times := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		times++
		http.Error(w, "no such tenant", http.StatusForbidden)
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	u, err := newUploader()
	if err != nil {
		t.Fatal(err)
	}
	err = u.UploadTraces(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "no such tenant") || times != 1 {
		t.Errorf("%v after %d requests", err, times)
	}
}

func TestUploaderRefusesSettings(t *testing.T) {
	for name, value := range map[string]string{
		"ENDPOINT": "collector:4317", "TRACES_ENDPOINT": "ftp://collector", "PROTOCOL": "grpc", "COMPRESSION": "zstd",
		"HEADERS": "secret", "TIMEOUT": "10s", "CERTIFICATE": "absent.pem", "CLIENT_CERTIFICATE": "absent.pem",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_"+name, value)
			if _, err := newUploader(); err == nil {
				t.Errorf("%s is taken", value)
			} else if name == "HEADERS" && strings.Contains(err.Error(), "secret") {
				t.Errorf("%v tells what may be a secret", err)
			}
		})
	}
}
