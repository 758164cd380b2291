package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove deletes the directory at path and all that emulators have put there. The
// error is an [InUseError] when one runs there, and fs.ErrNotExist when there is no
// such directory. What others have put there stays, and the directory with it.
func Remove(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	ours := func(name string) bool {
		matched, _ := filepath.Match(infoFile+".*", name) // left by a kill; the pattern is good
		return matched || name == lockFile || name == infoFile || name == kafkaDir || name == FaultLog
	}
	known, foreign := 0, 0
	for _, e := range entries {
		if ours(e.Name()) {
			known++
		} else {
			foreign++
		}
	}
	if known == 0 && foreign > 0 {
		return fmt.Errorf("data directory: %s holds nothing of an emulator, and nothing is deleted", path)
	}
	d, err := Open(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ours(e.Name()) && e.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
		}
	}
	// The lock goes last: until here nobody else could begin.
	err = errors.Join(err, os.Remove(filepath.Join(path, lockFile)), d.Close())
	if err == nil && foreign == 0 {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // gone by itself
	}
	return err
}
