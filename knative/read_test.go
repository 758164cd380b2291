package knative

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestRead runs the scenarios of testdata: manifests and what reading them gives,
// an object in its resolved form or the error. go test . -rewrite writes anew
// what comes out.
func TestRead(t *testing.T) {
	datadriven.Walk(t, "testdata/read", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s, err := Reader{LookupEnv: environment}.Read("m.yaml", strings.NewReader(d.Input))
			if err != nil {
				return err.Error() + "\n"
			}
			return summary(s)
		})
	})
}

// environment are the variables that the manifests of testdata see.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"NAME": "n", "FOUR": "4", "TRUE": "true", "EMPTY": "", "TRICKY": "a: [b]\n# c", "DELAY": "PT5S",
	}[name]
	return value, ok
}

func summary(s *Set) string {
	var b strings.Builder
	object := func(o *Object) {
		fmt.Fprintf(&b, "%s in %s", o, o.Namespace)
		if len(o.Ignored) > 0 {
			fmt.Fprintf(&b, ", ignored: %s", strings.Join(o.Ignored, " "))
		}
		b.WriteByte('\n')
	}
	destination := func(d Destination) string {
		if d.Ref == nil {
			return d.URI
		}
		return d.Ref.Kind + " " + d.Ref.Namespace + "/" + d.Ref.Name + d.URI
	}
	for _, v := range s.Services {
		object(&v.Object)
		fmt.Fprintf(&b, "  image %s env %v port %d ready %q timeout %v concurrency %d scale %d..%d from %d%s\n",
			v.Image, v.Env, v.Port, v.ReadyPath, v.Timeout, v.Concurrency, v.MinScale, v.MaxScale, v.InitialScale, autoscalingOf(&v.Autoscaling))
	}
	delivery := func(d Delivery) {
		dls := "lost"
		if d.DeadLetterSink != nil {
			dls = destination(*d.DeadLetterSink)
		}
		fmt.Fprintf(&b, "  retry %d %s %v timeout %v then %s\n", d.Retry, d.Backoff, d.Delay, d.Timeout, dls)
	}
	for _, v := range s.Sources {
		object(&v.Object)
		fmt.Fprintf(&b, "  topics %v group %q consumers %d latest %v ordered %v key %s to %s extensions %v\n",
			v.Topics, v.ConsumerGroup, v.Consumers, v.Latest, v.Ordered, v.KeyType, destination(v.Sink), v.Extensions)
		delivery(v.Delivery)
	}
	for _, v := range s.Sinks {
		object(&v.Object)
		fmt.Fprintf(&b, "  topic %s structured %v partitions %d replicas %d\n", v.Topic, v.Structured, v.NumPartitions, v.ReplicationFactor)
	}
	for _, v := range s.Topics {
		object(&v.Object)
		fmt.Fprintf(&b, "  topic %s partitions %d replicas %d config %v compacted %v\n", v.Topic, v.Partitions, v.Replicas, v.Config, v.Compacted())
	}
	for _, v := range s.Channels {
		object(&v.Object)
		fmt.Fprintf(&b, "  topic %s partitions %d replicas %d retention %v\n", v.Topic(), v.NumPartitions, v.ReplicationFactor, v.Retention)
	}
	for _, v := range s.Subscriptions {
		object(&v.Object)
		reply := "dropped"
		if v.Reply != nil {
			reply = "to " + destination(*v.Reply)
		}
		fmt.Fprintf(&b, "  of %s group %s to %s, reply %s\n", v.Channel, v.ConsumerGroup(), destination(v.Subscriber), reply)
		delivery(v.Delivery)
	}
	for _, v := range s.Sequences {
		object(&v.Object)
		fmt.Fprintf(&b, "  %d steps\n", len(v.Channels))
	}
	for _, v := range s.Brokers {
		object(&v.Object)
		fmt.Fprintf(&b, "  topic %s external %v\n", v.Topic, v.External)
	}
	for _, v := range s.Triggers {
		object(&v.Object)
		fmt.Fprintf(&b, "  of %s group %s ordered %v to %s\n  filter %s\n", v.Broker, v.ConsumerGroup(), v.Ordered, destination(v.Subscriber), show(v.Filter))
		delivery(v.Delivery)
	}
	for _, v := range s.Pings {
		object(&v.Object)
		fmt.Fprintf(&b, "  %s to %s %s %q extensions %v\n", v.Schedule, destination(v.Sink), v.ContentType, v.Data, v.Extensions)
	}
	for _, v := range s.Bindings {
		object(&v.Object)
		fmt.Fprintf(&b, "  of %q %v to %s overrides %s\n", v.Subject, v.Labels, destination(v.Sink), v.Overrides)
		for _, service := range s.Services {
			if s.Binding(service) == v {
				fmt.Fprintf(&b, "  binds %s\n", service)
			}
		}
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	for _, o := range s.Passed {
		fmt.Fprintf(&b, "passed over: %s\n", o.Kind)
	}
	return b.String()
}

// show writes a filter on one line, without what is not given.
func show(f Filter) string {
	data, err := json.Marshal(f)
	if err != nil {
		return err.Error()
	}
	var parts map[string]any
	if err := json.Unmarshal(data, &parts); err != nil {
		return err.Error()
	}
	return fmt.Sprint(without(parts))
}

func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, e any) bool { return e == nil || e == "" })
		for name, e := range v {
			v[name] = without(e)
		}
	case []any:
		for i, e := range v {
			v[i] = without(e)
		}
	}
	return v
}

