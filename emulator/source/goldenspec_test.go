//go:build synctests

package source

import (
	"bytes"
	"fmt"
	"net/url"
	"testing"

	"go.yaml.in/yaml/v3"

	"datasurge/emulator/dispatch"
	"datasurge/emulator/golden"
	"datasurge/knative"
)

// fragment is what stands in the manifest of a recording. Those of Subscriptions
// and Triggers have topic and group in them, as no real one has.
type fragment struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
	}
	Spec struct {
		Topic         string
		ConsumerGroup string `yaml:"consumerGroup"`
		InitialOffset string `yaml:"initialOffset"`
		Subscriber    destination
		Reply         *destination
		Delivery      yaml.Node
		Filter        *struct{ Attributes map[string]string }
		Filters       []filterFragment
	}
}

type destination struct{ URI string }

type filterFragment struct {
	Exact, Prefix, Suffix map[string]string
	All, Any              []filterFragment
	Not                   *filterFragment
	CESQL                 string `yaml:"cesql"`
}

func (f *filterFragment) filter(t *testing.T) dispatch.Filter {
	t.Helper()
	list := func(fragments []filterFragment) (filters []dispatch.Filter) {
		for i := range fragments {
			filters = append(filters, fragments[i].filter(t))
		}
		return filters
	}
	switch {
	case f.Exact != nil:
		return dispatch.Exact(f.Exact)
	case f.Prefix != nil:
		return dispatch.Prefix(f.Prefix)
	case f.Suffix != nil:
		return dispatch.Suffix(f.Suffix)
	case f.All != nil:
		return dispatch.All(list(f.All)...)
	case f.Any != nil:
		return dispatch.Any(list(f.Any)...)
	case f.Not != nil:
		return dispatch.Not(f.Not.filter(t))
	case f.CESQL != "":
		sql, err := dispatch.CESQL(f.CESQL)
		if err != nil {
			t.Fatal(err)
		}
		return sql
	}
	t.Fatalf("filter %+v is of no known dialect", *f)
	return nil
}

// specOf makes the spec of a recording's manifest.
func specOf(t *testing.T, r *golden.Recording) Spec {
	t.Helper()
	if r.Kind == golden.KafkaSource {
		return sourceSpec(t, r)
	}
	given, err := yaml.Marshal(&r.Given)
	if err != nil {
		t.Fatal(err)
	}
	var f fragment
	d := yaml.NewDecoder(bytes.NewReader(given))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Object: &knative.Object{Kind: f.Kind, Name: f.Metadata.Name, Namespace: f.Metadata.Namespace},
		Topics: []string{f.Spec.Topic}, Group: f.Spec.ConsumerGroup, Latest: f.Spec.InitialOffset == "latest", Uncommitted: true,
		Egress: dispatch.Egress{Subscriber: dispatch.Target{URL: f.Spec.Subscriber.URI}},
	}
	spec.Delivery, spec.DeadLetter = deliveryOf(t, &f.Spec.Delivery)
	switch r.Kind {
	case golden.Subscription:
		spec.Ordered = true
		if f.Spec.Reply != nil {
			spec.Reply = dispatch.ReplyTo(dispatch.Target{URL: f.Spec.Reply.URI})
		}
	case golden.Trigger:
		spec.Ordered = f.Metadata.Annotations["kafka.eventing.knative.dev/delivery.order"] == "ordered"
		spec.Reply = dispatch.ReplyToTopic()
		switch {
		case f.Spec.Filters != nil:
			all := filterFragment{All: f.Spec.Filters}
			spec.Filter = all.filter(t)
		case f.Spec.Filter != nil:
			spec.Filter = dispatch.Exact(f.Spec.Filter.Attributes)
		}
	}
	return spec
}

// sourceSpec reads the manifest of a KafkaSource as the emulator does. Overrides
// that the API would refuse were given directly to the data plane, and so they
// are here.
func sourceSpec(t *testing.T, r *golden.Recording) Spec {
	t.Helper()
	var doc map[string]any
	if err := r.Given.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	overrides := make(map[string]string)
	if fields, ok := doc["spec"].(map[string]any); ok {
		if o, ok := fields["ceOverrides"].(map[string]any); ok {
			extensions, _ := o["extensions"].(map[string]any)
			for name, value := range extensions {
				overrides[name] = fmt.Sprint(value)
			}
			delete(fields, "ceOverrides")
		}
	}
	src := readSource(t, r.Name, doc)
	spec := ForKafkaSource(src)
	spec.Overrides = overrides
	spec.Subscriber = dispatch.Target{URL: src.Sink.URI}
	if dls := src.Delivery.DeadLetterSink; dls != nil {
		spec.DeadLetter = &dispatch.Target{URL: dls.URI}
	}
	return spec
}

func readSource(t *testing.T, name string, doc map[string]any) *knative.KafkaSource {
	t.Helper()
	given, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	set, err := knative.Read(name, bytes.NewReader(given))
	if err != nil {
		t.Fatal(err)
	}
	return set.Sources[0]
}

// deliveryOf resolves a delivery as that of a KafkaSource. Without any there are
// no retries.
func deliveryOf(t *testing.T, node *yaml.Node) (knative.Delivery, *dispatch.Target) {
	t.Helper()
	delivery := map[string]any{"retry": 0}
	if !node.IsZero() {
		delivery = nil
		if err := node.Decode(&delivery); err != nil {
			t.Fatal(err)
		}
	}
	src := readSource(t, "delivery", map[string]any{
		"apiVersion": "sources.knative.dev/v1", "kind": "KafkaSource", "metadata": map[string]any{"name": "delivery"},
		"spec": map[string]any{
			"bootstrapServers": []string{"b"}, "topics": []string{"t"}, "consumerGroup": "g",
			"sink": map[string]any{"uri": "http://sink"}, "delivery": delivery,
		},
	})
	if dls := src.Delivery.DeadLetterSink; dls != nil {
		return src.Delivery, &dispatch.Target{URL: dls.URI}
	}
	return src.Delivery, nil
}

// Ports of the recorder's machine.
const (
	receiverPort = "18090" // of KafkaSinks
	refusedPort  = "18999" // where nothing listened
)

// sinkPorts returns the ports at which the recorder's sink listened: those that
// requests came to, or that of the subscriber when there were none to see.
func sinkPorts(t *testing.T, r *golden.Recording, spec *Spec) []string {
	t.Helper()
	ports := make(map[string]bool)
	for _, q := range r.Then.Requests {
		for _, h := range q.Headers {
			if h.Name == "host" {
				ports[port(t, "http://"+string(h.Value))] = true
			}
		}
	}
	if len(ports) == 0 {
		ports[port(t, spec.Subscriber.URL)] = true
	}
	delete(ports, receiverPort)
	delete(ports, refusedPort)
	var list []string
	for p := range ports {
		list = append(list, p)
	}
	return list
}

func port(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
