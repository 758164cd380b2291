package datadir

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock takes the lock on f, without waiting. It ends when f is closed. The byte
// that is locked lies beyond the content, which stays readable.
func lock(f *os.File) error {
	at := &windows.Overlapped{Offset: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
