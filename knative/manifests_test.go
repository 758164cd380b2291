package knative

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestManifests holds the pipeline that the embedded manifests declare: who gets
// what from where, and which topics there are.
func TestManifests(t *testing.T) {
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	var services, sources, sinks []string
	for _, v := range s.Services {
		services = append(services, v.Name)
		if v.Image != "ko://datasurge/functions" {
			t.Errorf("%s: image %s", v, v.Image)
		}
		if got := v.Getenv("FUNCTION"); got != v.Name {
			t.Errorf("%s: FUNCTION is %q", v, got)
		}
		if v.MinScale != 1 {
			t.Errorf("%s: min-scale %d, want 1", v, v.MinScale)
		}
		if v.ReadyPath != "/readyz" {
			t.Errorf("%s: readiness probe asks for %q", v, v.ReadyPath)
		}
	}
	for _, v := range s.Sources {
		sources = append(sources, v.Topics[0]+" -> "+v.Sink.Ref.Name)
		if v.Ordered || v.Latest || v.ConsumerGroup != v.Name {
			t.Errorf("%s: ordered %v, latest %v, group %q", v, v.Ordered, v.Latest, v.ConsumerGroup)
		}
		if got := v.Extensions["kafkatopic"]; len(v.Topics) != 1 || got != v.Topics[0] {
			t.Errorf("%s: topics %q, extension kafkatopic %q", v, v.Topics, got)
		}
		want := Delivery{Retry: 10, Backoff: BackoffExponential, Delay: 300 * time.Millisecond, Timeout: time.Minute,
			DeadLetterSink: &Destination{Ref: &Reference{Kind: "KafkaSink", Namespace: "default", Name: "dead-letters"}}}
		if diff := cmp.Diff(want, v.Delivery); diff != "" {
			t.Errorf("%s: delivery (-want +got):\n%s", v, diff)
		}
		if s.topic(v.Topics[0]) == nil {
			t.Errorf("%s: topic %s is not declared", v, v.Topics[0])
		}
	}
	for _, v := range s.Sinks {
		sinks = append(sinks, v.Name+" -> "+v.Topic)
		if s.topic(v.Topic) == nil {
			t.Errorf("%s: topic %s is not declared", v, v.Topic)
		}
	}
	for _, v := range s.Topics {
		changelog, table := v.File == "knative/topics-changelogs.yaml", v.File == "knative/topics-tables.yaml"
		if changelog != strings.HasSuffix(v.Topic, "_state") {
			t.Errorf("%s: topic %s is declared in %s", v, v.Topic, v.File)
		}
		if v.Compacted() != (changelog || table) {
			t.Errorf("%s: compacted is %v", v, v.Compacted())
		}
		// Time must not delete state, and must delete everything else.
		if r := v.Config["retention.ms"]; (r == "-1") != v.Compacted() || r == "" {
			t.Errorf("%s: retention.ms is %q", v, r)
		}
		want := 4
		if v.Topic == "generate_state" || table {
			want = 1
		}
		if v.Partitions != want {
			t.Errorf("%s: %d partitions, want %d", v, v.Partitions, want)
		}
	}
	for _, v := range s.Services {
		if s.topic(v.Name+"_state") == nil {
			t.Errorf("%s: its changelog is not declared", v)
		}
	}
	for what, c := range map[string]struct{ got, want []string }{
		"services": {services, []string{"aggregate", "detect", "enrich", "generate", "learn"}},
		"sources": {sources, []string{
			"scored_transactions -> aggregate", "aggregate_partials -> aggregate", "transaction_labels -> aggregate",
			"enriched_transactions -> detect", "transaction_labels -> detect", "financial_transactions -> enrich",
		}},
		"sinks": {sinks, []string{"dead-letters -> dead_letters"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func (s *Set) topic(name string) *KafkaTopic {
	if i := slices.IndexFunc(s.Topics, func(v *KafkaTopic) bool { return v.Topic == name }); i >= 0 {
		return s.Topics[i]
	}
	return nil
}

// TestKustomization holds that kustomization.yaml lists every manifest.
func TestKustomization(t *testing.T) {
	data, err := Manifests.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(data, &k); err != nil {
		t.Fatal(err)
	}
	entries, err := Manifests.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		if e.Name() != "kustomization.yaml" {
			files = append(files, e.Name())
		}
	}
	slices.Sort(k.Resources)
	if diff := cmp.Diff(files, k.Resources); diff != "" {
		t.Errorf("files (-) and resources (+):\n%s", diff)
	}
}
