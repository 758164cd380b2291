package serve

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"datasurge/events"
)

// BenchmarkRequest is what a request costs beside its step and commit, without
// the network.
func BenchmarkRequest(b *testing.B) {
	for name, request := range map[string]struct {
		header map[string]string
		body   string
	}{
		"binary":     {binaryMode, `{"a":1}`},
		"structured": {structuredMode, structured},
	} {
		b.Run(name, func(b *testing.B) {
			h := handlerOf(nothing{}, nil)
			header := http.Header{}
			for name, value := range request.header {
				header.Set(name, value)
			}
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(request.body))
				r.Header = header
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}

// nothing is a Function that does nothing.
type nothing struct{}

func (nothing) Handle(context.Context, *Request) ([]events.Event, error) { return nil, nil }
