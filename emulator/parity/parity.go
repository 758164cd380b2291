// Package parity holds the list of what the emulator has in common with Knative:
// forty behaviours, each with the recordings and tests that prove it.
//
// The proofs are not written by hand. The tests of each package say which rows
// they prove, and package golden holds them against the files in proofs, so that
// the list cannot say more than the tests do.
package parity

import (
	"bufio"
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed proofs/*.txt
var proofs embed.FS

// Row is one behaviour.
type Row struct {
	Number    int
	Section   string
	Behaviour string
	// Approximated says how the emulator differs, "" when it does not.
	Approximated string
	// Proofs are sorted: recordings first, then tests.
	Proofs []Proof
}

// Proof is a recording that is replayed, or a test.
type Proof struct {
	// Recording is the name of a recording of Knative's data plane, "" for a test.
	Recording string
	// Package and Test name a test; Label says where the behaviour is known from.
	Package, Test, Label string
}

// String is the proof as the table shows it.
func (p Proof) String() string {
	if p.Recording != "" {
		return p.Recording
	}
	return fmt.Sprintf("%s.%s (%s)", path.Base(p.Package), p.Test, p.Label)
}

// Status says in a word how the row stands: recorded, tested, approximated, or
// not proven.
func (r *Row) Status() string {
	switch {
	case r.Approximated != "":
		return "approximated"
	case len(r.Proofs) == 0:
		return "not proven"
	case r.Proofs[0].Recording != "":
		return "recorded"
	}
	return "tested"
}

// Rows returns all rows in order. An error means that the lists of proofs in the
// program are malformed.
func Rows() ([]Row, error) { return read(proofs) }

func read(lists fs.FS) ([]Row, error) {
	rows := behaviours()
	files, err := fs.Glob(lists, "proofs/*.txt")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := readProofs(lists, file, rows); err != nil {
			return nil, fmt.Errorf("parity: %s: %w", file, err)
		}
	}
	for i := range rows {
		slices.SortFunc(rows[i].Proofs, func(a, b Proof) int {
			return cmp.Or(
				-cmp.Compare(min(len(a.Recording), 1), min(len(b.Recording), 1)),
				cmp.Compare(a.Recording, b.Recording), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Test, b.Test))
		})
		rows[i].Proofs = slices.Compact(rows[i].Proofs)
	}
	return rows, nil
}

// readProofs reads the list of one package: after a comment that names it, lines
// of "<row> recording <name>" and "<row> test <name>, <label>".
func readProofs(lists fs.FS, file string, rows []Row) error {
	f, err := lists.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	pkg := ""
	for n, in := 1, bufio.NewScanner(f); in.Scan(); n++ {
		line := in.Text()
		if rest, ok := strings.CutPrefix(line, "# What the tests of "); ok {
			pkg, _, _ = strings.Cut(rest, " ")
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		number, rest, _ := strings.Cut(line, " ")
		kind, name, _ := strings.Cut(rest, " ")
		row, err := strconv.Atoi(number)
		if err != nil || row < 1 || row > len(rows) || name == "" || pkg == "" {
			return fmt.Errorf("line %d: %q is no proof of a row", n, line)
		}
		p := Proof{Recording: name}
		switch kind {
		case "recording":
		case "test":
			test, label, _ := strings.Cut(name, ", ")
			p = Proof{Package: pkg, Test: test, Label: label}
		default:
			return fmt.Errorf("line %d: %q is no proof of a row", n, line)
		}
		rows[row-1].Proofs = append(rows[row-1].Proofs, p)
	}
	return nil
}
