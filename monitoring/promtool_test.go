package monitoring

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tool returns where an executable of Prometheus is: in PATH, or where
// PROMETHEUS_BIN says, under one of its names. Without it the test is left out,
// loudly.
func tool(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if dir := os.Getenv("PROMETHEUS_BIN"); dir != "" {
			if path := filepath.Join(dir, name); exists(path) {
				return path
			}
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("LEFT OUT: there is no %s in PATH or PROMETHEUS_BIN; Debian has it in prometheus and prometheus-alertmanager, and .ci/run monitoring fetches them", names[0])
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func run(t testing.TB, command string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(command), strings.Join(args, " "), err, out)
	}
}

func TestPromtoolChecks(t *testing.T) {
	promtool := tool(t, "promtool")
	run(t, promtool, "check", "config", "prometheus.yml")
	files, err := filepath.Glob("rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	run(t, promtool, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)...)
}

// TestPromtoolRules runs the unit tests of the rules.
func TestPromtoolRules(t *testing.T) {
	promtool := tool(t, "promtool")
	files, err := filepath.Glob("tests/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d test files (%v)", len(files), err)
	}
	parallel(t, files, func(path string) string {
		if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput(); err != nil {
			return fmt.Sprintf("%s: %v\n%s", path, err, out)
		}
		return ""
	})
}

// parallel calls f for each of the list, two at a time, and reports what it
// returns.
func parallel[T any](t *testing.T, list []T, f func(T) string) {
	t.Helper()
	work := make(chan T)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for x := range work {
				if problem := f(x); problem != "" {
					t.Error(problem)
				}
			}
		})
	}
	for _, x := range list {
		work <- x
	}
	close(work)
	wg.Wait()
}

// TestRoutes: whoever is responsible is told, by amtool.
func TestRoutes(t *testing.T) {
	amtool := tool(t, "amtool")
	run(t, amtool, "check-config", "alertmanager.yml")
	for _, c := range routes(t) {
		args := append([]string{"config", "routes", "test", "--config.file=alertmanager.yml", "--verify.receivers=" + c.receiver}, c.labels...)
		run(t, amtool, args...)
	}
}

type route struct {
	receiver string
	labels   []string
}

// routes returns a case for each severity and team, and those beside them.
func routes(t testing.TB) []route {
	t.Helper()
	list := []route{
		{"watchdog", []string{"alertname=Watchdog", "severity=none", "team=platform"}},
		{"page-platform", []string{"alertname=X", "severity=critical", "team=nobody"}},
		{"ticket-platform", []string{"alertname=X", "severity=warning"}},
		{"nobody", []string{"alertname=X"}},
	}
	seen := map[string]bool{}
	for _, r := range alerts(t) {
		severity, team := r.Labels["severity"], r.Labels["team"]
		if key := severity + " " + team; r.Alert == "Watchdog" || seen[key] {
			continue
		} else {
			seen[key] = true
		}
		receiver := map[string]string{"critical": "page-" + team, "warning": "ticket-" + team}[severity]
		if receiver == "" {
			receiver = "nobody"
		}
		list = append(list, route{receiver, []string{"alertname=X", "severity=" + severity, "team=" + team}})
	}
	return list
}

// TestInhibitions: what is named in a rule that mutes alerts is an alert.
func TestInhibitions(t *testing.T) {
	all := alerts(t)
	var config struct {
		Inhibit []struct {
			Source []string `yaml:"source_matchers"`
			Target []string `yaml:"target_matchers"`
			Equal  []string `yaml:"equal"`
		} `yaml:"inhibit_rules"`
	}
	readYAML(t, "alertmanager.yml", &config)
	muted := map[string][]string{}
	for _, rule := range config.Inhibit {
		names := func(matchers []string) (list []string) {
			for _, m := range matchers {
				_, value, _ := strings.Cut(m, "=")
				for name := range strings.SplitSeq(strings.Trim(value, `~"`), "|") {
					if all[name].Alert == "" {
						t.Errorf("an inhibition names %q, which is no alert", name)
					}
					list = append(list, name)
					for _, label := range rule.Equal {
						if !survives(t, label, all[name].Expr) {
							t.Errorf("an inhibition compares %s, which %s does not have", label, name)
						}
					}
				}
			}
			return list
		}
		targets := names(rule.Target)
		for _, source := range names(rule.Source) {
			muted[source] = append(muted[source], targets...)
		}
	}
	for source, targets := range map[string][]string{
		"KafkaBrokerDown": {"KafkaUnderReplicated", "ConsumerLagSeconds", "KafkaClientErrors"},
		"FunctionDown":    {"ConsumerLagSeconds"},
	} {
		for _, target := range targets {
			if !slices.Contains(muted[source], target) {
				t.Errorf("%s does not mute %s", source, target)
			}
		}
	}
}

// runPromtool runs one file of unit tests with other rules than its own.
func runPromtool(t testing.TB, promtool, dir string, f testFile) (passed bool, out []byte) {
	t.Helper()
	path := filepath.Join(dir, "test.yml")
	writeYAML(t, path, f)
	var b bytes.Buffer
	command := exec.CommandContext(t.Context(), promtool, "test", "rules", path)
	command.Stdout, command.Stderr = &b, &b
	return command.Run() == nil, b.Bytes()
}
