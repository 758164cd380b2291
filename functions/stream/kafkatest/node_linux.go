package kafkatest

import "syscall"

// endWithParent has a process end when the test's process does, however that
// ends: a test that runs out of time does not get to its cleanups.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
