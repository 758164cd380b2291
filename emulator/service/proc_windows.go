package service

import "syscall"

// ownGroup puts a process into a group of its own: an interrupt from the
// terminal reaches the emulator alone, which stops the functions in order.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
