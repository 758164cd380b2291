package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// listen listens on address. what and flagName are for the message when it
// cannot.
func listen(ctx context.Context, what, flagName, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--%s %q: want host:port", flagName, address)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %s on %s, for %s, is taken: stop what uses it, or give another address with --%s", port, host, what, flagName)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s for %s: %w; --%s gives another address", address, what, err, flagName)
	}
	return l, nil
}

// reachable is the address at which a listener can be reached from this machine.
func reachable(l net.Listener) string {
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return l.Addr().String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(a.Port))
}

// advertised is a listener with an address that clients elsewhere can use: a
// Kafka client connects to the address that the broker tells it. One that listens
// on all addresses tells this machine's name.
type advertised struct{ net.Listener }

func (a advertised) Addr() net.Addr {
	tcp, ok := a.Listener.Addr().(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.Listener.Addr()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return hostPort(net.JoinHostPort(host, fmt.Sprint(tcp.Port)))
}

// hostPort is an address by name.
type hostPort string

func (hostPort) Network() string  { return "tcp" }
func (a hostPort) String() string { return string(a) }
