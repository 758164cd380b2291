package compose

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/go-units"
	"go.yaml.in/yaml/v3"

	"datasurge/functions/stream/kafkatest"
)

// TestJMX fetches the agent of jmx.yml as its service does, and runs Kafka with it as
// its brokers do: each of them exports what jmx-exporter.yml promises, within the
// memory of its container.
func TestJMX(t *testing.T) {
	m := newMachine(t, load(t, nil, base, jmx))
	script(t, m, "jmx-agent", nil)
	config := m.here("", "/etc/jmx.yml")
	if err := os.WriteFile(config, []byte(readFile(t, "monitoring/compose/jmx-exporter.yml")), 0o644); err != nil {
		t.Fatal(err)
	}
	nodes := m.kafka(t, "CLIENT")
	cluster := kafkatest.StartNodes(t, nodes)
	if out, err := m.once(t, "topics"); err != nil {
		t.Fatalf("topics: %v\n%s", err, out)
	}
	// Something that is produced in a transaction, and fetched.
	m.start(t, "generate", 0).awaitHealthy(t)

	promised := promisedByJMX(t)
	eventually(t, "the brokers export it", func() error {
		all := map[string]bool{}
		for i, name := range m.kafkaNodes() {
			if nodes[i].Addr == "" {
				continue
			}
			series, err := exported(m.ports[name+":"+jmxPort])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, s := range series {
				all[s] = true
			}
		}
		var missing error
		for _, name := range promised {
			if !all[name] {
				missing = errors.Join(missing, fmt.Errorf("nobody exports %s", name))
			}
		}
		return missing
	})
	for i, name := range m.kafkaNodes() {
		used, limit := mostMemory(t, cluster.PID(t, nodes[i].ID)), int64(m.project.Services[name].MemLimit)
		if t.Logf("%-12s used at most %9s of %s", name, units.BytesSize(float64(used)), units.BytesSize(float64(limit))); used > limit {
			t.Errorf("%s would have been killed", name)
		}
	}
}

// A download that is not what was asked for does not become the agent.
func TestJMXAgentIsChecked(t *testing.T) {
	if _, err := exec.LookPath("wget"); err != nil {
		t.Skip("LEFT OUT: there is no wget on the PATH")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "an agent") }))
	defer server.Close()
	fetch := func(sum [sha256.Size]byte) (file string, out string, err error) {
		file = filepath.Join(t.TempDir(), "agent.jar")
		cmd := exec.CommandContext(t.Context(), "bash", "fetch-jmx-agent.sh", file)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "JMX_AGENT_URL=" + server.URL, fmt.Sprintf("JMX_AGENT_SHA256=%x", sum)}
		text, err := cmd.CombinedOutput()
		return file, string(text), err
	}
	if file, out, err := fetch(sha256.Sum256([]byte("an agent"))); err != nil {
		t.Errorf("what was asked for: %v\n%s", err, out)
	} else if text, err := os.ReadFile(file); err != nil || string(text) != "an agent" {
		t.Errorf("the agent is %q, %v", text, err)
	}
	file, out, err := fetch(sha256.Sum256([]byte("another")))
	if err == nil {
		t.Errorf("something else is accepted:\n%s", out)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something else became the agent: %v", err)
	}
}

// promisedByJMX returns what jmx-exporter.yml exports: the name of each metric, and
// where a rule makes a label of a choice, NAME{LABEL="CHOICE"}.
func promisedByJMX(t *testing.T) (promised []string) {
	t.Helper()
	var config struct {
		Rules []struct {
			Pattern, Name string
			Labels        map[string]string
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "monitoring/compose/jmx-exporter.yml")), &config); err != nil {
		t.Fatal(err)
	}
	for _, rule := range config.Rules {
		groups := choice.FindAllStringSubmatch(rule.Pattern, -1)
		choices := func(text string) []string {
			for i, group := range groups {
				if strings.Contains(text, fmt.Sprintf("$%d", i+1)) && !strings.Contains(group[1], `\`) {
					var list []string
					for c := range strings.SplitSeq(group[1], "|") {
						list = append(list, strings.ReplaceAll(text, fmt.Sprintf("$%d", i+1), c))
					}
					return list
				}
			}
			return []string{text}
		}
		for _, name := range choices(rule.Name) {
			name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
			promised = append(promised, name)
			for label, value := range rule.Labels {
				if all := choices(value); len(all) > 1 {
					for _, c := range all {
						promised = append(promised, fmt.Sprintf("%s{%s=%q}", name, label, c))
					}
				}
			}
		}
	}
	return promised
}

// choice matches a group of a pattern of jmx-exporter.yml.
var choice = regexp.MustCompile(`\(([^)]*)\)`)

// exported returns the names of the metrics at an address, and NAME{LABEL="VALUE"} for
// each label of each series.
func exported(address string) (series []string, err error) {
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		name, labels, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		series = append(series, name)
		labels, _, _ = strings.Cut(labels, "}")
		for label := range strings.SplitSeq(labels, ",") {
			series = append(series, name+"{"+label+"}")
		}
	}
	return series, nil
}