// topic is the manifest of a KafkaTopic.
func topic(name string) string {
	return "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: " + name + ", labels: {strimzi.io/cluster: c}}\nspec: {}\n"
}

func TestReadPaths(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a.yaml", topic("a"))
	write("b.yml", topic("b"))
	write("notes.txt", "not read")
	for _, c := range []struct {
		paths []string
		want  int
	}{{[]string{a}, 1}, {[]string{dir}, 2}} {
		s, err := ReadPaths(c.paths...)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Topics) != c.want {
			t.Errorf("%q: %d topics, want %d", c.paths, len(s.Topics), c.want)
		}
	}
	s, err := Reader{Stdin: strings.NewReader(topic("c") + "---\n" + topic("d"))}.ReadPaths(a, "-")
	if err != nil || len(s.Topics) != 3 || s.Topics[2].File != "standard input" {
		t.Errorf("standard input: %v, %v", s, err)
	}
	if _, err := ReadPaths(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
	if _, err := ReadPaths(a, dir); err == nil || !strings.Contains(err.Error(), "already declared at") {
		t.Errorf("the same file twice: %v", err)
	}
	bad := write("c.yaml", "apiVersion: v1\nkind: Pod\n")
	_, err = ReadPaths(dir)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.File != filepath.ToSlash(bad) || e.Line != 2 || e.Field != "kind" {
		t.Errorf("a Pod: %v", err)
	}
}

// Of a directory whose kustomization only lists files, those are read, and what is
// not listed is said; of one whose kustomization does more, all are, with a warning.
func TestReadPathsOfKustomization(t *testing.T) {
	const head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml, b.topic]\n"
	for _, c := range []struct {
		name, kustomization string
		topics, files       int
		warning             string
	}{
		{"a list", head, 2, 3, "resources: other.yaml is not listed, so it is not read, as by kubectl apply -k"},
		{"images are passed over", head + "images: [{name: x, newTag: y}]\n", 2, 3, "resources: other.yaml is not listed"},
		{"a prefix", head + "namePrefix: prod-\n", 2, 0, "namePrefix: kustomize is not run here"},
		{"a base", strings.Replace(head, "b.topic", "base", 1), 2, 0, "kustomization.yaml:3: resources: base is no file beside it and is not read"},
		{"a base elsewhere", strings.Replace(head, "b.topic", "../base", 1), 2, 0, "kustomization.yaml:3: resources: ../base is no file beside it"},
		{"a base of others", strings.Replace(head, "b.topic", "https://example.com/base", 1), 2, 0, "resources: https://example.com/base is no file beside it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{
				"kustomization.yaml": c.kustomization, "a.yaml": topic("a"), "b.topic": topic("b"), "other.yaml": topic("other"),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(filepath.Join(dir, "base"), 0o755); err != nil {
				t.Fatal(err)
			}
			s, err := ReadPaths(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Topics) != c.topics || len(s.Passed) != 1 || len(s.Files) != c.files {
				t.Errorf("%d topics, %d passed over, files %q; want %d, 1 and %d files", len(s.Topics), len(s.Passed), s.Files, c.topics, c.files)
			}
			if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Error(), c.warning) {
				t.Errorf("warnings %v, want one of %q", s.Warnings, c.warning)
			}
		})
	}
}

