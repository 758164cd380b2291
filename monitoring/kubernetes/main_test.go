package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"datasurge/monitoring"
)

const directory = "../../knative/monitoring"

// TestGenerated: what is deployed is what the rules say.
func TestGenerated(t *testing.T) {
	all, err := manifests()
	if err != nil || len(all) < 6 {
		t.Fatalf("%d manifests (%v)", len(all), err)
	}
	for name, text := range all {
		there, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil || !bytes.Equal(there, text) {
			t.Errorf("%s is not what the rules say (%v): run go generate ./monitoring/...", name, err)
		}
		var rule struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Spec       any
		}
		if err := yaml.Unmarshal(text, &rule); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		source, err := fs.ReadFile(monitoring.Rules, "rules/"+strings.TrimSuffix(strings.TrimPrefix(name, "rules-"), ".yaml")+".yml")
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := yaml.Unmarshal(source, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, rule.Spec); diff != "" || rule.Kind != "PrometheusRule" {
			t.Errorf("%s, %s: (-rules +manifest)\n%s", name, rule.Kind, diff)
		}
	}
}

// TestKustomization: everything in the directory is deployed, and nothing that is
// not there.
func TestKustomization(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(directory, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{"kustomization.yaml": true, "kafka-exporter.yaml": true} // a patch of somebody else's Kafka
	for _, name := range k.Resources {
		listed[name] = true
		if _, err := os.Stat(filepath.Join(directory, name)); err != nil {
			t.Error(err)
		}
	}
	files, err := filepath.Glob(directory + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !listed[filepath.Base(file)] {
			t.Errorf("%s is not deployed", file)
		}
	}
}

// TestManifests decodes the manifests strictly, by the fields of the Prometheus
// operator's API that they use. Its CRDs are not here: LEFT OUT is a validation
// against them.
func TestManifests(t *testing.T) {
	type relabeling struct {
		SourceLabels []string `yaml:"sourceLabels"`
		TargetLabel  string   `yaml:"targetLabel"`
		Regex        string   `yaml:"regex"`
		Replacement  string   `yaml:"replacement"`
		Action       string   `yaml:"action"`
	}
	type podMonitor struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   struct {
			Name   string            `yaml:"name"`
			Labels map[string]string `yaml:"labels"`
		} `yaml:"metadata"`
		Spec struct {
			NamespaceSelector struct {
				MatchNames []string `yaml:"matchNames"`
			} `yaml:"namespaceSelector"`
			Selector struct {
				MatchLabels      map[string]string `yaml:"matchLabels"`
				MatchExpressions []struct {
					Key      string   `yaml:"key"`
					Operator string   `yaml:"operator"`
					Values   []string `yaml:"values"`
				} `yaml:"matchExpressions"`
			} `yaml:"selector"`
			SampleLimit int `yaml:"sampleLimit"`
			Endpoints   []struct {
				Port        string       `yaml:"port"`
				Path        string       `yaml:"path"`
				Interval    string       `yaml:"interval"`
				Relabelings []relabeling `yaml:"relabelings"`
			} `yaml:"podMetricsEndpoints"`
		} `yaml:"spec"`
	}
	file, err := os.Open(filepath.Join(directory, "podmonitors.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	jobs := map[string]bool{}
	for range 2 {
		var m podMonitor
		if err := decoder.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != "PodMonitor" || m.APIVersion != "monitoring.coreos.com/v1" || len(m.Spec.Endpoints) != 1 {
			t.Errorf("%+v", m)
		}
		for _, e := range m.Spec.Endpoints {
			for _, r := range e.Relabelings {
				if r.TargetLabel == "job" {
					jobs[r.Replacement] = true
				}
			}
		}
	}
	// The names by which the alerts know them.
	if !jobs["datasurge"] || !jobs["kafka-exporter"] {
		t.Errorf("jobs %v", jobs)
	}
}
