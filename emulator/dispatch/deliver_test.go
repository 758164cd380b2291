package dispatch

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/golden"
	"datasurge/events/kafkarecord"
)

// sinkFunc is a transport that answers by itself.
type sinkFunc func(req *http.Request, body string) (*http.Response, error)

func (f sinkFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	return f(req, string(body))
}

func answer(status int, body string, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// ceRecord is a record with an event whose data is value.
func ceRecord(value string, headers ...string) *kgo.Record {
	rec := &kgo.Record{Topic: "t", Partition: 1, Offset: 7, Value: []byte(value), Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("1")},
		{Key: "ce_source", Value: []byte("/src")}, {Key: "ce_type", Value: []byte("t.x")},
	}}
	for i := 0; i < len(headers); i += 2 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return rec
}

// requestLog keeps the requests that a sink got, as "METHOD path body".
type requestLog []string

func (l *requestLog) add(req *http.Request, body string) {
	*l = append(*l, req.Method+" "+req.URL.Path+" "+body)
}

func (l *requestLog) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, []string(*l)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

var once = Delivery{Timeout: time.Minute}

func target(path string) Target { return Target{URL: "http://sink" + path} }

// TestStatuses: which answers are tried again, for all of them. Those beyond 599
// are too.
func TestStatuses(t *testing.T) {
	golden.Row(t, 12, golden.FromSourceReading)
	again := map[int]bool{0: true, 404: true, 408: true, 409: true, 429: true}
	for status := range 1000 {
		o := outcome{status: status}
		if got, want := o.retryable(), again[status] || status >= 500; got != want {
			t.Errorf("status %d: retryable is %v, want %v", status, got, want)
		}
		if got, want := o.ok(), status > 0 && status < 300; got != want {
			t.Errorf("status %d: ok is %v, want %v", status, got, want)
		}
	}
}

// TestTimes: which times make an event a broken one, and how the others are sent.
func TestTimes(t *testing.T) {
	golden.Row(t, 6, golden.FromSourceReading)
	for text, want := range map[string]string{
		"2026-01-02T03:04+02": "2026-01-02T03:04:00+02:00", "2026-01-02t03:04:05.10z": "2026-01-02T03:04:05.1Z",
		"2026-01-02T03:04:05,5Z": "", "2026-01-02T3:04:05Z": "", "2026-01-02T03:04:05.1234567890Z": "",
	} {
		var got string
		d := New(Config{Egress: Egress{Subscriber: target("/"), Delivery: once}, Transport: sinkFunc(func(req *http.Request, _ string) (*http.Response, error) {
			got = req.Header.Get("Ce-Time")
			return answer(202, ""), nil
		})})
		wantEnd := Delivered
		if want == "" {
			wantEnd = NoEvent
		}
		if r := d.Deliver(t.Context(), ceRecord("x", "ce_time", text), false); r.End != wantEnd || got != want {
			t.Errorf("time %s: %+v, sent as %q, want %q", text, r, got, want)
		}
	}
}

// TestRedirects: a 303 is followed with a GET, and then the redirects of that too;
// what follows nothing is the answer.
func TestRedirects(t *testing.T) {
	golden.Row(t, 12, golden.FromSourceReading)
	to := func(status int, location string) *http.Response { return answer(status, "", "Location", location) }
	for _, c := range []struct {
		name    string
		answers map[string]*http.Response // by path; 202 without
		end     End
		want    []string
	}{
		{"a chain", map[string]*http.Response{"/": to(303, "/a"), "/a": to(301, "b"), "/b": to(302, "/c"), "/c": to(307, "/d"), "/d": to(308, "/e"), "/e": to(303, "/f")},
			Delivered, []string{"POST / x", "GET /a x", "GET /b x", "GET /c x", "GET /d x", "GET /e x", "GET /f x"}},
		{"a failure at its end", map[string]*http.Response{"/": to(303, "/a"), "/a": answer(400, "")}, Lost, []string{"POST / x", "GET /a x"}},
		{"no redirect", map[string]*http.Response{"/": to(303, "/a"), "/a": to(304, "/b")}, Lost, []string{"POST / x", "GET /a x"}},
		{"nowhere", map[string]*http.Response{"/": answer(303, "")}, Lost, []string{"POST / x"}},
		{"another protocol", map[string]*http.Response{"/": to(303, "file:///a")}, Lost, []string{"POST / x"}},
		{"no address", map[string]*http.Response{"/": to(303, "http://%")}, Lost, []string{"POST / x"}},
		{"a circle", map[string]*http.Response{"/": to(303, "/")}, Lost, append([]string{"POST / x"}, slices.Repeat([]string{"GET / x"}, 16)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log requestLog
			d := New(Config{Egress: Egress{Subscriber: target("/"), Delivery: once}, Transport: sinkFunc(func(req *http.Request, body string) (*http.Response, error) {
				log.add(req, body)
				if resp := c.answers[req.URL.Path]; resp != nil {
					return resp, nil
				}
				return answer(202, ""), nil
			})})
			if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != c.end {
				t.Errorf("got %+v, want %v", r, c.end)
			}
			log.want(t, c.want...)
		})
	}
}

