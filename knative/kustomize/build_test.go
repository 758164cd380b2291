package kustomize

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"datasurge/knative"
)

// tree writes files below a directory of its own, which is the working directory
// then.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(paths ...string) (*knative.Set, error) {
	return knative.Reader{Kustomize: Build}.ReadPaths(paths...)
}

const service = `# A comment.
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: f
spec:
  template:
    spec:
      containers:
        - image: ko://datasurge/functions
          env:
            - name: FUNCTION
              value: enrich
            - name: RATE
              value: "${RATE:-7}"
`

const topic = `---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: t, labels: {strimzi.io/cluster: c}}
spec:
  partitions: ${PARTITIONS:-3}
`

const head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"

// overlay is a base and what changes it.
func overlay() map[string]string {
	return map[string]string{
		"base/kustomization.yaml": head + "resources: [all.yaml]\n",
		"base/all.yaml":           service + topic,
		"base/other.yaml":         "not: a manifest\n",
		"overlays/prod/kustomization.yaml": head + `resources: [../../base]
namePrefix: prod-
images:
  - {name: ko://datasurge/functions, newName: registry.example.com/functions, newTag: v1}
patches:
  - path: patch.yaml
`,
		"overlays/prod/patch.yaml": `apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: f}
spec: {template: {spec: {timeoutSeconds: 42}}}
`,
	}
}

// TestBuild: what an overlay makes of a base is read, with the environment put in.
func TestBuild(t *testing.T) {
	tree(t, overlay())
	t.Setenv("RATE", "9")
	set, err := read("overlays/prod")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Services) != 1 || len(set.Topics) != 1 {
		t.Fatalf("%d Services and %d KafkaTopics, want one of each", len(set.Services), len(set.Topics))
	}
	f := set.Services[0]
	if f.Name != "prod-f" || f.Timeout.Seconds() != 42 || f.Image != "ko://datasurge/functions" || f.Getenv("FUNCTION") != "enrich" || f.Getenv("RATE") != "9" {
		t.Errorf("Service %+v", f)
	}
	if set.Topics[0].Partitions != 3 {
		t.Errorf("%d partitions, want the default of the variable", set.Topics[0].Partitions)
	}
	slices.Sort(set.Files)
	want := []string{"base/all.yaml", "base/kustomization.yaml", "overlays/prod/kustomization.yaml", "overlays/prod/patch.yaml"}
	if diff := cmp.Diff(want, set.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(set.Warnings) > 0 {
		t.Errorf("warnings %v", set.Warnings)
	}
}

// TestPlaces: errors say where what is wrong was written.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		name      string
		file      string
		old, with string
		want      []string // of which the error has all
	}{
		{"in the base", "base/all.yaml", "partitions:", "partitons:", []string{"base/all.yaml as overlays/prod makes it:21: spec.partitons: unknown field"}},
		{"beside what a patch has put in", "base/all.yaml", "      containers:", "      containrs: []\n      containers:", []string{"base/all.yaml as overlays/prod makes it:9: spec.template.spec.containrs: unknown field"}},
		{"in the patch", "overlays/prod/patch.yaml", "timeoutSeconds: 42", "timeoutSeconds: 4200", []string{"base/all.yaml as overlays/prod makes it:9: spec.template.spec.timeoutSeconds: 4200: want 1 to 600"}},
		{"a variable", "base/all.yaml", "${RATE:-7}", "${RATE_THAT_IS_NOT_SET}", []string{"base/all.yaml as overlays/prod makes it:15: ", "RATE_THAT_IS_NOT_SET"}},
		{"a field twice", "base/all.yaml", "  partitions: ${PARTITIONS:-3}", "  partitions: 1\n  partitions: 2", []string{"base/all.yaml", "partitions"}},
		{"no YAML", "base/all.yaml", "spec:\n  partitions", "spec:\n\tpartitions", []string{"overlays/prod", "all.yaml"}},
		{"a kind", "base/all.yaml", "kind: KafkaTopic", "kind: KafkaUser", []string{"base/all.yaml", ":18: kind: kafka.strimzi.io/v1 KafkaUser is not supported"}},
		{"a patch for nothing", "overlays/prod/patch.yaml", "name: f", "name: g", []string{"overlays/prod", "g"}},
		{"an unknown field of the kustomization", "overlays/prod/kustomization.yaml", "namePrefix", "namePrefx", []string{"overlays/prod", "namePrefx"}},
		{"a base that is not there", "overlays/prod/kustomization.yaml", "../../base", "../../bas", []string{"overlays/prod", "../../bas"}},
		{"a file outside", "overlays/prod/kustomization.yaml", "path: patch.yaml", "path: ../../base/other.yaml", []string{"overlays/prod", "other.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := overlay()
			if !strings.Contains(files[c.file], c.old) {
				t.Fatalf("no %q in %s", c.old, c.file)
			}
			files[c.file] = strings.Replace(files[c.file], c.old, c.with, 1)
			tree(t, files)
			_, err := read("overlays/prod")
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// TestUnchanged: a document that is as it was written has the place where it was.
func TestUnchanged(t *testing.T) {
	files := map[string]string{
		"all/kustomization.yaml":  head + "resources: [../base]\n",
		"base/kustomization.yaml": head + "resources: [f.yaml]\n",
		"base/f.yaml":             strings.Replace(service, "env:", "envs:", 1),
	}
	tree(t, files)
	_, err := read("all")
	if err == nil || !strings.HasPrefix(err.Error(), "base/f.yaml:11: spec.template.spec.containers[0].envs: unknown field") {
		t.Errorf("error %v", err)
	}
}

// TestList: a kustomization that only lists files needs no library, and what it
// does not list is not read.
func TestList(t *testing.T) {
	tree(t, overlay())
	set, err := knative.ReadPaths("base")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Services) != 1 || len(set.Topics) != 1 || len(set.Passed) != 1 {
		t.Errorf("%d Services, %d KafkaTopics, %d passed over", len(set.Services), len(set.Topics), len(set.Passed))
	}
	const want = "base/kustomization.yaml:1: resources: other.yaml is not listed, so it is not read, as by kubectl apply -k"
	if len(set.Warnings) != 1 || set.Warnings[0].Error() != want {
		t.Errorf("warnings %v, want %s", set.Warnings, want)
	}
}

// TestOurs: the manifests that are deployed.
func TestOurs(t *testing.T) {
	made, err := Build(filepath.Join("..", "..", "knative"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := knative.Default()
	if err != nil {
		t.Fatal(err)
	}
	want := len(set.Services) + len(set.Sources) + len(set.Sinks) + len(set.Topics)
	if len(made.Documents) != want {
		t.Errorf("%d documents, want %d", len(made.Documents), want)
	}
}
