package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// TestAlerts: whoever is told of an alert learns who has to do what.
func TestAlerts(t *testing.T) {
	all := alerts(t)
	if len(all) < 50 {
		t.Errorf("%d alerts, want at least 50", len(all))
	}
	for name, r := range all {
		if !slices.Contains([]string{"critical", "warning", "info", "none"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", name, r.Labels["severity"])
		}
		if !slices.Contains([]string{"platform", "payments", "fraud"}, r.Labels["team"]) {
			t.Errorf("%s: team %q", name, r.Labels["team"])
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s: no summary", name)
		}
		if want := "monitoring/runbooks/" + name + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", name, r.Annotations["runbook_url"], want)
		}
		checkRunbook(t, name)
		for _, label := range shownLabels(r.Annotations) {
			if !survives(t, label, r.Expr) {
				t.Errorf("%s: the summary shows $labels.%s, which the expression does not keep: %s", name, label, r.Expr)
			}
		}
	}
	pages, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); all[name].Alert == "" {
			t.Errorf("%s is about no alert", page)
		}
	}
}

func checkRunbook(t *testing.T, alert string) {
	t.Helper()
	text, err := os.ReadFile("runbooks/" + alert + ".md")
	if err != nil {
		t.Error(err)
		return
	}
	if !strings.HasPrefix(string(text), "# "+alert+"\n") {
		t.Errorf("the runbook of %s has another title", alert)
	}
	for _, part := range []string{"## What it means\n", "## What to look at\n", "## What to do\n"} {
		_, after, found := strings.Cut(string(text), part)
		section, _, _ := strings.Cut(after, "\n## ")
		if !found || len(strings.TrimSpace(section)) < 40 {
			t.Errorf("the runbook of %s says too little after %q", alert, part)
		}
	}
}

var shownLabel = regexp.MustCompile(`\$labels\.([a-z_]+)`)

func shownLabels(annotations map[string]string) (names []string) {
	for _, text := range annotations {
		for _, found := range shownLabel.FindAllStringSubmatch(text, -1) {
			names = append(names, found[1])
		}
	}
	return names
}

// survives reports whether the result of an expression can have the label.
func survives(t *testing.T, label, expr string) bool {
	all := everything(t)
	var keeps func(e parser.Expr) bool
	keeps = func(e parser.Expr) bool {
		switch n := e.(type) {
		case *parser.ParenExpr:
			return keeps(n.Expr)
		case *parser.AggregateExpr:
			if n.Without {
				return !slices.Contains(n.Grouping, label) && keeps(n.Expr)
			}
			return slices.Contains(n.Grouping, label)
		case *parser.BinaryExpr:
			if _, number := n.LHS.(*parser.NumberLiteral); number {
				return keeps(n.RHS)
			}
			if call, ok := n.LHS.(*parser.Call); ok && call.Type() == parser.ValueTypeScalar {
				return keeps(n.RHS)
			}
			return keeps(n.LHS)
		case *parser.Call:
			if n.Func.Name == "label_replace" && n.Args[1].(*parser.StringLiteral).Val == label {
				return true
			}
			for _, arg := range n.Args {
				if arg.Type() == parser.ValueTypeMatrix || arg.Type() == parser.ValueTypeVector {
					return keeps(arg)
				}
			}
			return false
		case *parser.MatrixSelector:
			return keeps(n.VectorSelector)
		case *parser.VectorSelector:
			return all[n.Name][label]
		}
		return false
	}
	return keeps(parse(t, "alert", expr))
}

// TestEveryAlertIsTested: fires when it should, and is silent when it should be.
func TestEveryAlertIsTested(t *testing.T) {
	fires, silent := map[string]int{}, map[string]int{}
	files, err := filepath.Glob("tests/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		var f testFile
		readYAML(t, path, &f)
		for _, c := range f.Tests {
			for _, a := range c.Alerts {
				if len(a.Expected) > 0 {
					fires[a.Alert]++
				} else {
					silent[a.Alert]++
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(alerts(t))) {
		if fires[name] == 0 {
			t.Errorf("no test has %s fire", name)
		}
		if silent[name] == 0 && name != "Watchdog" { // which always fires
			t.Errorf("no test has %s silent", name)
		}
	}
}
