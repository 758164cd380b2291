package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Transport sends requests over HTTP/1.1 connections that are kept, as many as
// the data plane's pool has. The goroutine that calls RoundTrip writes and reads
// itself, where http.Transport has two more goroutines for each connection:
// delivering events is most of what an emulator does.
//
// It speaks plain HTTP, has no proxies and follows no redirects. A request
// without data has no content-length header, which is how the data plane sends
// it.
type Transport struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	slots chan struct{} // one token for each connection in use

	mu   sync.Mutex
	idle map[string][]*connection // by address, the last used at the end
}

// Limits of a Transport.
const (
	poolSize   = 100              // connections in use at a time, in all
	idleFor    = 30 * time.Second // after which an idle connection is not used again
	bufferSize = 4 << 10
)

// NewTransport returns a transport with the data plane's bound on connections,
// times pace.
func NewTransport(pace int) *Transport {
	return &Transport{
		dial:  new(net.Dialer).DialContext,
		slots: make(chan struct{}, poolSize*max(1, pace)),
		idle:  make(map[string][]*connection),
	}
}

type connection struct {
	net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	since time.Time // idle
}

// RoundTrip implements http.RoundTripper. The body of the answer has to be read
// to its end, or closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" {
		return nil, fmt.Errorf("%s: only http is emulated", req.URL.Redacted())
	}
	if err := checkHeader(req.Header); err != nil {
		return nil, err
	}
	ctx := req.Context()
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	resp, err := t.roundTrip(ctx, req)
	if err != nil {
		<-t.slots
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return resp, nil
}

// roundTrip uses an idle connection or a new one. An idle one that the other side
// has closed is not used; one that breaks when it is used is a failed attempt.
func (t *Transport) roundTrip(ctx context.Context, req *http.Request) (*http.Response, error) {
	address := req.URL.Host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	for {
		c := t.take(address)
		if c == nil {
			break
		}
		if !closedByPeer(c.Conn) {
			return t.exchange(ctx, c, address, req)
		}
		c.Close()
	}
	conn, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, r: bufio.NewReaderSize(conn, bufferSize), w: bufio.NewWriterSize(conn, bufferSize)}
	return t.exchange(ctx, c, address, req)
}

// exchange writes a request and reads the head of the answer. It owns c until the
// answer's body is done with.
func (t *Transport) exchange(ctx context.Context, c *connection, address string, req *http.Request) (*http.Response, error) {
	// When ctx ends, reading and writing end.
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	fail := func(err error) (*http.Response, error) {
		stop()
		c.Close()
		return nil, err
	}
	if err := writeRequest(c.w, req); err != nil {
		return fail(err)
	}
	resp, err := http.ReadResponse(c.r, req)
	for err == nil && resp.StatusCode >= 100 && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(c.r, req) // the answer comes later
	}
	if err != nil {
		return fail(fmt.Errorf("no HTTP answer: %w", err))
	}
	resp.Body = &body{ReadCloser: resp.Body, done: func(whole bool) {
		if stop() && whole && !resp.Close {
			t.put(address, c)
		} else {
			c.Close()
		}
		<-t.slots
	}}
	return resp, nil
}

// writeRequest writes a request's head and body, in one piece when it is small.
func writeRequest(w *bufio.Writer, req *http.Request) error {
	w.WriteString(req.Method)
	w.WriteByte(' ')
	w.WriteString(req.URL.RequestURI())
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(req.URL.Host)
	w.WriteString("\r\n")
	for name, values := range req.Header {
		for _, v := range values {
			w.WriteString(name)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	if req.Body != http.NoBody {
		w.WriteString("Content-Length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), req.ContentLength, 10))
		w.WriteString("\r\n")
	}
	w.WriteString("\r\n")
	if _, err := io.Copy(w, req.Body); err != nil {
		return err
	}
	return w.Flush() // which has the error of all writes before
}

// checkHeader refuses what cannot stand on the wire: control characters.
func checkHeader(h http.Header) error {
	for name, values := range h {
		for _, v := range values {
			if i := strings.IndexFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
				return fmt.Errorf("header %s has the control character %q", name, v[i])
			}
		}
	}
	return nil
}

// body is an answer's body, which gives the connection back when it has been
// read to its end.
type body struct {
	io.ReadCloser
	done  func(whole bool)
	ended bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended = true
		b.done(errors.Is(err, io.EOF))
	}
	return n, err
}

// Close gives up a body that has not been read to its end.
func (b *body) Close() error {
	if !b.ended {
		b.ended = true
		b.done(false)
	}
	return nil
}

// take returns an idle connection, nil when there is none.
func (t *Transport) take(address string) *connection {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[address]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	t.idle[address] = list[:len(list)-1]
	if time.Since(c.since) > idleFor {
		// All others have been idle for longer.
		for _, old := range list {
			old.Close()
		}
		delete(t.idle, address)
		return nil
	}
	return c
}

func (t *Transport) put(address string, c *connection) {
	c.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle[address] = append(t.idle[address], c)
}

// CloseIdleConnections closes the connections that are not in use.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.idle {
		for _, c := range list {
			c.Close()
		}
	}
	clear(t.idle)
}
