package knative

import (
	"net/url"
	"slices"
	"strings"
)

// Destination is where events are sent: an object, a URL, or a URL relative to
// the object's.
type Destination struct {
	Ref *Reference
	URI string // absolute without Ref; a path with it
}

// Reference names an object in the set.
type Reference struct {
	Kind, Namespace, Name string
}

// reference as manifests hold it.
type reference struct {
	APIVersion string      `yaml:"apiVersion"`
	Kind       string      `yaml:"kind"`
	Namespace  string      `yaml:"namespace"`
	Name       string      `yaml:"name"`
	Address    unsupported `yaml:"address" why:"references to one of several addresses are not emulated"`
}

// addressable maps the kinds that events can be sent to to their versions.
var addressable = map[string][]string{
	"Service":      {"serving.knative.dev/v1"},
	"KafkaSink":    {"eventing.knative.dev/v1alpha1"},
	"KafkaChannel": {"messaging.knative.dev/v1", "messaging.knative.dev/v1beta1"},
	"Broker":       {"eventing.knative.dev/v1"},
	"Sequence":     {"flows.knative.dev/v1"},
}

// resolve checks r, found at field of o. The namespace is o's when it gives none.
func (r *reference) resolve(o *Object, field string, kinds ...string) (Reference, error) {
	versions, ok := addressable[r.Kind]
	switch {
	case !ok || !slices.Contains(kinds, r.Kind):
		return Reference{}, o.Errorf(field+".kind", "%q cannot be referred to here; supported are %s", r.Kind, strings.Join(kinds, ", "))
	case !slices.Contains(versions, r.APIVersion):
		return Reference{}, o.Errorf(field+".apiVersion", "%s is %s, not %q", r.Kind, versions[0], r.APIVersion)
	case r.Name == "":
		return Reference{}, o.Errorf(field+".name", "is missing")
	}
	out := Reference{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
	if out.Namespace == "" {
		out.Namespace = o.Namespace
	}
	return out, nil
}

// destination as manifests hold it.
type destination struct {
	Ref      *reference  `yaml:"ref"`
	URI      string      `yaml:"uri"`
	CACerts  unsupported `yaml:"CACerts" why:"TLS between the components is not emulated"`
	Audience unsupported `yaml:"audience" why:"OIDC between the components is not emulated"`
}

// resolve checks d, found at field of o.
func (d *destination) resolve(o *Object, field string) (Destination, error) {
	var out Destination
	if d.Ref == nil && d.URI == "" {
		return out, o.Errorf(field, "want ref or uri")
	}
	if d.URI != "" {
		u, err := url.Parse(d.URI)
		switch {
		case err != nil:
			return out, o.Errorf(field+".uri", "%q is no URL", d.URI)
		case d.Ref == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
			return out, o.Errorf(field+".uri", "%q: without ref, want an absolute http URL", d.URI)
		case d.Ref != nil && u.IsAbs():
			return out, o.Errorf(field+".uri", "%q: with ref, want a path", d.URI)
		}
		out.URI = d.URI
	}
	if d.Ref != nil {
		ref, err := d.Ref.resolve(o, field+".ref", "Service", "KafkaSink", "KafkaChannel", "Broker", "Sequence")
		if err != nil {
			return out, err
		}
		out.Ref = &ref
	}
	return out, nil
}

// resolveOptional resolves a destination that may be absent.
func resolveOptional(d *destination, o *Object, field string) (*Destination, error) {
	if d == nil {
		return nil, nil
	}
	out, err := d.resolve(o, field)
	return &out, err
}

// overrides are the ceOverrides of manifests: what is put on every event.
type overrides struct {
	Extensions map[string]string `yaml:"extensions"`
}

// resolve checks v, found at field of o.
func (v *overrides) resolve(o *Object, field string) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	for name := range v.Extensions {
		if !validExtension(name) {
			return nil, o.Errorf(field+".extensions."+name, "%q is no CloudEvents extension name: want lower case letters and digits", name)
		}
	}
	return v.Extensions, nil
}

// validExtension reports whether a cluster takes name as an extension: lower
// case letters and digits.
func validExtension(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
