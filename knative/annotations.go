package knative

import (
	"maps"
	"slices"
	"strings"
)

// annotations maps the names of Knative's annotations that a kind may have to
// whether they are read here; the others have no effect on one machine.
type annotations map[string]bool

// written are the annotations that Knative and kn put on objects of any kind, so
// that what kubectl get prints can be read.
var written = annotations{
	"serving.knative.dev/creator": false, "serving.knative.dev/lastModifier": false,
	"eventing.knative.dev/creator": false, "eventing.knative.dev/lastModifier": false,
	"sources.knative.dev/creator": false, "sources.knative.dev/lastModifier": false,
	"messaging.knative.dev/creator": false, "messaging.knative.dev/lastModifier": false,
	"flows.knative.dev/creator": false, "flows.knative.dev/lastModifier": false,
	"client.knative.dev/user-image": false, "client.knative.dev/updateTimestamp": false,
}

// checkAnnotations refuses annotations of Knative on o that are in none of the
// lists. Annotations of others are not looked at.
func (o *Object) checkAnnotations(known annotations) error {
	return o.checkAnnotationsAt("metadata.annotations", o.Annotations, known)
}

func (o *Object) checkAnnotationsAt(field string, have map[string]string, known annotations) error {
	for _, name := range slices.Sorted(maps.Keys(have)) {
		domain, _, _ := strings.Cut(name, "/")
		if !strings.HasSuffix(domain, "knative.dev") {
			continue
		}
		read, ok := known[name]
		if !ok {
			read, ok = written[name]
		}
		switch {
		case !ok && strings.HasPrefix(domain, "autoscaling.eventing.") || !ok && strings.HasPrefix(domain, "keda."):
			return o.Errorf(field+"."+name, "autoscaling by KEDA is not emulated")
		case !ok:
			return o.Errorf(field+"."+name, "unknown annotation of Knative")
		case !read:
			o.Ignored = append(o.Ignored, field+"."+name)
		}
	}
	return nil
}