// A file that is listed and not there is refused, as by kubectl apply -k.
func TestReadPathsOfKustomizationWithoutItsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kustomization.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- gone.yaml\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadPaths(dir)
	want := &Error{File: filepath.ToSlash(file), Line: 4, Field: "resources", Msg: "there is no gone.yaml beside it"}
	if e, ok := errors.AsType[*Error](err); !ok || *e != *want {
		t.Errorf("%v, want %v", err, want)
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
	}{
		{"PT0.3S", 300 * time.Millisecond},
		{"PT0,3S", 300 * time.Millisecond},
		{"PT600S", 600 * time.Second},
		{"PT0S", 0},
		{"-PT5S", 5 * time.Second},
		{"+PT5S", 5 * time.Second},
		{"P1DT2H3M4.5S", 26*time.Hour + 3*time.Minute + 4500*time.Millisecond},
		{"P2W", 14 * 24 * time.Hour},
		{"P1Y", 31556952 * time.Second},
		{"P12M", 31556952 * time.Second},
		{"PT1.5H", 90 * time.Minute},
	} {
		got, err := ParseDuration(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{
		"", "P", "PT", "-", "0.3s", "300ms", "PT0.3", "P1H", "PT1D", "PT1S1M", "PT1S1S", "PT.5S", "PT1.S", "PT1.5H1M",
		"PT1..5S", "P1D2W", "PTT1S", "PT1ST", "pt1s", "PT-1S", "P99999999999Y", "PT1S ",
	} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

// FuzzParseDuration: a duration is never negative, and dropping its sign does
// not change it.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"PT0.3S", "P1Y2M3W4DT5H6M7.8S", "-PT5S", "P", "PT1,5H"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Errorf("ParseDuration(%q) = %v", s, d)
		}
		if bare, err := ParseDuration(strings.TrimLeft(s, "+-")); err != nil || bare != d {
			t.Errorf("ParseDuration(%q) = %v, without sign %v, %v", s, d, bare, err)
		}
	})
}

// FuzzRead: reading ends with a set or an error, never with a panic.
func FuzzRead(f *testing.F) {
	entries, err := Manifests.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		data, err := Manifests.ReadFile(e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Read("m.yaml", strings.NewReader(text))
		if (s == nil) == (err == nil) {
			t.Errorf("set %v, error %v", s, err)
		}
	})
}

func TestPause(t *testing.T) {
	exponential := Delivery{Backoff: BackoffExponential, Delay: 300 * time.Millisecond}
	linear := Delivery{Backoff: BackoffLinear, Delay: 300 * time.Millisecond}
	var sum time.Duration
	for n := 1; n <= 10; n++ {
		sum += exponential.Pause(n)
		if got, want := linear.Pause(n), time.Duration(n)*300*time.Millisecond; got != want {
			t.Errorf("linear pause %d is %v, want %v", n, got, want)
		}
	}
	if got, want := exponential.Pause(1), 600*time.Millisecond; got != want {
		t.Errorf("first exponential pause is %v, want %v", got, want)
	}
	if want := 613800 * time.Millisecond; sum != want {
		t.Errorf("ten exponential pauses are %v, want %v", sum, want)
	}
	if got := exponential.Pause(200); got <= 0 {
		t.Errorf("pause 200 is %v", got)
	}
}

// autoscalingOf is what is said to the autoscaler, "" when nothing is.
func autoscalingOf(a *Autoscaling) string {
	if *a == (Autoscaling{}) {
		return ""
	}
	burst := "default"
	if a.BurstCapacity != nil {
		burst = fmt.Sprint(*a.BurstCapacity)
	}
	return fmt.Sprintf(" metric %q target %v of %v%% window %v panic %v%% at %v%% delay %v zero after %v at least %d burst %s",
		a.Metric, a.Target, a.Utilization, a.Window, a.PanicWindow, a.PanicThreshold, a.ScaleDownDelay, a.ZeroRetention, a.ActivationScale, burst)
}
