//go:build unix && !linux

package service

import "syscall"

// attributes puts a process into a group of its own: an interrupt from the
// terminal reaches the emulator alone, which stops the functions in order.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
