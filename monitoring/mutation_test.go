package monitoring

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func writeYAML(t testing.TB, path string, v any) {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// mutant is an alert with a guard removed.
type mutant struct {
	what string
	rule rule
}

// mutants returns the alert with each of its guards removed in turn: what has to
// hold beside the rest (and, unless), the other case (or), the comparison, and
// the time for which it has to hold.
func mutants(t testing.TB, r rule) (list []mutant) {
	add := func(what string, change func(*rule)) {
		m := r
		change(&m)
		list = append(list, mutant{what, m})
	}
	if r.For != "" {
		add("fires at once", func(m *rule) { m.For = "" })
	}
	// Each mutant is parsed anew, because the tree is changed.
	n := 0
	parser.Inspect(parse(t, r.Alert, r.Expr), func(node parser.Node, _ []parser.Node) error {
		if b, ok := node.(*parser.BinaryExpr); ok && guards(b) {
			n++
		}
		return nil
	})
	for i := range n {
		for _, side := range []string{"left", "right"} {
			tree := parse(t, r.Alert, r.Expr)
			what, changed := without(tree, i, side)
			if changed != nil {
				add(what, func(m *rule) { m.Expr = changed.String() })
			}
		}
	}
	return list
}

// guards reports whether b is one of the operators that let only some through.
func guards(b *parser.BinaryExpr) bool {
	return b.Op.IsSetOperator() || b.Op.IsComparisonOperator() && !b.ReturnBool
}

// without returns tree with only one side of its n-th guard left, nil when that
// makes no sense.
func without(tree parser.Expr, n int, side string) (string, parser.Expr) {
	root := &parser.ParenExpr{Expr: tree}
	at, what := 0, ""
	var walk func(e *parser.Expr) bool
	walk = func(e *parser.Expr) bool {
		if b, ok := (*e).(*parser.BinaryExpr); ok && guards(b) {
			if at == n {
				left := b.LHS
				switch {
				case b.Op.IsComparisonOperator() && side == "right":
					return false // a threshold alone is no alert
				case b.Op == parser.LUNLESS && side == "right":
					return false
				case side == "right":
					*e, what = b.RHS, "without "+left.String()
				case b.Op.IsComparisonOperator():
					*e, what = left, "without "+b.Op.String()+" "+b.RHS.String()
				default:
					*e, what = left, "without "+b.Op.String()+" "+b.RHS.String()
				}
				return true
			}
			at++
		}
		switch x := (*e).(type) {
		case *parser.ParenExpr:
			return walk(&x.Expr)
		case *parser.BinaryExpr:
			return walk(&x.LHS) || walk(&x.RHS)
		case *parser.AggregateExpr:
			return walk(&x.Expr)
		case *parser.Call:
			for i := range x.Args {
				if walk(&x.Args[i]) {
					return true
				}
			}
		}
		return false
	}
	if !walk(&root.Expr) {
		return "", nil
	}
	return what, root
}

// TestMutants removes each guard of each alert, and wants a unit test to fail. A
// guard that can be removed without that is one that nobody would miss.
func TestMutants(t *testing.T) {
	if os.Getenv("MONITORING_MUTANTS") == "" {
		t.Skip("LEFT OUT: it runs promtool two hundred times; .ci/run monitoring, or MONITORING_MUTANTS=1")
	}
	promtool := tool(t, "promtool")
	recording, err := filepath.Abs("rules/recording.yml")
	if err != nil {
		t.Fatal(err)
	}
	type job struct {
		mutant
		tests testFile
		dir   string
	}
	var jobs []job
	all := alerts(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var tests testFile
		readYAML(t, "tests/"+name+".yml", &tests)
		for _, m := range mutants(t, all[name]) {
			dir := t.TempDir()
			writeYAML(t, filepath.Join(dir, "rules.yml"), ruleFile{[]ruleGroup{{Name: "mutant", Rules: []rule{m.rule}}}})
			mutated := tests
			mutated.RuleFiles = []string{filepath.Join(dir, "rules.yml")}
			if slices.ContainsFunc(tests.RuleFiles, func(path string) bool { return strings.HasSuffix(path, "recording.yml") }) {
				mutated.RuleFiles = append([]string{recording}, mutated.RuleFiles...)
			}
			jobs = append(jobs, job{m, mutated, dir})
		}
	}
	if len(jobs) < 100 {
		t.Errorf("only %d guards were found", len(jobs))
	}
	parallel(t, jobs, func(j job) string {
		passed, out := runPromtool(t, promtool, j.dir, j.tests)
		switch {
		case passed:
			return fmt.Sprintf("%s, %s: its tests pass all the same", j.rule.Alert, j.what)
		case !strings.Contains(string(out), "exp:"):
			return fmt.Sprintf("%s, %s: cannot be tested: %s", j.rule.Alert, j.what, out)
		}
		return ""
	})
	t.Logf("%d guards removed", len(jobs))
}
