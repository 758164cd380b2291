package ping

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/knative"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const manifest = `
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: p, namespace: n}
spec:
  schedule: "*/2 * * * *"
  contentType: application/json
  data: '{"a": 1}'
  sink: {uri: http://sink/path}
  ceOverrides: {extensions: {region: eu}}
`

func read(t *testing.T, text string) *knative.PingSource {
	t.Helper()
	set, err := knative.Read("m.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return set.Pings[0]
}

// TestPing: an event every other minute, with what the manifest says of it.
func TestPing(t *testing.T) {
	p := read(t, manifest)
	synctest.Test(t, func(t *testing.T) {
		got := make(chan *http.Request, 10)
		s := Start(Config{Source: p, URL: "http://sink/path", Logger: slog.New(slog.DiscardHandler), Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			got <- req
			return &http.Response{StatusCode: 202, Body: http.NoBody}, nil
		})})
		defer s.Close()
		time.Sleep(4*time.Minute + time.Second)
		if n := len(got); n != 2 {
			t.Fatalf("%d events in four minutes, want 2", n)
		}
		first, second := <-got, <-got
		body, err := io.ReadAll(first.Body)
		if err != nil || string(body) != `{"a": 1}` || first.URL.String() != "http://sink/path" {
			t.Errorf("%s to %s, %v", body, first.URL, err)
		}
		h := first.Header
		if id := h.Get("Ce-Id"); len(id) != 36 || id == second.Header.Get("Ce-Id") {
			t.Errorf("id %q, then %q", id, second.Header.Get("Ce-Id"))
		}
		at, err := time.Parse(time.RFC3339Nano, h.Get("Ce-Time"))
		if due := p.Next(at.Add(-time.Minute)); err != nil || at.Before(due) || at.Sub(due) > maxDelay {
			t.Errorf("time %v, due at %v, %v", at, due, err)
		}
		h.Del("Ce-Id")
		h.Del("Ce-Time")
		want := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Source": {"/apis/v1/namespaces/n/pingsources/p"}, "Ce-Type": {"dev.knative.sources.ping"},
			"Ce-Region": {"eu"}, "Content-Type": {"application/json"}}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRetries: five repetitions where they may help, none elsewhere; then the
// event is lost, which is said.
func TestRetries(t *testing.T) {
	p := read(t, manifest)
	for name, c := range map[string]struct {
		status, attempts int
		lost             bool
	}{
		"taken": {202, 1, false}, "busy": {503, 6, true}, "refused": {400, 1, true}, "no answer": {0, 6, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				var log strings.Builder
				s := Start(Config{Source: p, URL: "http://sink", Logger: slog.New(slog.NewTextHandler(&log, nil)), Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					attempts++
					if c.status == 0 {
						return nil, os.ErrDeadlineExceeded
					}
					return &http.Response{StatusCode: c.status, Body: http.NoBody}, nil
				})})
				time.Sleep(2*time.Minute + 10*time.Second)
				s.Close()
				if attempts != c.attempts {
					t.Errorf("%d attempts, want %d", attempts, c.attempts)
				}
				if lost := strings.Contains(log.String(), "EVENT LOST"); lost != c.lost {
					t.Errorf("said to be lost: %v, want %v: %s", lost, c.lost, &log)
				}
			})
		})
	}
}

// TestClose: what is under way is cut.
func TestClose(t *testing.T) {
	p := read(t, manifest)
	synctest.Test(t, func(t *testing.T) {
		began := make(chan struct{})
		s := Start(Config{Source: p, URL: "http://sink", Logger: slog.New(slog.DiscardHandler), Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			close(began)
			<-req.Context().Done()
			return nil, errors.New("cut")
		})})
		<-began
		s.Close()
	})
}
