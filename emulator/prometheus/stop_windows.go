package prometheus

import (
	"os"
	"syscall"
)

// attributes keep Ctrl-C from the process, which the emulator stops itself.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func stop(p *os.Process) error { return p.Kill() }
