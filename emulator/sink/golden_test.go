package sink

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"datasurge/emulator/golden"
	"datasurge/functions/stream/kafkatest"
	"datasurge/knative"
)

func TestMain(m *testing.M) {
	if os.Getenv(asLoad) != "" {
		runLoad()
	}
	os.Exit(golden.Main(m))
}

// TestGolden replays the recordings of the real receiver: each request byte for
// byte, in fake time, against an embedded Kafka, and compares the answers, how
// long they took, and the records.
func TestGolden(t *testing.T) {
	for _, r := range golden.Load(t, golden.KafkaSink) {
		t.Run(r.Name, func(t *testing.T) {
			r.Proves(t)
			kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) { replay(t, b, r) })
		})
	}
}

func replay(t *testing.T, b kafkatest.Backend, r *golden.Recording) {
	given, err := yaml.Marshal(&r.Given)
	if err != nil {
		t.Fatal(err)
	}
	set, err := knative.Read(r.Name, bytes.NewReader(given))
	if err != nil {
		t.Fatal(err)
	}
	client := b.Client(t, append(Options(), kgo.Dialer(refused(b)))...)
	topics := r.Topics
	if len(topics) == 0 && anyAccepted(r) {
		topics = map[string]int32{set.Sinks[0].Topic: 1}
	}
	for name, partitions := range topics {
		if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	handlers := make(map[string]*Handler)
	for _, s := range set.Sinks {
		handlers["/"+s.Namespace+"/"+s.Name] = New(s, client, slog.New(slog.DiscardHandler))
	}
	dial := serve(t, Receiver{Find: func(path string) *Handler { return handlers[path] }})
	for i := range r.Then.Exchanges {
		x := &r.Then.Exchanges[i]
		if strings.Contains(x.Note, "broker killed 2 s before") {
			b.Fake.Close()
			time.Sleep(2 * time.Second)
		}
		start := time.Now()
		got := exchange(t, dial, x)
		if diff := cmp.Diff(x.Response.Canonical(), got); diff != "" {
			t.Errorf("%d, %s (-recorded +emulated):\n%s", x.N, x.Note, diff)
		}
		// Time is fake: only what is waited for passes.
		took, recorded := time.Since(start), time.Duration(x.TookMs)*time.Millisecond
		if long := 10 * time.Second; (took > long || recorded > long) && (took-recorded).Abs() > 2*time.Second {
			t.Errorf("%d, %s: took %v, recorded %v", x.N, x.Note, took, recorded)
		}
	}
	var records []string
	for i := range r.Then.Records {
		records = append(records, r.Then.Records[i].Canonical())
	}
	if len(records) == 0 {
		return
	}
	var got []string
	for name := range topics {
		for _, rec := range b.ReadCommitted(t, name) {
			got = append(got, golden.CanonicalRecord(rec))
		}
	}
	if diff := cmp.Diff(records, got); diff != "" {
		t.Errorf("records (-recorded +emulated):\n%s", diff)
	}
}

// refused is how b is reached, with the error of a real network when there is
// nobody to be reached.
func refused(b kafkatest.Backend) func(context.Context, string, string) (net.Conn, error) {
	dial := b.Dial()
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return c, nil
	}
}

// anyAccepted reports whether the topic was there though it is not listed.
func anyAccepted(r *golden.Recording) bool {
	for i := range r.Then.Exchanges {
		if r.Then.Exchanges[i].Response.Status == http.StatusAccepted {
			return true
		}
	}
	return false
}

// serve serves h on connections in memory, and returns what opens one.
func serve(t *testing.T, h http.Handler) func() net.Conn {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return func() net.Conn {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		return ours
	}
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// exchange sends a recorded request as it stands there, and returns the answer
// for comparison.
func exchange(t *testing.T, dial func() net.Conn, x *golden.Exchange) string {
	body, err := x.Body.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: sink\r\n", x.Method, x.Path)
	for _, h := range x.Headers {
		fmt.Fprintf(&raw, "%s: %s\r\n", h.Name, h.Value)
	}
	if x.Body != nil {
		fmt.Fprintf(&raw, "Content-Length: %d\r\n", len(body))
	}
	raw.WriteString("\r\n")
	raw.Write(body)

	conn := dial()
	defer conn.Close()
	go conn.Write(raw.Bytes()) // the answer may come before all is written
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: x.Method})
	if err != nil {
		t.Fatalf("%d, %s: %v", x.N, x.Note, err)
	}
	defer resp.Body.Close()
	var got []byte
	if x.Method != http.MethodHead {
		if got, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	var headers []golden.Header
	for name, values := range resp.Header {
		for _, v := range values {
			// That the connection ends is the server's to say.
			if name != "Connection" {
				headers = append(headers, golden.Header{Name: name, Value: []byte(v)})
			}
		}
	}
	_, reason, _ := strings.Cut(resp.Status, " ")
	return golden.CanonicalResponse(resp.StatusCode, reason, headers, got)
}
