package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"datasurge/emulator/ownership"
	"datasurge/knative"
)

// Where there is nothing, what would be a function's address says where to look,
// and a sink's answers as the receiver does.
func TestRoutesWithNothing(t *testing.T) {
	r := newRoutes(&knative.Set{}, ownership.New(nil), http.DefaultTransport, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"POST", "/enrihc", 404, "there is nothing at /enrihc; GET / lists what there is"},
		{"GET", "/enrihc", 404, "there is nothing at /enrihc; GET / lists what there is"},
		{"PUT", "/enrihc", 405, ""},
		{"POST", "/default/sink", 404, ""},
		{"GET", "/default/sink", 405, ""},
		{"GET", "/healthz", 200, ""},
	} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if text := strings.TrimSpace(w.Body.String()); w.Code != c.status || text != c.text {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, w.Code, text, c.status, c.text)
		}
	}
}
