package monitoring

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"datasurge/monitoring/dashboards"
)

func parse(t testing.TB, where, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v\n%s", where, err, expr)
	}
	return e
}

var (
	variable    = regexp.MustCompile(`\$\{?[a-z_]+\}?`)
	labelValues = regexp.MustCompile(`^label_values\((.*), ([a-z_]+)\)$`)
)

// expressions returns every expression of rules, panels, variables and
// annotations, by where it stands.
func expressions(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range readRules(t) {
		all[r.file+" "+r.Alert+r.Record] = r.Expr
	}
	for _, d := range dashboards.All() {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				all[d.UID+" panel "+p.Title+" "+target.RefID] = withoutVariables(target.Expr)
			}
		}
		for _, v := range d.Templating.List {
			if found := labelValues.FindStringSubmatch(v.Definition); found != nil {
				all[d.UID+" variable "+v.Name] = "count by (" + found[2] + ") (" + found[1] + ")"
			}
		}
		for _, a := range d.Annotations.List {
			all[d.UID+" annotation "+a.Name] = a.Target.Expr
		}
	}
	return all
}

func withoutVariables(expr string) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	return variable.ReplaceAllString(expr, ".*")
}

// TestEveryMetricExists: a metric, a label that is matched or grouped by, which
// nothing exports makes a panel empty and an alert silent for ever.
func TestEveryMetricExists(t *testing.T) {
	all := everything(t)
	found := expressions(t)
	if len(found) < 150 {
		t.Errorf("only %d expressions were found", len(found))
	}
	for _, where := range slices.Sorted(maps.Keys(found)) {
		for _, problem := range missing(all, parse(t, where, found[where])) {
			t.Errorf("%s: %s", where, problem)
		}
	}
}

// The check itself finds what does not exist.
func TestMissing(t *testing.T) {
	all := inventory{}
	all.add("a_total", "x")
	all.addHistogram("h", "x")
	for expr, want := range map[string]string{
		`sum by (x) (rate(a_total{x="1"}[5m]))`:                 "",
		`histogram_quantile(0.9, sum by (le) (h_bucket))`:       "",
		`rate(b_total[5m])`:                                     "b_total",
		`a_total{y="1"}`:                                        "y",
		`sum by (y) (a_total)`:                                  "y",
		`sum by (le) (h_count)`:                                 "le",
		`a_total / on (y) h_count`:                              "y",
		`label_replace(a_total, "z", "$1", "x", "(.*)")`:        "",
		`sum by (z) (label_replace(a_total, "z", "", "", "x"))`: "",
	} {
		problems := strings.Join(missing(all, parse(t, "test", expr)), "; ")
		if (want == "") != (problems == "") || !strings.Contains(problems, want) {
			t.Errorf("%s: %q, want %q", expr, problems, want)
		}
	}
}

// missing says what in e does not exist.
func missing(all inventory, e parser.Expr) (problems []string) {
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			known, ok := all[n.Name]
			if !ok {
				problems = append(problems, "there is no metric "+n.Name)
				return nil
			}
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel && !known[m.Name] {
					problems = append(problems, n.Name+" has no label "+m.Name)
				}
			}
		case *parser.AggregateExpr:
			if below := labelsBelow(all, n.Expr); !n.Without {
				for _, name := range n.Grouping {
					if !below[name] {
						problems = append(problems, "no metric in "+n.Expr.String()+" has the label "+name)
					}
				}
			}
		case *parser.BinaryExpr:
			if n.VectorMatching == nil || !n.VectorMatching.On {
				return nil
			}
			for _, side := range []parser.Expr{n.LHS, n.RHS} {
				for _, name := range n.VectorMatching.MatchingLabels {
					if !labelsBelow(all, side)[name] {
						problems = append(problems, "no metric in "+side.String()+" has the label "+name)
					}
				}
			}
		}
		return nil
	})
	return problems
}

// labelsBelow are the labels that the series in e may have.
func labelsBelow(all inventory, e parser.Node) labelSet {
	set := labelSet{}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			maps.Copy(set, all[n.Name])
		case *parser.Call:
			if n.Func.Name == "label_replace" {
				set[n.Args[1].(*parser.StringLiteral).Val] = true
			}
		}
		return nil
	})
	return set
}

// resultLabels are the labels of what an expression results in, when it is an
// aggregation; else none are known.
func resultLabels(t testing.TB, expr string) labelSet {
	t.Helper()
	set := labelSet{}
	e := parse(t, "rule", expr)
	for {
		switch n := e.(type) {
		case *parser.BinaryExpr:
			if _, number := n.LHS.(*parser.NumberLiteral); number {
				e = n.RHS
			} else {
				e = n.LHS
			}
			continue
		case *parser.ParenExpr:
			e = n.Expr
			continue
		case *parser.AggregateExpr:
			for _, name := range n.Grouping {
				set[name] = true
			}
		}
		return set
	}
}

// unused lists own metrics that no rule and no panel shows, and why they are
// there all the same.
var unused = map[string]string{
	"datasurge_kafka_buffered_produce_bytes":       "of use in a heap question; the records are shown",
	"datasurge_kafka_buffered_fetch_bytes":         "of use in a heap question; the records are shown",
	"datasurge_kafka_fetch_batches_total":          "kprom has it with the others; what is produced is shown",
	"datasurge_kafka_fetch_compressed_bytes_total": "kprom has it with the others; what is produced is shown",
	"datasurge_kafka_read_time_seconds":            "kprom describes it and it is not switched on",
	"datasurge_kafka_read_wait_seconds":            "kprom describes it and it is not switched on",
	"datasurge_kafka_write_time_seconds":           "kprom describes it and it is not switched on",
	"datasurge_kafka_write_wait_seconds":           "kprom describes it and it is not switched on",
}

// TestEveryMetricIsUsed: what nobody looks at need not be measured.
func TestEveryMetricIsUsed(t *testing.T) {
	used := map[string]bool{}
	for where, expr := range expressions(t) {
		parser.Inspect(parse(t, where, expr), func(node parser.Node, _ []parser.Node) error {
			if n, ok := node.(*parser.VectorSelector); ok {
				used[family(n.Name)] = true
			}
			return nil
		})
	}
	mine := own(t)
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		if name = family(name); !strings.HasPrefix(name, "datasurge_") || used[name] {
			continue
		}
		if unused[name] == "" {
			t.Errorf("%s is neither in a rule or panel nor on the list of those that are not", name)
		}
	}
	for name := range unused {
		if _, ok := mine[name]; !ok || used[name] {
			t.Errorf("%s is on the list of unused metrics, and is used or does not exist", name)
		}
	}
}

// family is the name without what a histogram adds.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && base != "datasurge_function_events" {
			return base
		}
	}
	return name
}
