package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPrograms(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // nil: an error with the words of err
		err  string
	}{
		{"f=python3 app.py", []string{"python3", "app.py"}, ""},
		{`f=sh -c 'a "b" | c'`, []string{"sh", "-c", `a "b" | c`}, ""},
		{`f=run a\ b "c  d"`, []string{"run", "a b", "c  d"}, ""},
		{"f=A=B", []string{"A=B"}, ""},
		{"f=echo $HOME `x`", []string{"echo", "$HOME", "`x`"}, ""},
		{"python3 app.py", nil, "NAME=COMMAND"},
		{"=x", nil, "NAME=COMMAND"},
		{"f= ", nil, "no command"},
		{"f=a 'b", nil, "quotes"},
		{"f=a | b", nil, "sh -c"},
		{"f=a; b", nil, "sh -c"},
		{"twice=x", nil, "given twice"},
	} {
		p := programs{"twice": {"x"}}
		err := p.set(c.text)
		if c.want == nil {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want an error with %q", c.text, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(p["f"], c.want) {
			t.Errorf("%s: %q, %v", c.text, p["f"], err)
		}
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestFiles: what a command runs, and no more.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	app := filepath.Join(dir, "app.py")
	writeFile(t, app, "")
	writeFile(t, filepath.Join(dir, "lib.py"), "")
	writeFile(t, filepath.Join(dir, "data.txt"), "")
	writeFile(t, filepath.Join(dir, "binary"), "")
	for _, sub := range []string{"package", "venv", ".hidden"} {
		mkdir(t, filepath.Join(dir, sub))
		writeFile(t, filepath.Join(dir, sub, "x.py"), "")
	}
	want := []string{app, filepath.Join(dir, "lib.py"), filepath.Join(dir, "package", "x.py")}
	if got := files([]string{"python3", "-u", app, "--flag"}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := files([]string{filepath.Join(dir, "binary")}); len(got) != 1 {
		t.Errorf("a binary: %q", got)
	}
}
