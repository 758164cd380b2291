package knative

import "embed"

// Manifests are the manifests of this directory, embedded so that a binary runs
// with nothing beside it.
//
//go:embed *.yaml
var Manifests embed.FS

// Default reads the embedded manifests.
func Default() (*Set, error) { return ReadFS(Manifests, "knative") }
