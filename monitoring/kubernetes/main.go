// Command kubernetes writes the alert and recording rules as PrometheusRules of
// the Prometheus operator into the directory that is its argument, one for each
// file of rules.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"datasurge/monitoring"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: kubernetes DIRECTORY")
	}
	manifests, err := manifests()
	if err != nil {
		return err
	}
	for name, text := range manifests {
		if err := os.WriteFile(filepath.Join(args[0], name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// head is what stands before the rules. The label release is the one by which the
// chart kube-prometheus-stack chooses rules.
const head = `# Generated from monitoring/rules/%s by go generate ./monitoring/...
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: datasurge-%s
  labels:
    app.kubernetes.io/part-of: datasurge
    release: kube-prometheus-stack
spec:
`

// manifests returns the manifests by the name of their file.
func manifests() (map[string][]byte, error) {
	files, err := fs.Glob(monitoring.Rules, "rules/*.yml")
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, file := range files {
		text, err := fs.ReadFile(monitoring.Rules, file)
		if err != nil {
			return nil, err
		}
		var rules yaml.Node
		if err := yaml.Unmarshal(text, &rules); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		rules.HeadComment, rules.Content[0].HeadComment = "", "" // it speaks of files beside it
		rules.Content[0].Content[0].HeadComment = ""
		var spec bytes.Buffer
		encoder := yaml.NewEncoder(&spec)
		encoder.SetIndent(2)
		if err := encoder.Encode(&rules); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		name := strings.TrimSuffix(path.Base(file), ".yml")
		out := fmt.Appendf(nil, head, path.Base(file), name)
		for line := range strings.Lines(spec.String()) {
			if strings.TrimSpace(line) != "" {
				line = "  " + line
			}
			out = append(out, line...)
		}
		all["rules-"+name+".yaml"] = out
	}
	return all, nil
}
