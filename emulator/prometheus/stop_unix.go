//go:build unix && !linux

package prometheus

import (
	"os"
	"syscall"
)

// attributes keep Ctrl-C from the process, which the emulator stops itself.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func stop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
