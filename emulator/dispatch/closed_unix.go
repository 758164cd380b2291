//go:build unix

package dispatch

import (
	"net"
	"syscall"
)

// watchPeer returns what reports whether the other side has closed an idle
// connection, or has sent what nobody asked for. It does not block.
func watchPeer(c net.Conn) (closed func() bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return func() bool { return false }
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() bool { return true }
	}
	open, b := false, make([]byte, 1)
	look := func(fd uintptr) bool {
		_, err := syscall.Read(int(fd), b)
		open = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true // do not wait
	}
	return func() bool {
		open = false
		return raw.Read(look) != nil || !open
	}
}
