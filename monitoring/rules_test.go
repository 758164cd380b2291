package monitoring

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is a recording or alert rule, as Prometheus reads it.
type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`

	file string
}

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval,omitempty"`
	Rules    []rule `yaml:"rules"`
}

// readRules returns all rules.
func readRules(t testing.TB) []rule {
	t.Helper()
	files, err := filepath.Glob("rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d rule files (%v)", len(files), err)
	}
	var all []rule
	for _, path := range files {
		var f ruleFile
		readYAML(t, path, &f)
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				r.file = path
				all = append(all, r)
			}
		}
	}
	return all
}

// alerts returns the alert rules by name.
func alerts(t testing.TB) map[string]rule {
	t.Helper()
	byName := map[string]rule{}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		if _, twice := byName[r.Alert]; twice {
			t.Errorf("alert %s is there twice", r.Alert)
		}
		byName[r.Alert] = r
	}
	return byName
}

func readYAML(t testing.TB, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// testFile is a file of promtool's unit tests.
type testFile struct {
	RuleFiles          []string   `yaml:"rule_files"`
	EvaluationInterval string     `yaml:"evaluation_interval"`
	Tests              []testCase `yaml:"tests"`
}

type testCase struct {
	Name        string          `yaml:"name"`
	Interval    string          `yaml:"interval"`
	InputSeries []inputSeries   `yaml:"input_series"`
	Alerts      []alertRuleTest `yaml:"alert_rule_test"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertRuleTest struct {
	EvalTime string `yaml:"eval_time"`
	Alert    string `yaml:"alertname"`
	Expected []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}
