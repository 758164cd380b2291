package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/stream"
)

// fake is a Function that answers as it is told.
type fake struct {
	got    []events.Event
	answer []events.Event
	err    error
}

func (f *fake) Handle(_ context.Context, r *Request) ([]events.Event, error) {
	f.got = append(f.got, r.Event)
	return f.answer, f.err
}

func handlerOf(f Function, ready error) http.Handler {
	return NewHandler(f, func() error { return ready }, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
}

func send(h http.Handler, method, path string, header map[string]string, body string) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

var binaryMode = map[string]string{
	"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "t",
	"ce-subject": "s", "ce-partitionkey": "k", "ce-time": "2026-03-01T12:00:00Z", "content-type": "application/json",
}

var structuredMode = map[string]string{"content-type": "application/cloudevents+json"}

const structured = `{"specversion":"1.0","id":"1","source":"/test","type":"t","subject":"s","partitionkey":"k","time":"2026-03-01T12:00:00Z","datacontenttype":"application/json","data":{"a":1}}`

func TestBothModesGiveTheSameEvent(t *testing.T) {
	for name, request := range map[string]struct {
		header map[string]string
		body   string
	}{
		"binary":     {binaryMode, `{"a":1}`},
		"structured": {structuredMode, structured},
	} {
		f := &fake{}
		if response := send(handlerOf(f, nil), http.MethodPost, "/", request.header, request.body); response.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: status %d", name, response.StatusCode)
		}
		e := f.got[0]
		if e.ID != "1" || e.Source != "/test" || e.Type != "t" || e.Subject != "s" || e.Key != "k" || string(e.Data) != `{"a":1}` ||
			!e.Time.Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) || e.DataContentType != "application/json" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestStatusOfAFailure(t *testing.T) {
	for want, errs := range map[int][]error{
		http.StatusAccepted:              {nil},
		http.StatusBadRequest:            {&events.InvalidError{Path: "$", Reason: "is wrong"}, fmt.Errorf("step: %w", &events.InvalidError{})},
		http.StatusServiceUnavailable:    {stream.ErrUnavailable, stream.ErrBusy, stream.ErrNotOwner, errForwarded, context.Canceled, context.DeadlineExceeded},
		http.StatusInternalServerError:   {errors.New("something else")},
		http.StatusUnsupportedMediaType:  {errNotCloudEvent},
		http.StatusRequestEntityTooLarge: {&http.MaxBytesError{}},
	} {
		for _, err := range errs {
			if got := send(handlerOf(&fake{err: err}, nil), http.MethodPost, "/", binaryMode, "{}").StatusCode; got != want {
				t.Errorf("%v: status %d, want %d", err, got, want)
			}
		}
	}
}

func TestRequestsThatReachNoFunction(t *testing.T) {
	without := func(name string) map[string]string {
		header := map[string]string{}
		for n, v := range binaryMode {
			if n != name {
				header[n] = v
			}
		}
		return header
	}
	for name, test := range map[string]struct {
		method, path string
		header       map[string]string
		body         string
		want         int
	}{
		"no CloudEvent":        {"POST", "/", map[string]string{"content-type": "application/json"}, `{}`, http.StatusUnsupportedMediaType},
		"a batch":              {"POST", "/", map[string]string{"content-type": "application/cloudevents-batch+json"}, `[]`, http.StatusUnsupportedMediaType},
		"binary without an id": {"POST", "/", without("ce-id"), `{}`, http.StatusBadRequest},
		"structured, no JSON":  {"POST", "/", structuredMode, `{`, http.StatusBadRequest},
		"structured, no type":  {"POST", "/", structuredMode, `{"specversion":"1.0","id":"1","source":"/test"}`, http.StatusBadRequest},
		"10 MB":                {"POST", "/", binaryMode, strings.Repeat("x", 10<<20), http.StatusRequestEntityTooLarge},
		"another method":       {"PUT", "/", binaryMode, `{}`, http.StatusMethodNotAllowed},
		"another path":         {"POST", "/x", binaryMode, `{}`, http.StatusNotFound},
	} {
		f := &fake{}
		response := send(handlerOf(f, nil), test.method, test.path, test.header, test.body)
		if response.StatusCode != test.want || len(f.got) > 0 {
			text, _ := io.ReadAll(response.Body)
			t.Errorf("%s: status %d, want %d; %d events: %s", name, response.StatusCode, test.want, len(f.got), text)
		}
	}
}

func TestVersionOfTheSpec(t *testing.T) {
	binary := func(version string) map[string]string {
		header := maps.Clone(binaryMode)
		header["ce-specversion"] = version
		return header
	}
	for name, test := range map[string]struct {
		header map[string]string
		body   string
		want   string // "": it is taken
	}{
		"binary 0.3":                  {binary("0.3"), `{}`, ""},
		"binary 2.0":                  {binary("2.0"), `{}`, `specversion "2.0" is not supported: send "1.0"`},
		"binary, long":                {binary("1234567890123"), `{}`, `specversion "1234567890" is not supported: send "1.0"`},
		"binary, none":                {binary(""), `{}`, `specversion must be the text "1.0"`},
		"structured 0.3":              {structuredMode, strings.Replace(structured, "1.0", "0.3", 1), ""},
		"structured 2.0":              {structuredMode, strings.Replace(structured, "1.0", "2.0", 1), `specversion "2.0" is not supported: send "1.0"`},
		"structured, none":            {structuredMode, strings.Replace(structured, `"specversion":"1.0",`, "", 1), `specversion must be the text "1.0"`},
		"structured, a number":        {structuredMode, strings.Replace(structured, `"1.0"`, "1.0", 1), `specversion must be the text "1.0"`},
		"structured 2.0 and no JSON":  {structuredMode, `{"specversion":"2.0",`, "no valid CloudEvent"},
		"structured 2.0, ce- headers": {map[string]string{"content-type": "application/cloudevents+json", "ce-specversion": "1.0"}, strings.Replace(structured, "1.0", "2.0", 1), `specversion "2.0"`},
	} {
		f := &fake{}
		response := send(handlerOf(f, nil), http.MethodPost, "/", test.header, test.body)
		text, _ := io.ReadAll(response.Body)
		want := http.StatusBadRequest
		if test.want == "" {
			want = http.StatusAccepted
		}
		if response.StatusCode != want || !strings.Contains(string(text), test.want) {
			t.Errorf("%s: status %d, want %d; %q, want %q", name, response.StatusCode, want, text, test.want)
		}
	}
}

func TestAnswerWithEvents(t *testing.T) {
	one := events.Event{ID: "o", Source: "/f", Type: "out", Key: "k", DataContentType: "application/json", Data: []byte(`{"b":2}`)}
	response := send(handlerOf(&fake{answer: []events.Event{one}}, nil), http.MethodPost, "/", binaryMode, "{}")
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK || response.Header.Get("ce-id") != "o" || response.Header.Get("ce-partitionkey") != "k" || string(body) != `{"b":2}` {
		t.Errorf("one event: %d, %v, %s", response.StatusCode, response.Header, body)
	}
	response = send(handlerOf(&fake{answer: []events.Event{one, one}}, nil), http.MethodPost, "/", binaryMode, "{}")
	var batch []map[string]any
	if err := json.NewDecoder(response.Body).Decode(&batch); err != nil || len(batch) != 2 || batch[1]["type"] != "out" ||
		response.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		t.Errorf("two events: %v, %v, %v", response.Header, batch, err)
	}
}

func TestProbes(t *testing.T) {
	for _, test := range []struct {
		path  string
		ready error
		want  int
	}{
		{"/healthz", errors.New("restoring"), http.StatusOK},
		{"/readyz", nil, http.StatusOK},
		{"/readyz", errors.New("restoring"), http.StatusServiceUnavailable},
	} {
		if got := send(handlerOf(&fake{}, test.ready), http.MethodGet, test.path, nil, "").StatusCode; got != test.want {
			t.Errorf("%s when ready says %v: %d, want %d", test.path, test.ready, got, test.want)
		}
	}
}
