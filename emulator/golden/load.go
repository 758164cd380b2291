package golden

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed testdata/*.yaml
var embedded embed.FS

// dirEnv names the environment variable with another directory of recordings. A
// relative one begins at the root of the module, wherever a test runs.
const dirEnv = "GOLDEN_DIR"

// Own reports whether the recordings are the project's own, and not those of the
// directory that GOLDEN_DIR names.
func Own() bool { return os.Getenv(dirEnv) == "" }

// otherDir returns the directory that dirEnv names, "" when it names none.
func otherDir() (string, error) {
	dir := os.Getenv(dirEnv)
	if dir == "" || filepath.IsAbs(dir) {
		return dir, nil
	}
	root, err := moduleRoot()
	return filepath.Join(root, dir), err
}

// files returns the recordings' directory, and its name for messages.
func files() (fs.FS, string, error) {
	dir, err := otherDir()
	if err != nil {
		return nil, "", err
	}
	if dir != "" {
		return os.DirFS(dir), dir, nil
	}
	sub, err := fs.Sub(embedded, "testdata")
	return sub, "emulator/golden/testdata", err
}

// Load returns the recordings of some kinds, sorted by name. The test fails when
// there are none at all, or when one in the directory cannot be read, of
// whatever kind it is.
func Load(t testing.TB, kinds ...Kind) []*Recording {
	t.Helper()
	dir, name, err := files()
	if err != nil {
		t.Fatal(err)
	}
	all, err := load(dir)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if len(all) == 0 {
		t.Fatalf("%s: there are no recordings (*.yaml); set %s to the directory that has them", name, dirEnv)
	}
	return slices.DeleteFunc(all, func(r *Recording) bool { return !slices.Contains(kinds, r.Kind) })
}

// load reads all recordings of a directory, and returns those that are good
// beside the errors of the others.
func load(dir fs.FS) ([]*Recording, error) {
	paths, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var all []*Recording
	var bad []error
	for _, path := range paths {
		data, err := fs.ReadFile(dir, path)
		if err == nil {
			var r *Recording
			if r, err = Read(path, data); err == nil {
				all = append(all, r)
			}
		}
		if err != nil {
			bad = append(bad, err)
		}
	}
	return all, errors.Join(bad...)
}

// Differences says, a line each, how the recordings of two directories differ.
func Differences(ours, theirs fs.FS) ([]string, error) {
	read := func(dir fs.FS) (map[string]string, error) {
		paths, err := fs.Glob(dir, "*.yaml")
		if err != nil {
			return nil, err
		}
		contents := make(map[string]string)
		for _, path := range paths {
			data, err := fs.ReadFile(dir, path)
			if err != nil {
				return nil, err
			}
			contents[path] = string(data)
		}
		return contents, nil
	}
	a, err := read(ours)
	if err != nil {
		return nil, err
	}
	b, err := read(theirs)
	if err != nil {
		return nil, err
	}
	var lines []string
	for name, data := range a {
		other, ok := b[name]
		switch {
		case !ok:
			lines = append(lines, name+" is only in the copies")
		case other != data:
			lines = append(lines, fmt.Sprintf("%s differs at line %d", name, firstLine(data, other)))
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			lines = append(lines, name+" is not among the copies")
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// firstLine returns the number of the first line in which a and b differ.
func firstLine(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}
