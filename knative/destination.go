package knative

import "net/url"

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

// destination as manifests hold it.
type destination struct {
	Ref *struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Namespace  string `yaml:"namespace"`
		Name       string `yaml:"name"`
	} `yaml:"ref"`
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
		versions := map[string]string{"Service": "serving.knative.dev/v1", "KafkaSink": "eventing.knative.dev/v1alpha1"}
		want, ok := versions[d.Ref.Kind]
		switch {
		case !ok:
			return out, o.Errorf(field+".ref.kind", "%q cannot be a destination here; supported are Service and KafkaSink", d.Ref.Kind)
		case d.Ref.APIVersion != want:
			return out, o.Errorf(field+".ref.apiVersion", "%s is %s, not %q", d.Ref.Kind, want, d.Ref.APIVersion)
		case d.Ref.Name == "":
			return out, o.Errorf(field+".ref.name", "is missing")
		}
		out.Ref = &Reference{Kind: d.Ref.Kind, Namespace: d.Ref.Namespace, Name: d.Ref.Name}
		if out.Ref.Namespace == "" {
			out.Ref.Namespace = o.Namespace
		}
	}
	return out, nil
}
