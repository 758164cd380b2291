package knative

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Kustomization: kustomize.config.k8s.io/v1beta1
//
// It is passed over: what is read is what the files say that are given. Bases,
// patches and generators are kustomize's own; its library is larger than all of
// the emulator, and its program writes what it makes to where the emulator
// reads:
//
//	kubectl kustomize DIRECTORY | emulator run -f -

// inert are the fields of a Kustomization that change nothing about what runs
// here: resources lists the files beside it, and images says from where an image
// is pulled.
var inert = []string{"apiVersion", "kind", "metadata", "resources", "images"}

// checkKustomization warns about what kustomize would do and nobody does here.
func checkKustomization(root *yaml.Node, o *Object) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		name := root.Content[i].Value
		if !slices.Contains(inert, name) {
			o.warnf(name, "kustomize is not run here; kubectl kustomize DIRECTORY | emulator run -f - reads what it makes")
		}
	}
}
