package source

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/knative"
)

func TestLatin1(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "é": "\xe9", "日本": "??", "😀": "??", "aÿb": "a\xffb", "tab\t": "tab\t",
	} {
		if got := latin1(in); got != want {
			t.Errorf("latin1(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRetryable(t *testing.T) {
	retried := map[int]bool{0: true, 404: true, 408: true, 409: true, 429: true, 500: true, 502: true, 503: true, 504: true, 599: true, 600: true, 999: true}
	for status := range 1000 {
		want := retried[status] || status >= 500
		if got := (&outcome{status: status}).retryable(); got != want {
			t.Errorf("status %d: retryable is %v, want %v", status, got, want)
		}
	}
}

// TestExchange sends over real HTTP: what the sink sees and does.
func TestExchange(t *testing.T) {
	type seen struct {
		Method, Path, Prefer, Namespace, Subject, Type string
		Body                                           string
	}
	var got []seen
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, seen{r.Method, r.URL.Path, r.Header.Get("Prefer"), r.Header.Get("Kn-Namespace"), r.Header.Get("Ce-Subject"), r.Header.Get("Content-Type"), string(body)})
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/there", http.StatusSeeOther)
		case "/redirect":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		case "/large":
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, strings.Repeat("x", 1<<20))
		case "/slow":
			<-r.Context().Done()
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := sender{transport: NewTransport(1), delivery: knative.Delivery{Timeout: 200 * time.Millisecond}}
	e := events.Event{ID: "1", Source: "/s", Type: "t", Subject: "é日", Key: "k", DataContentType: "application/json", Data: []byte("{}")}
	r := newRequest(&e, []attribute{{"added", "x"}, {"type", "second"}}, "ns")
	if diff := cmp.Diff([]string{"t", "second"}, r.header["Ce-Type"]); diff != "" {
		t.Errorf("ce-type (-want +got):\n%s", diff)
	}
	send := func(path string) outcome {
		got = nil
		return s.attempt(t.Context(), &Target{URL: server.URL + path}, r)
	}
	post := seen{"POST", "", "reply", "ns", "\xe9?", "application/json", "{}"}
	at := func(s seen, method, path string) seen { s.Method, s.Path = method, path; return s }

	if o := send("/there"); o.status != 200 {
		t.Errorf("answer %s", &o)
	}
	if diff := cmp.Diff([]seen{at(post, "POST", "/there")}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o := send("/moved"); o.status != 200 {
		t.Errorf("303: answer %s", &o)
	}
	if diff := cmp.Diff([]seen{at(post, "POST", "/moved"), at(post, "GET", "/there")}, got); diff != "" {
		t.Errorf("303 (-want +got):\n%s", diff)
	}
	if o := send("/redirect"); o.status != 307 || len(got) != 1 {
		t.Errorf("307: answer %s after %d requests", &o, len(got))
	}
	if o := send("/large"); o.status != 418 || len(o.body) != maxErrorData {
		t.Errorf("large answer: %d bytes of %s", len(o.body), &o)
	}
	if o := send("/slow"); !errors.Is(o.err, context.DeadlineExceeded) {
		t.Errorf("slow: %s", &o)
	}
	if o := s.attempt(t.Context(), &Target{URL: "http://127.0.0.1:1/"}, r); o.status != 0 || o.err == nil {
		t.Errorf("refused: %s", &o)
	}
}

func TestDeadLetter(t *testing.T) {
	e := events.Event{ID: "1", Source: "/s", Type: "t"}
	r := newRequest(&e, nil, "ns")
	o := outcome{status: 422, body: []byte("no\x00"), header: http.Header{"Kne-Reason": {"first", "last"}, "X-Kne-No": {"no"}, "Kne-": {"no"}}}
	d := deadLetter(r, "http://sink", &o)
	for name, want := range map[string]string{
		"Ce-Knativeerrordest": "http://sink", "Ce-Knativeerrorcode": "422",
		"Ce-Knativeerrordata": base64.StdEncoding.EncodeToString(o.body), "Ce-Reason": "last", "Ce-Id": "1",
	} {
		if got := d.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(d.header) != len(r.header)+4 {
		t.Errorf("headers %v", d.header)
	}
	d = deadLetter(r, "http://sink", &outcome{err: errors.New("refused")})
	if len(d.header) != len(r.header)+1 {
		t.Errorf("without an answer: headers %v", d.header)
	}
}

func BenchmarkRequest(b *testing.B) {
	e := events.Event{ID: "0198c0a0-0000-7000-8000-000000000000", Source: "/datasurge/enrich", Type: events.TypeEnriched, Subject: "user-1", Key: "user-1",
		Time: time.Unix(1767323045, 678e6), DataContentType: "application/json", Data: make([]byte, 500),
		Extensions: []events.Extension{{Name: events.ExtTask, Value: "enrich/1/4"}, {Name: events.ExtWatermark, Value: "1767323045678"}, {Name: events.ExtPartition, Value: "3"}, {Name: events.ExtOffset, Value: "123456"}}}
	overrides := []attribute{{events.ExtTopic, "enriched_transactions"}}
	b.ReportAllocs()
	for b.Loop() {
		newRequest(&e, overrides, "default")
	}
}