// TestDefaultTimeout: without a timeout in the manifest one attempt may take
// 600 s.
func TestDefaultTimeout(t *testing.T) {
	golden.Row(t, 14, golden.FromSourceReading)
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{
			Egress: Egress{Subscriber: target("/"), Delivery: Delivery{Timeout: 600 * time.Second, Retry: 1, Backoff: "linear", Delay: time.Second}},
			Transport: sinkFunc(func(req *http.Request, _ string) (*http.Response, error) {
				<-req.Context().Done()
				return nil, context.Cause(req.Context())
			}),
		})
		start := time.Now()
		r := d.Deliver(t.Context(), ceRecord("x"), false)
		if took := time.Since(start); took != 1201*time.Second || r.End != Lost {
			t.Errorf("it took %v: %+v", took, r)
		}
	})
}

// TestReplyOfTheDeadLetterSink goes the same way as that of the subscriber: an
// event is passed on, and anything else is a failure.
func TestReplyOfTheDeadLetterSink(t *testing.T) {
	golden.Row(t, 11, golden.FromSourceReading)
	dead := target("/dead")
	for _, c := range []struct {
		name   string
		answer *http.Response
		end    End
		more   []string
	}{
		{"nothing", answer(200, ""), DeadLettered, nil},
		{"an event", answer(200, "r", "Ce-Specversion", "1.0", "Ce-Id", "r", "Ce-Source", "/f", "Ce-Type", "o"), DeadLettered, []string{"POST /reply r"}},
		{"garbage", answer(200, "garbage"), Lost, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log requestLog
			d := New(Config{
				Egress: Egress{Subscriber: target("/"), DeadLetter: &dead, Reply: ReplyTo(target("/reply")), Delivery: once},
				Transport: sinkFunc(func(req *http.Request, body string) (*http.Response, error) {
					log.add(req, body)
					switch req.URL.Path {
					case "/dead":
						return c.answer, nil
					case "/reply":
						return answer(202, ""), nil
					}
					return answer(400, "no"), nil
				}),
			})
			if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != c.end {
				t.Errorf("got %+v", r)
			}
			log.want(t, append([]string{"POST / x", "POST /dead x"}, c.more...)...)
		})
	}
}

// TestReplyThatCannotBeWritten: a failure to write a reply to its topic is one
// of the event, without an answer to tell of.
func TestReplyThatCannotBeWritten(t *testing.T) {
	golden.Row(t, 11, golden.FromSourceReading)
	dead := target("/dead")
	var header http.Header
	d := New(Config{
		Egress: Egress{Subscriber: target("/"), DeadLetter: &dead, Reply: ReplyToTopic(), Delivery: Delivery{Timeout: time.Minute, Retry: 5, Delay: 1}},
		Topic:  "t", Produce: func(context.Context, *kgo.Record) error { return errors.New("the broker is away") },
		Transport: sinkFunc(func(req *http.Request, _ string) (*http.Response, error) {
			if req.URL.Path == "/dead" {
				header = req.Header.Clone()
				return answer(202, ""), nil
			}
			return answer(200, "r", "Ce-Specversion", "1.0", "Ce-Id", "r", "Ce-Source", "/f", "Ce-Type", "o"), nil
		}),
	})
	if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != DeadLettered || !strings.Contains(r.Why, "the broker is away") {
		t.Errorf("got %+v", r)
	}
	if header.Get("Ce-Knativeerrordest") != "http://sink/" || header.Get("Ce-Knativeerrorcode") != "" {
		t.Errorf("dead letter %v", header)
	}
}

