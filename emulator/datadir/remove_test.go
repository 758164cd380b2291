package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// made makes a directory as an emulator leaves it.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(d.Kafka(), "topic"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(d.Kafka(), "topic", "0"))
	put(t, filepath.Join(path, FaultLog))
	put(t, filepath.Join(path, infoFile+".123"))
	if err := d.WriteInfo(Info{}); err != nil {
		t.Fatal(err)
	}
	if err := d.lock.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	return path
}

func put(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRemove(t *testing.T) {
	path := made(t)
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
	if err := Remove(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("again: %v", err)
	}
}

// TestRemoveKeepsWhatIsNotOurs: somebody may keep the manifests there.
func TestRemoveKeepsWhatIsNotOurs(t *testing.T) {
	path := made(t)
	mine := filepath.Join(path, "notes.txt")
	put(t, mine)
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := Remove(path); err == nil || !strings.Contains(err.Error(), "nothing of an emulator") {
		t.Errorf("a directory that is not ours: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestRemoveInUse(t *testing.T) {
	path := made(t)
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, ok := errors.AsType[*InUseError](Remove(path)); !ok {
		t.Error("a directory in use is removed")
	}
	if _, err := os.Stat(d.Kafka()); err != nil {
		t.Error(err)
	}
}
