package sink

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/knative"
)

// newSink returns a handler that writes to the topic t and a function that reads
// the next record there.
func newSink(t *testing.T, structured bool) (*Handler, func() *kgo.Record) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(append(Options(), kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("t"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	h := New(&knative.KafkaSink{Object: knative.Object{Name: "s"}, Topic: "t", Structured: structured}, client, slog.New(slog.DiscardHandler))
	return h, func() *kgo.Record {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for r := range client.PollRecords(ctx, 1).RecordsAll() {
			return r
		}
		t.Fatal("no record")
		return nil
	}
}

func post(h http.Handler, header map[string]string, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/default/s", strings.NewReader(body))
	for k, v := range header {
		req.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func with(more map[string]string) map[string]string {
	h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/s", "Ce-Type": "t", "Content-Type": "application/json"}
	for k, v := range more {
		if h[k] = v; v == "" && k != "Ce-Partitionkey" {
			delete(h, k)
		}
	}
	return h
}

// TestRecord: the record that an event becomes, in both modes of both sides.
func TestRecord(t *testing.T) {
	const structuredEvent = `{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"k","datacontenttype":"application/json","data":{"a":1}}`
	structuredType := map[string]string{"Content-Type": "application/cloudevents+json"}
	for _, c := range []struct {
		name       string
		structured bool
		header     map[string]string
		body       string
		key, value []byte
		headers    []string
	}{
		{"binary", false, with(map[string]string{"Ce-Partitionkey": "k", "Ce-Subject": "x", "X-Other": "y"}), `{"a":1}`, []byte("k"), []byte(`{"a":1}`),
			[]string{"ce_specversion=1.0", "ce_id=1", "ce_source=/s", "ce_type=t", "content-type=application/json", "ce_subject=x", "ce_partitionkey=k"}},
		{"no key", false, with(nil), `{}`, nil, []byte(`{}`), nil},
		{"empty key", false, with(map[string]string{"Ce-Partitionkey": ""}), `{}`, []byte{}, []byte(`{}`), nil},
		{"no data", false, with(map[string]string{"Content-Type": ""}), "", nil, nil, nil},
		{"Latin-1", false, with(map[string]string{"Ce-Partitionkey": "\xe9"}), "", []byte("é"), nil, nil},
		{"UTF-8 is read as Latin-1 too", false, with(map[string]string{"Ce-Partitionkey": "é"}), "", []byte("Ã©"), nil, nil},
		{"structured to binary", false, structuredType, structuredEvent, []byte("k"), []byte(`{"a":1}`),
			[]string{"ce_specversion=1.0", "ce_id=1", "ce_source=/s", "ce_type=t", "content-type=application/json", "ce_partitionkey=k"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, next := newSink(t, c.structured)
			w := post(h, c.header, c.body)
			if w.Code != http.StatusAccepted || w.Body.Len() > 0 || w.Header().Get("Content-Length") != "0" {
				t.Fatalf("answer %d %v %q", w.Code, w.Header(), w.Body)
			}
			r := next()
			if !bytes.Equal(r.Key, c.key) || (r.Key == nil) != (c.key == nil) {
				t.Errorf("key %q, want %q", r.Key, c.key)
			}
			if !bytes.Equal(r.Value, c.value) {
				t.Errorf("value %q, want %q", r.Value, c.value)
			}
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key+"="+string(h.Value))
			}
			if diff := cmp.Diff(c.headers, headers); c.headers != nil && diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStructuredRecord(t *testing.T) {
	h, next := newSink(t, true)
	if w := post(h, with(map[string]string{"Ce-Partitionkey": "k"}), `{"a":1}`); w.Code != http.StatusAccepted {
		t.Fatalf("answer %d", w.Code)
	}
	r := next()
	if string(r.Key) != "k" || len(r.Headers) != 1 || r.Headers[0].Key != "content-type" || !strings.HasPrefix(string(r.Headers[0].Value), "application/cloudevents+json") {
		t.Errorf("key %q, headers %v", r.Key, r.Headers)
	}
	for _, want := range []string{`"specversion":"1.0"`, `"data":{"a":1}`, `"partitionkey":"k"`} {
		if !strings.Contains(string(r.Value), want) {
			t.Errorf("value %s, want %s in it", r.Value, want)
		}
	}
}

func TestStatuses(t *testing.T) {
	h, _ := newSink(t, false)
	for name, c := range map[string]struct {
		header map[string]string
		body   string
		want   int
	}{
		"no event":           {map[string]string{"Content-Type": "application/json"}, "{}", 400},
		"no id":              {with(map[string]string{"Ce-Id": ""}), "{}", 400},
		"unknown version":    {with(map[string]string{"Ce-Specversion": "2.0"}), "{}", 400},
		"bad time":           {with(map[string]string{"Ce-Time": "noon"}), "{}", 400},
		"batch":              {map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[]", 400},
		"broken JSON":        {map[string]string{"Content-Type": "application/cloudevents+json"}, "{", 400},
		"version 0.3":        {with(map[string]string{"Ce-Specversion": "0.3"}), "{}", 202},
		"too large to write": {with(nil), strings.Repeat("x", 2<<20), 503},
		"too large to read":  {with(nil), strings.Repeat("x", maxBody+1), 503},
		"7000 bytes of it":   {with(map[string]string{"X-Long": strings.Repeat("x", 7000)}), "{}", 202},
		"long headers":       {with(map[string]string{"X-Long": strings.Repeat("x", 9000)}), "{}", 431},
	} {
		if w := post(h, c.header, c.body); w.Code != c.want || w.Body.Len() > 0 {
			t.Errorf("%s: answer %d %q, want %d", name, w.Code, w.Body, c.want)
		}
	}
	for method, want := range map[string]int{"GET": 405, "PUT": 405, "DELETE": 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/default/s", nil))
		if w.Code != want {
			t.Errorf("%s: answer %d, want %d", method, w.Code, want)
		}
	}
	probe := httptest.NewRequest("GET", "/default/s", nil)
	probe.Header.Set("K-Network-Probe", "probe")
	probe.Header.Set("K-Network-Hash", "h")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, probe)
	if w.Code != 200 || w.Header().Get("K-Network-Hash") != "h" {
		t.Errorf("probe: answer %d %v", w.Code, w.Header())
	}
}

// TestBrokenOff: what did not come whole is not written, and not answered.
func TestBrokenOff(t *testing.T) {
	h, next := newSink(t, false)
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const head = "POST /default/s HTTP/1.1\r\nHost: h\r\nCe-Specversion: 1.0\r\nCe-Id: half\r\nCe-Source: /s\r\nCe-Type: t\r\nContent-Length: 10\r\n\r\n12345"
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Errorf("answered %q, %v", got, err)
	}
	if w := post(h, with(map[string]string{"Ce-Id": "whole"}), "{}"); w.Code != http.StatusAccepted {
		t.Fatalf("answer %d", w.Code)
	}
	if r := next(); string(r.Headers[1].Value) != "whole" {
		t.Errorf("first record %v", r.Headers)
	}
}

// FuzzEvent: whatever a request holds, it is an event or it is refused; and what
// is an event is one again in the record.
func FuzzEvent(f *testing.F) {
	f.Add("", "1", "/s", "t", "a", "v", []byte("{}"))
	f.Add("application/json", "", "", "", "partitionkey", "\xe9", []byte(`{"a": 1.50}`))
	f.Add("application/cloudevents+json", "", "", "", "", "", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","zint":7,"data":{"b":1.5}}`))
	f.Add("application/cloudevents+json", "", "", "", "", "", []byte(`{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"base64","data":"aGk="}`))
	f.Fuzz(func(t *testing.T, contentType, id, source, kind, extension, value string, body []byte) {
		header := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {kind}}
		header.Set("Ce-"+extension, value)
		if contentType != "" {
			header["Content-Type"] = []string{contentType}
		}
		var e event
		if err := e.read(header, body); err != nil || strings.HasPrefix(e.contentType.value, "application/cloudevents") {
			return // data that is an event itself is taken for that event
		}
		var binary, structured kgo.Record
		e.writeBinary(&binary)
		e.writeStructured(&structured)
		var back events.Event
		if err := kafkarecord.Read(&binary, &back, kafkarecord.Mapping{CloudEventsOnly: true}); err != nil {
			t.Fatalf("%+v is no event in a record: %v", e, err)
		}
		if back.ID != e.id || back.Type != e.kind || !bytes.Equal(back.Data, e.data) {
			t.Errorf("%+v became %+v", e, back)
		}
		if !bytes.Equal(binary.Key, structured.Key) {
			t.Errorf("keys %q and %q", binary.Key, structured.Key)
		}
	})
}
