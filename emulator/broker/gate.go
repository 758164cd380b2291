package broker

import (
	"context"
	"net"
	"sync"
)

// gate is a listener that lets in the connections made with dial at once, and
// those of the listener that it wraps after open.
type gate struct {
	net.Listener
	conns  chan net.Conn
	opened chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newGate(l net.Listener) *gate {
	g := &gate{Listener: l, conns: make(chan net.Conn), opened: make(chan struct{}), closed: make(chan struct{})}
	go g.accept()
	return g
}

// open lets the clients of the wrapped listener in. It is called once.
func (g *gate) open() { close(g.opened) }

// accept moves connections of the wrapped listener to conns. Clients that come
// before open stand in the listener's own queue.
func (g *gate) accept() {
	select {
	case <-g.opened:
	case <-g.closed:
		return
	}
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return
		}
		select {
		case g.conns <- c:
		case <-g.closed:
			c.Close()
			return
		}
	}
}

// Accept returns the next connection, net.ErrClosed after Close.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.conns:
		return c, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close may be called more than once.
func (g *gate) Close() error {
	var err error
	g.once.Do(func() {
		close(g.closed)
		err = g.Listener.Close()
	})
	return err
}

// dial connects to the broker from inside the process, before open too. The
// address is not looked at.
func (g *gate) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	server, client := net.Pipe()
	select {
	case g.conns <- server:
		return client, nil
	case <-g.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
