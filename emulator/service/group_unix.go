//go:build unix

package service

import "syscall"

// killGroup ends the processes that one in a group of its own has left behind.
func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // mostly there are none
}
