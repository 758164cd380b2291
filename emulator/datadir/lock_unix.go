//go:build unix

package datadir

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the lock on f, without waiting. It ends when f is closed.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
