package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a network between a function and Kafka that can lose the answer to a
// request, on any Kafka.
type wire struct {
	mu   sync.Mutex
	lose map[kmsg.Key]int // how many answers to lose, by request
	lost int
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// opt makes a client use w; dial is how connections are made, nil for TCP.
func (w *wire) opt(dial func(context.Context, string, string) (net.Conn, error)) kgo.Opt {
	w.dial = dial
	if dial == nil {
		w.dial = (&net.Dialer{}).DialContext
	}
	return kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := w.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wireConn{Conn: conn, wire: w}, nil
	})
}

func (w *wire) losesAnswer(key kmsg.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lose[key] == 0 {
		return false
	}
	w.lose[key]--
	w.lost++
	return true
}

type wireConn struct {
	net.Conn
	wire *wire
	cut  bool // the answer to the last request is to be lost
}

var errWire = errors.New("the connection broke before the answer")

// Write sees whole requests: length, then the request's key.
func (c *wireConn) Write(p []byte) (int, error) {
	if len(p) >= 6 && c.wire.losesAnswer(kmsg.Key(binary.BigEndian.Uint16(p[4:]))) {
		c.cut = true
	}
	return c.Conn.Write(p)
}

// Read waits for the answer, so that the request was served, and loses it.
func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut {
		c.Conn.Close()
		return 0, errWire
	}
	return n, err
}
