package golden

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What a test of a row that no recording covers goes by.
const (
	// FromSourceReading: the behaviour was read in the sources of Knative, and
	// has not been recorded.
	FromSourceReading = "from source reading"
	// OwnRule: the row is about the emulator itself.
	OwnRule = "own rule"
)

// proofs are what the tests of this process have proven. A test binary has one
// list, as it has one testing.M.
var proofs struct {
	sync.Mutex
	lines map[string]bool
}

// Row says that the test proves a row of the parity list, by label, which is
// [FromSourceReading] or [OwnRule]. It counts when the test has passed.
func Row(t testing.TB, row int, label string) {
	t.Helper()
	if label != FromSourceReading && label != OwnRule {
		t.Fatalf("parity row %d: label %q: want %q or %q", row, label, FromSourceReading, OwnRule)
	}
	note(t, fmt.Sprintf("%d test %s, %s", row, t.Name(), label))
}

// Proves says that the test has replayed r, which proves the recording's rows
// when the test has passed.
func (r *Recording) Proves(t testing.TB) {
	t.Helper()
	for _, row := range r.Rows {
		note(t, fmt.Sprintf("%d recording %s", row, r.Name))
	}
}

func note(t testing.TB, line string) {
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		proofs.Lock()
		defer proofs.Unlock()
		if proofs.lines == nil {
			proofs.lines = make(map[string]bool)
		}
		proofs.lines[line] = true
	})
}

// rewriteEnv makes Main write the list in place of comparing it.
const rewriteEnv = "PARITY_REWRITE"

// Main runs the tests of a package and holds what they have proven against the
// package's list in emulator/parity/proofs, which the command emulator parity
// prints. It returns the exit status, for TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(golden.Main(m)) }
//
// With PARITY_REWRITE=1 it writes the list. When only some of the tests have
// been run, or other recordings than the embedded ones, or without the build tag
// synctests, nothing is compared.
func Main(m *testing.M) int {
	code := m.Run()
	if code != 0 || !synctests || !Own() || partial() {
		return code
	}
	if err := hold(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL: parity:", err)
		return 1
	}
	return 0
}

// partial reports whether flags have chosen among the tests.
func partial() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return true
		}
	}
	return testing.Short()
}

// hold compares the proofs with the committed list, or writes it.
func hold() error {
	path, pkg, err := listPath()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the tests of %s prove: row, then recording or test.\n", pkg)
	fmt.Fprintf(&b, "# Written by: %s=1 go test -tags synctests ./%s\n", rewriteEnv, pkg)
	proofs.Lock()
	lines := make([]string, 0, len(proofs.lines))
	for line := range proofs.lines {
		lines = append(lines, line)
	}
	proofs.Unlock()
	slices.SortFunc(lines, func(x, y string) int {
		var a, b int
		fmt.Sscan(x, &a)
		fmt.Sscan(y, &b)
		if a != b {
			return a - b
		}
		return strings.Compare(x, y)
	})
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	if os.Getenv(rewriteEnv) != "" {
		return os.WriteFile(path, []byte(b.String()), 0o644)
	}
	committed, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if string(committed) == b.String() {
		return nil
	}
	return fmt.Errorf("%s is not what the tests have proven; %s=1 go test -tags synctests ./%s writes it.\n%s",
		filepath.Base(path), rewriteEnv, pkg, listDiff(string(committed), b.String()))
}

// listDiff says which lines were added and which are gone.
func listDiff(before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out strings.Builder
	for _, line := range a {
		if !slices.Contains(b, line) {
			out.WriteString("listed, not proven: " + line + "\n")
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			out.WriteString("proven, not listed: " + line + "\n")
		}
	}
	return out.String()
}

// listPath returns the file of the package in whose directory tests run.
func listPath() (path, pkg string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", "", err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return "", "", err
	}
	pkg = filepath.ToSlash(rel)
	return filepath.Join(root, "emulator", "parity", "proofs", strings.ReplaceAll(pkg, "/", "-")+".txt"), pkg, nil
}

// moduleRoot returns the directory of go.mod above the working directory, which
// of a test is that of its package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for root := dir; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return root, nil
		}
		if root == filepath.Dir(root) {
			return "", fmt.Errorf("%s is in no module", dir)
		}
	}
}
