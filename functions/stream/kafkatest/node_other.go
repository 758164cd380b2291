//go:build !linux

package kafkatest

import "syscall"

// endWithParent would have a process end with the test's process. Only Linux
// can: elsewhere a test that runs out of time leaves its nodes behind.
func endWithParent() *syscall.SysProcAttr { return nil }
