//go:build !linux

package compose

import (
	"syscall"
	"testing"
)

func endWithParent() *syscall.SysProcAttr { return nil }

func mostMemory(*testing.T, int) int64 { return 0 }