// TestReplyRecord: how a reply is written to a topic.
func TestReplyRecord(t *testing.T) {
	golden.Row(t, 11, golden.FromSourceReading)
	for _, c := range []struct {
		name   string
		header []string
		want   string
	}{
		{"UTF-8 is read as Latin-1", []string{"Ce-Subject", "\xc3\xa9"}, `key null, ce_specversion 1.0, ce_id r, ce_source /f, ce_type o, ce_subject Ã©`},
		{"an empty partitionkey", []string{"Ce-Partitionkey", ""}, `key "", ce_specversion 1.0, ce_id r, ce_source /f, ce_type o, ce_partitionkey `},
		{"version 0.3 stays", []string{"Ce-Specversion", "0.3", "Ce-Schemaurl", "http://s/"}, `key null, ce_specversion 0.3, ce_id r, ce_source /f, ce_type o, ce_schemaurl http://s/`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			d := New(Config{
				Egress: Egress{Subscriber: target("/"), Reply: ReplyToTopic(), Delivery: once}, Topic: "t",
				Produce: func(_ context.Context, rec *kgo.Record) error {
					parts := []string{"key null"}
					if rec.Key != nil {
						parts[0] = fmt.Sprintf("key %q", rec.Key)
					}
					for _, h := range rec.Headers {
						parts = append(parts, h.Key+" "+string(h.Value))
					}
					got = strings.Join(parts, ", ")
					return nil
				},
				Transport: sinkFunc(func(*http.Request, string) (*http.Response, error) {
					h := append([]string{"Ce-Id", "r", "Ce-Source", "/f", "Ce-Type", "o"}, c.header...)
					if !slices.Contains(h, "Ce-Specversion") {
						h = append(h, "Ce-Specversion", "1.0")
					}
					return answer(200, "r", h...), nil
				}),
			})
			if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != Delivered {
				t.Errorf("got %+v", r)
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestTrace: a valid traceparent is continued with a new span, tracestate is
// copied; on plain records the header also shows as an extension.
func TestTrace(t *testing.T) {
	golden.Row(t, 9, golden.FromSourceReading)
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, c := range []struct {
		name, parent string
		continued    bool
	}{
		{"valid", "00-" + trace + "-" + span + "-01", true},
		{"no span", "00-" + trace + "-0000000000000000-01", false},
		{"no trace", "00-00000000000000000000000000000000-" + span + "-01", false},
		{"too short", "00-" + trace[1:] + "-" + span + "-01", false},
		{"text", "hello", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := ceRecord("x", "traceparent", c.parent, "tracestate", "a=b")
			m, ok := readRecord(rec, kafkarecord.Mapping{}, true)
			if !ok {
				t.Fatal("no event")
			}
			h := newRequest(&m, "ns").header
			got := strings.Split(h.Get("Traceparent"), "-")
			if !c.continued {
				if h.Get("Traceparent") != "" || h.Get("Tracestate") != "" {
					t.Errorf("a trace was begun: %v", h)
				}
				return
			}
			if len(got) != 4 || got[1] != trace || got[2] == span || len(got[2]) != len(span) || h.Get("Tracestate") != "a=b" {
				t.Errorf("header %v", h)
			}
			plain := &kgo.Record{Headers: rec.Headers[len(rec.Headers)-2:]}
			m, _ = readRecord(plain, kafkarecord.Mapping{}, true)
			if h := newRequest(&m, "ns").header; h.Get("Ce-Kafkaheadertraceparent") != c.parent || h.Get("Traceparent") == "" {
				t.Errorf("plain record: %v", h)
			}
		})
	}
}

// TestKeyTypeFloat: 4 and 8 bytes are numbers as Java prints them, others text.
func TestKeyTypeFloat(t *testing.T) {
	golden.Row(t, 2, golden.FromSourceReading)
	for key, want := range map[string]string{
		"\x3f\xc0\x00\x00":                 "1.5",
		"\x4b\x18\x96\x80":                 "1.0E7",
		"\x7f\xc0\x00\x00":                 "NaN",
		"\x3f\xf8\x00\x00\x00\x00\x00\x00": "1.5",
		"\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc": "0.001",
		"abc":                              "abc",
		"abcde":                            "abcde",
	} {
		rec := &kgo.Record{Topic: "t", Key: []byte(key), Value: []byte("x")}
		m, ok := readRecord(rec, kafkarecord.Mapping{KeyType: kafkarecord.KeyFloat}, true)
		if !ok {
			t.Fatal("no event")
		}
		if h := newRequest(&m, "ns").header; h.Get("Ce-Key") != want || h.Get("Ce-Partitionkey") != want {
			t.Errorf("key %q: %q and %q, want %q", key, h.Get("Ce-Key"), h.Get("Ce-Partitionkey"), want)
		}
	}
}

// TestEmptyAttributes: what is there but empty is sent.
func TestEmptyAttributes(t *testing.T) {
	golden.Row(t, 4, golden.FromSourceReading)
	rec := ceRecord("x", "ce_subject", "", "ce_partitionkey", "", "content-type", "")
	m, ok := readRecord(rec, kafkarecord.Mapping{}, true)
	if !ok {
		t.Fatal("no event")
	}
	h := newRequest(&m, "ns").header
	for _, name := range []string{"Ce-Subject", "Ce-Partitionkey", "Content-Type"} {
		if v, ok := h[name]; !ok || v[0] != "" {
			t.Errorf("%s is %q, %v", name, v, ok)
		}
	}
	if _, ok := h["Ce-Dataschema"]; ok {
		t.Error("dataschema was not there")
	}
}

func TestLatin1(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "é": "\xe9", "日本": "??", "😀": "??", "aÿb": "a\xffb", "tab\t": "tab\t",
	} {
		if got := toLatin1(in); got != want {
			t.Errorf("toLatin1(%q) = %q, want %q", in, got, want)
		}
	}
	for b := range 256 {
		if s := string([]byte{byte(b)}); toLatin1(fromLatin1(s)) != s {
			t.Errorf("byte %d comes back as %q", b, toLatin1(fromLatin1(s)))
		}
	}
}

// TestDeadLetterData: the first 1024 bytes, as they are.
func TestDeadLetterData(t *testing.T) {
	dead := target("/dead")
	body := strings.Repeat("\x00\xff", 4096)
	var header http.Header
	d := New(Config{
		Egress: Egress{Subscriber: target("/"), DeadLetter: &dead, Delivery: once},
		Transport: sinkFunc(func(req *http.Request, _ string) (*http.Response, error) {
			if req.URL.Path == "/dead" {
				header = req.Header.Clone()
				return answer(200, "anything"), nil
			}
			return answer(422, body, "Kne-A", "\xc3\xa9", "Kne-Knativeerrorcode", "7"), nil
		}),
	})
	if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != DeadLettered {
		t.Fatalf("got %+v", r)
	}
	want := base64.StdEncoding.EncodeToString([]byte(body[:1024]))
	if got := header.Get("Ce-Knativeerrordata"); got != want {
		t.Errorf("data is %d characters, want %d", len(got), len(want))
	}
	if header.Get("Ce-A") != "\xc3\xa9" || header.Get("Ce-Knativeerrorcode") != "7" {
		t.Errorf("header %v", header)
	}
}

// TestBadRecords: what records may hold. Each is delivered, or done with; none
// stops the others.
func TestBadRecords(t *testing.T) {
	null := ceRecord("x")
	null.Headers = append(null.Headers, kgo.RecordHeader{Key: "h"})
	mib := bytes.Repeat([]byte("v"), 1<<20)
	for _, c := range []struct {
		name         string
		rec          *kgo.Record
		plain, other End // where plain records become events, and elsewhere
		body         int // length
	}{
		{"a null header", null, NoEvent, NoEvent, 0},
		{"no UTF-8", &kgo.Record{Key: []byte("\xff\xfe"), Value: []byte("\xff"), Headers: []kgo.RecordHeader{{Key: "\xff", Value: []byte("\xfe")}}}, Delivered, NoEvent, 1},
		{"no UTF-8 in an event", ceRecord("\xff", "ce_subject", "\xff\xfe", "ce_ext", "\xff"), Delivered, Delivered, 1},
		{"broken headers", ceRecord("x", "ce_time", "yesterday"), Delivered, NoEvent, 1},
		{"another version", &kgo.Record{Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("7")}}}, Delivered, NoEvent, 1},
		{"broken structured", &kgo.Record{Value: []byte(`{"specversion":`), Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json")}}}, Delivered, NoEvent, 15},
		{"1 MiB", &kgo.Record{Value: mib}, Delivered, NoEvent, len(mib)},
		{"1 MiB in an event", ceRecord(string(mib)), Delivered, Delivered, len(mib)},
		{"control characters", ceRecord("x", "ce_subject", "a\nb: c\r\n"), Lost, Lost, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for plain, want := range map[bool]End{true: c.plain, false: c.other} {
				got := 0
				d := New(Config{
					Egress: Egress{Subscriber: target("/"), Delivery: once}, Plain: plain,
					Transport: sinkFunc(func(req *http.Request, body string) (*http.Response, error) {
						got = len(body)
						for name, values := range req.Header {
							if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
								t.Errorf("header %q: %q", name, values)
							}
						}
						return answer(202, ""), nil
					}),
				})
				if r := d.Deliver(t.Context(), c.rec, false); r.End != want || want == Delivered && got != c.body {
					t.Errorf("plain is %v: %+v, a body of %d bytes", plain, r, got)
				}
			}
		})
	}
}

