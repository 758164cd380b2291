package prometheus

import (
	"os"
	"syscall"
)

// attributes keep Ctrl-C from the process, which the emulator stops itself, and
// end it with the emulator, however that ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func stop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
