package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers says which packages of this module each package may import, apart from
// packages below itself. Arrows point down only.
var layers = map[string][]string{
	"events":                     {"events/internal/strictjson"},
	"events/internal/strictjson": {},
	"events/kafkarecord":         {"events", "events/internal/strictjson"},

	"functions/step":              {"events"},
	"functions/step/steptest":     {"events", "functions/step"},
	"functions/packed":            {},
	"functions/window":            {"events", "functions/packed"},
	"functions/generate":          {"events", "functions/packed", "functions/step", "functions/window", "functions/enrich/reference", "functions/generate/handbook"},
	"functions/generate/handbook": {},
	"functions/enrich":            {"events", "functions/step", "functions/window", "functions/enrich/reference"},
	"functions/enrich/reference":  {"events"},
	"functions/detect":            {"events", "functions/packed", "functions/step", "functions/window", "functions/detect/rules", "functions/model", "functions/outcome"},
	"functions/learn":             {"events", "functions/packed", "functions/step", "functions/model", "functions/outcome"},
	"functions/outcome":           {"functions/packed"},
	"functions/model":             {},
	"functions/detect/rules":      {"events"},
	"functions/aggregate":         {"events", "functions/packed", "functions/step", "functions/window"},

	"functions/stream":           {"events", "events/kafkarecord", "functions/packed", "functions/step", "functions/kafkatxn"},
	"functions/kafkatxn":         {},
	"functions/stream/kafkatest": {},
	"functions/kafkahealth":      {"functions/stream"},
	"functions/serve":            {"events", "functions/stream"},
	"functions/metrics": {
		"events", "functions/generate", "functions/enrich", "functions/enrich/reference", "functions/detect",
		"functions/detect/rules", "functions/aggregate", "functions/stream",
	},
	"functions/tracing": {"events", "functions/stream"},
	"functions/run": {
		"functions/tracing",
		"functions/metrics", "events", "functions/step", "functions/window", "functions/generate", "functions/enrich",
		"functions/detect", "functions/aggregate", "functions/learn", "functions/stream", "functions/serve", "functions/kafkahealth",
		"knative", "knative/topic",
	},
	"functions/run/readmecurl": {},
	"functions":                {"functions/run"},

	"monitoring":                     {},
	"monitoring/dashboards":          {},
	"monitoring/dashboards/generate": {"monitoring/dashboards"},
	"monitoring/kubernetes":          {"monitoring"},

	"knative":             {},
	"knative/topic":       {"knative"},
	"monitoring/compose":  {},
	"emulator/offsets":    {},
	"emulator/account":    {"emulator/offsets", "events", "events/kafkarecord", "functions/window"},
	"emulator/broker":     {},
	"emulator/chaos":      {},
	"emulator/datadir":    {},
	"emulator/dispatch":   {"knative", "events", "events/kafkarecord"},
	"emulator/explain":    {"emulator/offsets", "events", "events/kafkarecord"},
	"emulator/golden":     {},
	"emulator/rulebook":   {"emulator/offsets", "events", "events/kafkarecord", "functions/detect", "functions/detect/rules", "functions/kafkatxn"},
	"emulator/parity":     {},
	"emulator/prometheus": {"monitoring"},
	"emulator/ownership":  {},
	"emulator/service":    {"knative"},
	"emulator/ping":       {"knative"},
	"emulator/sample":     {"events", "functions/enrich/reference", "functions/model", "functions/outcome", "functions/window"},
	"emulator/sink":       {"knative", "events", "events/kafkarecord"},
	"emulator/source":     {"knative", "events", "events/kafkarecord", "emulator/dispatch"},
	"emulator/status":     {"emulator/offsets", "events", "events/kafkarecord"},
	"emulator/watch":      {},
	"emulator/backtest": {
		"events", "events/kafkarecord", "functions/step", "functions/stream", "functions/generate", "functions/generate/handbook", "functions/enrich",
		"functions/detect", "functions/detect/rules", "functions/learn", "knative", "knative/topic", "emulator/broker", "emulator/offsets",
	},
	"emulator/bench": {"events", "events/kafkarecord", "emulator/datadir", "emulator/offsets"},
	"emulator": {
		"knative", "events", "events/kafkarecord", "functions/run", "functions/kafkahealth", "functions/window", "emulator/account", "emulator/backtest", "emulator/bench", "emulator/chaos", "emulator/broker", "emulator/datadir", "emulator/dispatch",
		"emulator/offsets", "emulator/ownership", "emulator/parity", "emulator/ping", "emulator/prometheus", "emulator/rulebook", "emulator/explain", "emulator/sample", "emulator/service", "emulator/sink", "emulator/source", "emulator/status", "emulator/watch", "knative/topic",
	},
}

// pure packages have no I/O, no clock and no Kafka.
var pure = []string{
	"events", "events/internal/strictjson", "functions/step", "functions/window", "functions/generate", "functions/generate/handbook", "functions/enrich",
	"functions/enrich/reference", "functions/detect", "functions/detect/rules", "functions/aggregate", "functions/model", "functions/outcome", "functions/learn",
}

// impure maps imports that pure packages may not have to the reason.
var impure = map[string]string{
	"os":                               "a pure package reads no environment and no files",
	"net":                              "a pure package has no network",
	"net/http":                         "a pure package has no network",
	"log/slog":                         "a pure package reports through its observer or its errors",
	"github.com/twmb/franz-go/pkg/kgo": "a pure package knows no Kafka",
	"math/rand":                        "random numbers are seeded, by math/rand/v2",
}

func TestLayers(t *testing.T) {
	const module = "datasurge/"
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		seen[name] = true
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("package %s is in no layer: add it to the table", name)
			continue
		}
		for _, imported := range p.Imports {
			if reason, ok := impure[imported]; ok && slices.Contains(pure, name) {
				t.Errorf("%s imports %s: %s", name, imported, reason)
			}
			imported, ours := strings.CutPrefix(imported, module)
			if ours && !slices.Contains(allowed, imported) {
				t.Errorf("%s may not import %s", name, imported)
			}
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("package %s is in the table of layers and does not exist", name)
		}
	}
}

func TestPurePackagesReadNoClock(t *testing.T) {
	for _, name := range pure {
		files, err := filepath.Glob("../" + name + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files (%v)", name, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, clock := range []string{"time.Now(", "time.Since(", "time.Until(", "time.Sleep(", "time.After("} {
				if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), clock) {
					t.Errorf("%s calls %s): a pure package is handed the time", file, clock)
				}
			}
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "datasurge/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