// TestBadSinks: what sinks may answer. Each is a result with its reason.
func TestBadSinks(t *testing.T) {
	large := strings.Repeat("x", 10<<20)
	for _, c := range []struct {
		name, answer string
		end          End
		last         string
	}{
		{"garbage", "220 smtp ready\r\nclose", Lost, "no HTTP answer"},
		{"half a head", "HTTP/1.1 200 OK\r\nContentclose", Lost, "no HTTP answer"},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartialclose", Lost, "broke off"},
		{"nothing", "close", Lost, "no HTTP answer"},
		{"10 MB", "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n" + large, Delivered, ""},
		{"10 MB of failure", "HTTP/1.1 400 Bad\r\nContent-Length: 10485760\r\n\r\n" + large, Lost, "answered 400: xxx"},
		{"1000 headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: value\r\n", 1000) + "\r\n", Lost, "longer than 8192 bytes"},
		{"a status of four digits", "HTTP/1.1 2000 OK\r\n\r\nclose", Lost, "no HTTP answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, _, _ := wire(t, c.answer)
			d := New(Config{Egress: Egress{Subscriber: Target{URL: url}, Delivery: once}, Transport: NewTransport(1, nil)})
			if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != c.end || !strings.Contains(r.Last, c.last) {
				t.Errorf("got %+v, want %q", r, c.last)
			}
		})
	}
}

