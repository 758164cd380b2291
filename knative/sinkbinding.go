package knative

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

// SinkBinding: sources.knative.dev/v1
//
// Read: subject (a Service by name, or Services by matchLabels), sink,
// ceOverrides.
//
// Refused: subjects of other kinds and of other namespaces, matchExpressions.
//
// SinkBinding gives its subject the address of a sink.
type SinkBinding struct {
	Object
	// Subject is the name of a Service in the same namespace; "" with Labels.
	Subject string
	// Labels choose the Services that have all of them.
	Labels map[string]string
	Sink   Destination
	// Overrides is the value of K_CE_OVERRIDES: JSON, or empty.
	Overrides string
}

type sinkBindingSpec struct {
	Subject *struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Namespace  string `yaml:"namespace"`
		Name       string `yaml:"name"`
		Selector   *struct {
			MatchLabels      map[string]string `yaml:"matchLabels"`
			MatchExpressions unsupported       `yaml:"matchExpressions" why:"it is not emulated; want matchLabels"`
		} `yaml:"selector"`
	} `yaml:"subject"`
	Sink        *destination `yaml:"sink"`
	CEOverrides *overrides   `yaml:"ceOverrides"`
}

func readSinkBinding(root *yaml.Node, o *Object) (*SinkBinding, error) {
	var spec sinkBindingSpec
	if err := readObject(root, o, "sources.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	subject := spec.Subject
	switch {
	case subject == nil:
		return nil, o.Errorf("spec.subject", "is missing")
	case spec.Sink == nil:
		return nil, o.Errorf("spec.sink", "is missing")
	case subject.Kind != "Service":
		return nil, o.Errorf("spec.subject.kind", "%q does not run here; want Service", subject.Kind)
	case subject.APIVersion != "serving.knative.dev/v1":
		return nil, o.Errorf("spec.subject.apiVersion", "Service is serving.knative.dev/v1, not %q", subject.APIVersion)
	case subject.Namespace != "" && subject.Namespace != o.Namespace:
		return nil, o.Errorf("spec.subject.namespace", "%q: want the SinkBinding's own namespace, %q", subject.Namespace, o.Namespace)
	case (subject.Name == "") == (subject.Selector == nil):
		return nil, o.Errorf("spec.subject", "want one of name and selector")
	}
	b := &SinkBinding{Subject: subject.Name}
	if subject.Selector != nil {
		if len(subject.Selector.MatchLabels) == 0 {
			return nil, o.Errorf("spec.subject.selector", "want matchLabels")
		}
		b.Labels = subject.Selector.MatchLabels
	}
	var err error
	if b.Sink, err = spec.Sink.resolve(o, "spec.sink"); err != nil {
		return nil, err
	}
	extensions, err := spec.CEOverrides.resolve(o, "spec.ceOverrides")
	if err != nil {
		return nil, err
	}
	if spec.CEOverrides != nil {
		// As encoding/json writes knative.dev/pkg's CloudEventOverrides.
		value, err := json.Marshal(struct {
			Extensions map[string]string `json:"extensions,omitempty"`
		}{extensions})
		if err != nil {
			return nil, o.Errorf("spec.ceOverrides", "%v", err)
		}
		b.Overrides = string(value)
	}
	b.Object = *o
	return b, nil
}

// excludeLabel on a Service keeps SinkBindings from it.
const excludeLabel = "bindings.knative.dev/exclude"

// binds reports whether the subject of b is, or has in it, s.
func (b *SinkBinding) binds(s *Service) bool {
	if s.Namespace != b.Namespace || s.Labels[excludeLabel] == "true" {
		return false
	}
	if b.Subject != "" {
		return b.Subject == s.Name
	}
	for name, value := range b.Labels {
		if s.Labels[name] != value {
			return false
		}
	}
	return true
}
