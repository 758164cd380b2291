package stream

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream/kafkatest"
)

// TestReadyWithoutEvents: an instance to which nothing is sent knows within ten
// seconds that Kafka is gone, and that it is back.
func TestReadyWithoutEvents(t *testing.T) {
	for name, silent := range map[string]bool{"refused": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 2)
				link := &link{dial: b.Dial()}
				e := tb.start(func(o *Options) {
					o.Consume = false
					o.Kafka = append(o.Kafka, kgo.Dialer(link.Dial))
				})
				tb.ready(e)
				time.Sleep(time.Minute)
				if err := e.Ready(); err != nil {
					t.Fatalf("before: %v", err)
				}
				link.cut(silent)
				time.Sleep(10 * time.Second)
				if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "no answer from Kafka") {
					t.Errorf("10 s after Kafka has gone: %v", err)
				}
				time.Sleep(time.Minute)
				link.mend()
				tb.ready(e)
				time.Sleep(10 * time.Second)
				if err := e.Ready(); err != nil {
					t.Errorf("10 s after Kafka has come back: %v", err)
				}
			})
		})
	}
}

// link is a network that can be cut.
type link struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	mended chan struct{} // nil: whole; closed when it is mended
	silent bool          // nothing is refused, and nothing comes through
	conns  []*linkedConn
}

// linkedConn is a connection over a link.
type linkedConn struct {
	net.Conn
	silent atomic.Bool
}

// Write loses what is written to a connection that was silenced, as a network does.
func (c *linkedConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Dial dials, unless the link is cut.
func (l *link) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	mended, silent := l.mended, l.silent
	l.mu.Unlock()
	if mended != nil && !silent {
		return nil, errors.New("connection refused")
	}
	if mended != nil {
		select {
		case <-mended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := l.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	linked := &linkedConn{Conn: conn}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, linked)
	return linked, nil
}

// cut ends all connections, or has them go silent.
func (l *link) cut(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mended, l.silent = make(chan struct{}), silent
	for _, conn := range l.conns {
		if silent {
			conn.silent.Store(true)
		} else {
			conn.Close()
		}
	}
	l.conns = nil
}

// mend makes the link whole for new connections.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.mended)
	l.mended = nil
}