// TestLongHeader: the data plane's HTTP client takes 8192 bytes of header.
func TestLongHeader(t *testing.T) {
	golden.Row(t, 12, golden.FromSourceReading)
	for n, want := range map[int]End{8000: Delivered, 8300: Lost} {
		url, _, _ := wire(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("v", n)+"\r\nContent-Length: 0\r\n\r\n")
		d := New(Config{Egress: Egress{Subscriber: Target{URL: url}, Delivery: once}, Transport: NewTransport(1, nil)})
		if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != want {
			t.Errorf("%d bytes: %+v", n, r)
		}
	}
}

// TestStuck: a name that is none never ends the event, and the reason is told.
func TestStuck(t *testing.T) {
	dead := target("/dead")
	refuse := sinkFunc(func(*http.Request, string) (*http.Response, error) { return answer(400, "", "Kne-With-Dash", "v"), nil })
	d := New(Config{Egress: Egress{Subscriber: target("/"), DeadLetter: &dead, Delivery: once}, Transport: refuse})
	if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != Stuck || !strings.Contains(r.Why, "kne-with-dash") {
		t.Errorf("got %+v", r)
	}
	d = New(Config{Egress: Egress{Subscriber: target("/"), Overrides: map[string]string{"Upper": "v"}, Delivery: once}, Transport: refuse})
	if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != Stuck || !strings.Contains(r.Why, `"Upper"`) {
		t.Errorf("got %+v", r)
	}
	// Without a dead letter sink nobody looks at the header.
	d = New(Config{Egress: Egress{Subscriber: target("/"), Delivery: once}, Transport: refuse})
	if r := d.Deliver(t.Context(), ceRecord("x"), false); r.End != Lost {
		t.Errorf("got %+v", r)
	}
}

func TestCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := New(Config{
		Egress: Egress{Subscriber: target("/"), Delivery: Delivery{Timeout: time.Minute, Retry: 10, Delay: time.Hour}},
		Transport: sinkFunc(func(*http.Request, string) (*http.Response, error) {
			cancel()
			return answer(503, ""), nil
		}),
	})
	if r := d.Deliver(ctx, ceRecord("x"), false); r.End != Cut {
		t.Errorf("got %+v", r)
	}
}

func BenchmarkRequest(b *testing.B) {
	rec := benchmarkRecord()
	b.ReportAllocs()
	for b.Loop() {
		m, _ := readRecord(rec, kafkarecord.Mapping{Place: true}, true)
		newRequest(&m, "default").release()
	}
}
