package dispatch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
// It speaks plain HTTP, has no proxies and follows no redirects. Headers are
// written in the order of the data plane; a request without data has no
// content-length header. That values have no control characters is the caller's
// to see to.
type Transport struct {
	dial  DialFunc
	slots chan struct{} // one token for each connection in use

	mu   sync.Mutex
	idle map[string][]*connection // by address, the last used at the end
}

// DialFunc connects to an address.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Limits of a Transport.
const (
	poolSize   = 100              // connections in use at a time, in all
	idleFor    = 30 * time.Second // after which an idle connection is not used again
	bufferSize = 4 << 10
	// maxHeader bounds the header of an answer, in bytes; a longer one is no
	// answer. It is what the HTTP client of the data plane (Vert.x) takes.
	maxHeader = 8192
	// maxHead bounds what is read before the header is complete. It is more than
	// maxHeader and a first line, so that the message can say what is wrong.
	maxHead = 64 << 10
)

// NewTransport returns a transport with the data plane's bound on connections,
// times pace. A nil dial connects by TCP.
func NewTransport(pace int, dial DialFunc) *Transport {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &Transport{
		dial:  dial,
		slots: make(chan struct{}, poolSize*max(1, pace)),
		idle:  make(map[string][]*connection),
	}
}

type connection struct {
	net.Conn
	closedByPeer func() bool
	in           io.LimitedReader // of the Conn
	r            *bufio.Reader    // of in
	w            *bufio.Writer
	since        time.Time // idle
}

// RoundTrip implements http.RoundTripper. The body of the answer has to be read
// to its end, or closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" {
		return nil, fmt.Errorf("%s: only http is emulated", req.URL.Redacted())
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
		if !c.closedByPeer() {
			return t.exchange(ctx, c, address, req)
		}
		c.Close()
	}
	conn, err := t.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, closedByPeer: watchPeer(conn), in: io.LimitedReader{R: conn}, w: bufio.NewWriterSize(conn, bufferSize)}
	c.r = bufio.NewReaderSize(&c.in, bufferSize)
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
	c.in.N = maxHead
	resp, err := http.ReadResponse(c.r, req)
	for err == nil && resp.StatusCode >= 100 && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(c.r, req) // the answer comes later
	}
	if err == nil {
		err = checkHeader(resp.Header)
	} else if c.in.N <= 0 {
		err = errLongHeader
	}
	if err != nil {
		return fail(fmt.Errorf("no HTTP answer: %w", err))
	}
	c.in.N = math.MaxInt64
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
	w.WriteString(" HTTP/1.1\r\n")
	for _, f := range fixed {
		writeLines(w, f.wire, req.Header[f.name])
	}
	for name, values := range req.Header {
		if isFixed(name) {
			continue
		}
		writeLines(w, name, values)
	}
	if req.Body != http.NoBody {
		w.WriteString("content-length: ")
		w.Write(strconv.AppendInt(w.AvailableBuffer(), req.ContentLength, 10))
		w.WriteString("\r\n")
	}
	w.WriteString("host: ")
	w.WriteString(req.URL.Host)
	w.WriteString("\r\n\r\n")
	if _, err := io.Copy(w, req.Body); err != nil {
		return err
	}
	return w.Flush() // which has the error of all writes before
}

// fixed are the headers whose order on the wire is fixed, by their canonical
// names and as the data plane writes them.
var fixed = []struct{ name, wire string }{
	{"User-Agent", "user-agent"}, {"Prefer", "Prefer"}, {"Kn-Namespace", "Kn-Namespace"}, {"Ce-Specversion", "ce-specversion"},
	{"Ce-Id", "ce-id"}, {"Ce-Source", "ce-source"}, {"Ce-Type", "ce-type"}, {"Content-Type", "content-type"},
	{"Ce-Dataschema", "ce-dataschema"}, {"Ce-Schemaurl", "ce-schemaurl"}, {"Ce-Subject", "ce-subject"}, {"Ce-Time", "ce-time"},
}

func isFixed(name string) bool {
	for i := range fixed {
		if fixed[i].name == name {
			return true
		}
	}
	return false
}

// writeLines writes the lines of one header. Names of extensions are written in
// lower case.
func writeLines(w *bufio.Writer, name string, values []string) {
	for _, v := range values {
		if strings.HasPrefix(name, "Ce-") {
			w.WriteString("ce-")
			for i := len("Ce-"); i < len(name); i++ {
				c := name[i]
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				w.WriteByte(c)
			}
		} else {
			w.WriteString(name)
		}
		w.WriteString(": ")
		w.WriteString(v)
		w.WriteString("\r\n")
	}
}

var errLongHeader = fmt.Errorf("its header is longer than %d bytes", maxHeader)

func checkHeader(h http.Header) error {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v)
		}
	}
	if n > maxHeader {
		return errLongHeader
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
