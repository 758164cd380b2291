package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// wire is a server that answers each request with the next of some texts, byte
// by byte as they are, and then closes the connection when they end in close.
func wire(t *testing.T, answers ...string) (url string, requests *[]string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests, connections = new([]string), new(atomic.Int32)
	var mu sync.Mutex
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					var head strings.Builder
					req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(oneByte{r}, &head)))
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					mu.Lock()
					*requests = append(*requests, head.String())
					answer := ""
					if len(answers) > 0 {
						answer, answers = answers[0], answers[1:]
					}
					mu.Unlock()
					text, closes := strings.CutSuffix(answer, "close")
					io.WriteString(c, text)
					if closes || answer == "" {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), requests, connections
}

// oneByte reads little, so that nothing of the next request is taken.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func send(t *testing.T, tr *Transport, ctx context.Context, url, data string, header http.Header) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header, req.ContentLength, req.Body = header, int64(len(data)), http.NoBody
	if data != "" {
		req.Body = io.NopCloser(strings.NewReader(data))
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("not within 10 s")
		}
	}
}

const ok = "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"

func TestTransportWire(t *testing.T) {
	url, requests, connections := wire(t, ok, ok)
	tr := NewTransport(1, nil)
	defer tr.CloseIdleConnections()
	for _, data := range []string{"data", ""} {
		resp, got, err := send(t, tr, t.Context(), url+"/a%20b?x=1", data, http.Header{"Ce-Ext": {"x"}, "Ce-Id": {"\xe9", "2"}, "Prefer": {"reply"}})
		if err != nil || resp.StatusCode != 202 || got != "ok" {
			t.Fatalf("answer %v %q %v", resp, got, err)
		}
	}
	host := strings.TrimPrefix(url, "http://")
	for i, want := range []string{
		"POST /a%20b?x=1 HTTP/1.1\r\nPrefer: reply\r\nce-id: \xe9\r\nce-id: 2\r\nce-ext: x\r\ncontent-length: 4\r\nhost: " + host + "\r\n\r\ndata",
		"POST /a%20b?x=1 HTTP/1.1\r\nPrefer: reply\r\nce-id: \xe9\r\nce-id: 2\r\nce-ext: x\r\nhost: " + host + "\r\n\r\n",
	} {
		if got := (*requests)[i]; got != want {
			t.Errorf("request %d is %q, want %q", i, got, want)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestTransportAnswers: what sinks may do, and the next request all the same.
func TestTransportAnswers(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int // 0: none
		body         string
		broken       bool // while the body is read
	}{
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc", false},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, 202, "ok", false},
		{"until the end", "HTTP/1.0 200 OK\r\n\r\nabcclose", 200, "abc", false},
		{"says that it closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\naclose", 200, "a", false},
		{"closes without saying", ok + "close", 202, "ok", false},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false},
		{"large head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 1000) + "Content-Length: 0\r\n\r\n", 200, "", false},
		{"1000 long headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Header: value\r\n", 1000) + "Content-Length: 0\r\n\r\n", 0, "", false},
		{"endless header", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("x", 1<<20) + "\r\nclose", 0, "", false},
		{"half of a body", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartialclose", 200, "partial", true},
		{"half of a head", "HTTP/1.1 200 OK\r\nContent-close", 0, "", false},
		{"no HTTP", "220 smtp ready\r\nclose", 0, "", false},
		{"nothing", "close", 0, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, _, _ := wire(t, c.answer, ok)
			tr := NewTransport(1, nil)
			defer tr.CloseIdleConnections()
			resp, got, err := send(t, tr, t.Context(), url, "data", nil)
			switch {
			case c.status == 0 && err == nil:
				t.Errorf("answer %d, want none", resp.StatusCode)
			case c.status != 0 && (resp == nil || resp.StatusCode != c.status || got != c.body || (err != nil) != c.broken):
				t.Errorf("answer %v %q %v", resp, got, err)
			}
			if c.name == "closes without saying" {
				// The connection is taken for good until its end arrives here.
				eventually(t, tr.idle[strings.TrimPrefix(url, "http://")][0].closedByPeer)
			}
			if resp, got, err = send(t, tr, t.Context(), url, "data", nil); err != nil || resp.StatusCode != 202 || got != "ok" {
				t.Errorf("the next: answer %v %q %v", resp, got, err)
			}
			if n := len(tr.slots); n != 0 {
				t.Errorf("%d connections are still in use", n)
			}
		})
	}
}

func TestTransportErrors(t *testing.T) {
	tr := NewTransport(1, nil)
	defer tr.CloseIdleConnections()
	if _, _, err := send(t, tr, t.Context(), "http://127.0.0.1:1/", "", nil); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	if _, _, err := send(t, tr, t.Context(), "https://127.0.0.1:1/", "", nil); err == nil || !strings.Contains(err.Error(), "only http") {
		t.Errorf("https: %v", err)
	}
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hang.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := send(t, tr, ctx, hang.URL, "data", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer in time: %v", err)
	}
	if n := len(tr.slots); n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
}

// TestTransportPool: never more connections than the pool has.
func TestTransportPool(t *testing.T) {
	var most, now atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		now.Add(-1)
	}))
	defer server.Close()
	tr := NewTransport(1, nil)
	defer tr.CloseIdleConnections()
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if _, _, err := send(t, tr, t.Context(), server.URL, fmt.Sprint(i), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := most.Load(); got > poolSize {
		t.Errorf("%d at a time, the pool has %d", got, poolSize)
	}
}

// BenchmarkDeliver delivers one record to a sink on this machine, sink included.
func BenchmarkDeliver(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	rec := benchmarkRecord()
	for name, tr := range map[string]http.RoundTripper{
		"ours":     NewTransport(1, nil),
		"net/http": &http.Transport{MaxIdleConnsPerHost: poolSize, MaxConnsPerHost: poolSize, DisableCompression: true},
	} {
		b.Run(name, func(b *testing.B) {
			d := New(Config{Egress: Egress{Subscriber: Target{URL: server.URL}, Delivery: Delivery{Timeout: time.Minute}}, Transport: tr})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r := d.Deliver(context.Background(), rec, false); r.End != Delivered {
						b.Error(r)
					}
				}
			})
		})
	}
}

// benchmarkRecord is an event of a transaction.
func benchmarkRecord() *kgo.Record {
	e := events.Event{ID: "0198c0a0-0000-7000-8000-000000000000", Source: "/s", Type: events.TypeTransaction, Subject: "user-1", Key: "user-1",
		Time: time.Unix(1767323045, 678e6), DataContentType: "application/json", Data: bytes.Repeat([]byte("x"), 200)}
	rec := &kgo.Record{Topic: "t", Partition: 3, Offset: 123456}
	kafkarecord.Write(&e, rec)
	return rec
}
