package parity

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"datasurge/emulator/golden"
)

// TestRows: every row is proven or says how it is approximated, and every proof
// exists.
func TestRows(t *testing.T) {
	rows, err := Rows()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 40 {
		t.Errorf("%d rows, want 40", len(rows))
	}
	sources := make(map[string]string) // of the tests of a package
	for i, r := range rows {
		if r.Number != i+1 || r.Section == "" || r.Behaviour == "" {
			t.Errorf("row %d: %+v", i+1, r)
		}
		if r.Status() == "not proven" {
			t.Errorf("row %d (%s) is neither proven nor approximated", r.Number, r.Behaviour)
		}
		for _, p := range r.Proofs {
			if p.Recording != "" {
				if _, err := os.Stat(filepath.Join("..", "golden", "testdata", p.Recording+".yaml")); err != nil {
					t.Errorf("row %d: there is no recording %s", r.Number, p.Recording)
				}
				continue
			}
			if sources[p.Package] == "" {
				sources[p.Package] = testSources(t, p.Package)
			}
			fn, _, _ := strings.Cut(p.Test, "/")
			if !strings.Contains(sources[p.Package], "func "+fn+"(") {
				t.Errorf("row %d: %s has no test %s", r.Number, p.Package, fn)
			}
		}
	}
}

func testSources(t *testing.T, pkg string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func TestMalformedProofs(t *testing.T) {
	const head = "# What the tests of emulator/x prove: row, then recording or test.\n"
	for _, bad := range []string{"41 recording a", "0 recording a", "x recording a", "1 rumour a", "1 recording", ""} {
		if _, err := read(fstest.MapFS{"proofs/x.txt": {Data: []byte(head + bad + "\n")}}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := read(fstest.MapFS{"proofs/x.txt": {Data: []byte("1 recording a\n")}}); err == nil {
		t.Error("a list without a package was taken")
	}
}

func TestRecordingsStandFirst(t *testing.T) {
	rows, err := read(fstest.MapFS{
		"proofs/x.txt": {Data: []byte("# What the tests of emulator/x prove: y\n1 test TestB, own rule\n1 recording z\n1 test TestA/sub, from source reading\n")},
		"proofs/y.txt": {Data: []byte("# What the tests of emulator/y prove: y\n1 recording z\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range rows[0].Proofs {
		got = append(got, p.String())
	}
	want := "z; x.TestA/sub (from source reading); x.TestB (own rule)"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "; "), want)
	}
	if rows[0].Status() != "recorded" || rows[1].Status() != "not proven" {
		t.Errorf("status %s and %s", rows[0].Status(), rows[1].Status())
	}
}

func TestMain(m *testing.M) { os.Exit(golden.Main(m)) }

// TestNothingIsClaimed: a row of the data plane is recorded, or a test says that
// it is from source reading.
func TestNothingIsClaimed(t *testing.T) {
	golden.Row(t, 40, golden.OwnRule)
	rows, err := Rows()
	if err != nil {
		t.Fatal(err)
	}
	const dataPlane = 31
	for _, r := range rows[:dataPlane] {
		known := func(p Proof) bool { return p.Recording != "" || p.Label == golden.FromSourceReading }
		if !slices.ContainsFunc(r.Proofs, known) {
			t.Errorf("row %d (%s) has neither a recording nor a test from source reading", r.Number, r.Behaviour)
		}
	}
}
