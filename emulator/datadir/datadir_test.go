package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInfo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dir")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInfo(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before WriteInfo: %v", err)
	}
	for _, want := range []Info{
		{Kafka: []string{"127.0.0.1:9092"}, HTTP: "http://127.0.0.1:8080"},
		{Kafka: []string{"127.0.0.1:9092"}, HTTP: "http://127.0.0.1:8080", Services: map[string]Service{
			"enrich": {URL: "http://127.0.0.1:8080/enrich", PID: 7, Instances: []Instance{{"http://127.0.0.1:4000", 7}}},
		}},
	} {
		if err := d.WriteInfo(want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadInfo(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("after Close there are %v", entries)
	}
}

// TestSecond: a second emulator on the directory is refused until the first ends.
func TestSecond(t *testing.T) {
	path := t.TempDir()
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(path)
	in, ok := errors.AsType[*InUseError](err)
	if !ok || in.PID != strconv.Itoa(os.Getpid()) || in.Path != path {
		t.Errorf("second Open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	again.Close()
}
