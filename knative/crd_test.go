package knative

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// The schemas are those of the CRDs in testdata/crds: of Knative Serving,
// Eventing and eventing-kafka-broker, and of Strimzi, at the commits that package
// knative was written after. They are checked with the library that the API server
// of Kubernetes checks them with. apiextensions-apiserver, which wraps it, takes
// two minutes to compile, for pruning, which is done here, and rules in CEL, which
// only Strimzi's Kafka has.

// crds are schemas by apiVersion and kind.
type crds map[string]*spec.Schema

func loadCRDs(t *testing.T) crds {
	t.Helper()
	files, err := filepath.Glob("testdata/crds/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	schemas := make(crds)
	for _, file := range files {
		for _, doc := range documents(t, file) {
			var crd struct {
				Spec struct {
					Group    string
					Names    struct{ Kind string }
					Versions []struct {
						Name   string
						Served bool
						Schema struct {
							OpenAPIV3Schema *spec.Schema
						}
					}
				}
			}
			if err := json.Unmarshal(doc, &crd); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, v := range crd.Spec.Versions {
				if v.Served {
					schemas[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = v.Schema.OpenAPIV3Schema
				}
			}
		}
	}
	return schemas
}

// documents returns the documents of a YAML file as JSON.
func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := toJSON(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return docs
}

func toJSON(data []byte) ([][]byte, error) {
	var docs [][]byte
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if doc == nil {
			continue
		}
		b, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		docs = append(docs, b)
	}
}

// check returns what a cluster with these CRDs says about a manifest: nothing when
// it takes it as it is.
func (c crds) check(doc []byte) []string {
	var object map[string]any
	if err := json.Unmarshal(doc, &object); err != nil {
		return []string{err.Error()}
	}
	name := fmt.Sprintf("%v %v", object["apiVersion"], object["kind"])
	schema := c[name]
	if schema == nil {
		return []string{"there is no CRD of " + name}
	}
	var problems []string
	for _, err := range validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(object).Errors {
		problems = append(problems, err.Error())
	}
	// apiVersion, kind and metadata are Kubernetes' own.
	for _, field := range []string{"apiVersion", "kind", "metadata"} {
		delete(object, field)
	}
	return append(problems, unknown(schema, object, "")...)
}

// unknown returns the fields of v that the schema does not have. A cluster prunes
// them in silence, or refuses them with kubectl apply --validate=strict.
func unknown(schema *spec.Schema, v any, path string) []string {
	if schema == nil || schema.Extensions["x-kubernetes-preserve-unknown-fields"] == true {
		return nil
	}
	var problems []string
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			property, ok := schema.Properties[name]
			switch {
			case ok:
				problems = append(problems, unknown(&property, v[name], path+"."+name)...)
			case schema.AdditionalProperties != nil && (schema.AdditionalProperties.Schema != nil || schema.AdditionalProperties.Allows):
				problems = append(problems, unknown(schema.AdditionalProperties.Schema, v[name], path+"."+name)...)
			default:
				problems = append(problems, fmt.Sprintf("%s.%s: unknown field", path, name))
			}
		}
	case []any:
		if schema.Items == nil {
			return nil
		}
		for i, e := range v {
			problems = append(problems, unknown(schema.Items.Schema, e, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return problems
}

// TestCRDs holds all manifests against the schemas that a cluster has, and that
// the check can fail.
func TestCRDs(t *testing.T) {
	schemas := loadCRDs(t)
	t.Run("manifests fit", func(t *testing.T) { manifestsFit(t, schemas) })
	t.Run("what is wrong is refused", func(t *testing.T) { wrongIsRefused(t, schemas) })
}

// manifestFiles are all files here that are applied with these CRDs. In monitoring
// are resources of the Prometheus operator, and a patch, which is no whole one.
func manifestFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "testdata" || path == "monitoring"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".yaml" && d.Name() != "kustomization.yaml":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func manifestsFit(t *testing.T, schemas crds) {
	files := manifestFiles(t)
	for _, example := range []string{"enrich.yaml", "cluster/kafka.yaml", "examples/broker.yaml", "examples/python/cases.yaml"} {
		if !slices.Contains(files, filepath.FromSlash(example)) {
			t.Errorf("%s is not among %q", example, files)
		}
	}
	for _, file := range files {
		for i, doc := range documents(t, file) {
			for _, problem := range schemas.check(doc) {
				t.Errorf("%s, document %d: %s", file, i+1, problem)
			}
		}
	}
}

// TestExamples reads the examples as the emulator does.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		s, err := ReadPaths(file)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range s.Warnings {
			t.Errorf("warning: %v", w)
		}
	}
}

// wrongIsRefused: for each way in which a manifest can be wrong.
func wrongIsRefused(t *testing.T, schemas crds) {
	const source = "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {name: s}\nspec: {bootstrapServers: [k], topics: [t], sink: {uri: 'http://h/'}%s}\n"
	const service = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}\nspec: {template: {spec: {containers: [{image: i%s}]}}}\n"
	for _, c := range []struct{ manifest, more, want string }{
		{source, "", ""},
		{source, ", ordring: ordered", ".spec.ordring: unknown field"},
		{source, ", ordering: 1", "spec.ordering in body must be of type string"},
		{source, ", delivery: {retry: two}", "spec.delivery.retry in body must be of type integer"},
		{source, ", delivery: {format: json}", ".spec.delivery.format: unknown field"},
		{service, "", ""},
		{service, ", resources: {limits: {cpu: 1, memory: 1Gi}}", ""},
		{service, ", ports: [{name: http1, containerPort: 8080, hostPort: 1}]", ".spec.template.spec.containers[0].ports[0].hostPort: unknown field"},
		{strings.Replace(service, "v1", "v2", 1), "", "there is no CRD of serving.knative.dev/v2 Service"},
	} {
		docs, err := toJSON(fmt.Appendf(nil, c.manifest, c.more))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(schemas.check(docs[0]), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.more, got, c.want)
		}
	}
}
