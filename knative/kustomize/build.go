// Package kustomize makes the manifests of a directory as kubectl apply -k does,
// with kustomize's own library. It is apart from the reader of manifests, so that
// only those who need the library carry it.
//
// Different from kubectl: images, which says from where an image is pulled, is left
// out, since no image is pulled here. Helm charts and plugins are refused, as by
// kubectl without options.
package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"datasurge/knative"
)

// Build makes the manifests of dir, which has a kustomization. Each is placed in
// the file that it comes from, at the lines where it stands there: of what a patch
// or a generator has put in, the line of what is around it.
func Build(dir string) (knative.Built, error) {
	files := &files{FileSystem: filesys.MakeFsOnDisk()}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
	built := knative.Built{Files: files.read}
	if err != nil {
		return built, fmt.Errorf("kustomize: %s: %w", dir, err)
	}
	b := builder{dir: dir, sources: make(map[string][]*yaml.Node)}
	var errs []error
	for _, r := range made.Resources() {
		d, err := b.document(r)
		errs = append(errs, err)
		built.Documents = append(built.Documents, d)
	}
	return built, errors.Join(errs...)
}

// files are those of the disk, and which of them have been read.
type files struct {
	filesys.FileSystem
	read []string
}

// ReadFile reads a file. A kustomization is changed to say of what it makes where
// it comes from.
func (f *files) ReadFile(path string) ([]byte, error) {
	data, err := f.FileSystem.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if shown := relative(path); !slices.Contains(f.read, shown) {
		f.read = append(f.read, shown)
	}
	if !slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) {
		return data, nil
	}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return data, nil // kustomize says what is wrong with it
	}
	return withOrigins(doc.Content[0])
}

// withOrigins is a kustomization without images and with buildMetadata:
// [originAnnotations].
func withOrigins(k *yaml.Node) ([]byte, error) {
	const name, wanted = "buildMetadata", "originAnnotations"
	var metadata *yaml.Node
	var fields []*yaml.Node
	for i := 0; i+1 < len(k.Content); i += 2 {
		switch k.Content[i].Value {
		case "images":
			continue
		case name:
			metadata = k.Content[i+1]
		}
		fields = append(fields, k.Content[i], k.Content[i+1])
	}
	if metadata == nil {
		metadata = &yaml.Node{Kind: yaml.SequenceNode}
		fields = append(fields, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, metadata)
	}
	if !slices.ContainsFunc(metadata.Content, func(n *yaml.Node) bool { return n.Value == wanted }) {
		metadata.Content = append(metadata.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: wanted})
	}
	k.Content = fields
	return yaml.Marshal(k)
}

// relative is a path as seen from the working directory, where that is shorter.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && len(rel) < len(path) {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(path)
}

// builder finds where documents come from.
type builder struct {
	dir     string
	sources map[string][]*yaml.Node // documents of the files that were looked at
}

// document is what kustomize has made of one resource.
func (b *builder) document(r *resource.Resource) (knative.Document, error) {
	origin, err := r.GetOrigin()
	if err != nil {
		return knative.Document{}, err
	}
	if err := r.SetOrigin(nil); err != nil {
		return knative.Document{}, err
	}
	text, err := r.AsYAML()
	if err != nil {
		return knative.Document{}, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return knative.Document{}, err
	}
	d := knative.Document{File: filepath.ToSlash(b.dir), Node: doc.Content[0]}
	if origin == nil || origin.Path == "" || origin.Repo != "" {
		place(d.Node, nil, 1)
		return d, nil
	}
	d.File = filepath.ToSlash(filepath.Join(b.dir, origin.Path))
	source, err := b.source(d.File, r.GetKind(), r.GetName())
	if err != nil {
		return d, err
	}
	if place(d.Node, source, 1) {
		d.File += " as " + filepath.ToSlash(b.dir) + " makes it"
	}
	return d, nil
}

// source is the document in a file that has become one of a kind and name, nil when
// it is not there: the name may have got a prefix and a suffix. One that has a field
// twice is refused, which kustomize does not do.
func (b *builder) source(file, kind, name string) (*yaml.Node, error) {
	if _, ok := b.sources[file]; !ok {
		data, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			return nil, err
		}
		b.sources[file] = nil
		for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
			var doc yaml.Node
			err := d.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if len(doc.Content) == 1 {
				b.sources[file] = append(b.sources[file], doc.Content[0])
			}
		}
		for _, doc := range b.sources[file] {
			if err := checkTwice(file, "", doc); err != nil {
				return nil, err
			}
		}
	}
	var found *yaml.Node
	longest := 0
	for _, n := range b.sources[file] {
		was := text(field(field(n, "metadata"), "name"))
		if text(field(n, "kind")) == kind && strings.Contains(name, was) && len(was) > longest {
			found, longest = n, len(was)
		}
	}
	return found, nil
}

// checkTwice refuses a field that is given twice.
func checkTwice(file, path string, n *yaml.Node) error {
	var errs []error
	seen := make(map[string]bool)
	for i, c := range n.Content {
		here := path
		switch n.Kind {
		case yaml.SequenceNode:
			here = fmt.Sprintf("%s[%d]", path, i)
		case yaml.MappingNode:
			key := n.Content[i-i%2]
			here = strings.TrimPrefix(path+"."+key.Value, ".")
			if i%2 == 0 && seen[key.Value] {
				errs = append(errs, &knative.Error{File: file, Line: key.Line, Field: here, Msg: "field is given twice"})
			}
			seen[key.Value] = true
		}
		errs = append(errs, checkTwice(file, here, c))
	}
	return errors.Join(errs...)
}

// place gives the nodes of a document the lines of what they come from. around is
// the line of those that come from nowhere. It reports whether something else is
// there than was written.
func place(n, source *yaml.Node, around int) (changed bool) {
	if source != nil && source.Kind == yaml.AliasNode {
		source = source.Alias
	}
	if n.Line = around; source != nil {
		n.Line = source.Line
		if source.Kind == yaml.ScalarNode && source.Value == n.Value {
			n.Style, n.Tag = source.Style, source.Tag // quotes matter to what is put in for a variable
		}
	}
	if source == nil || source.Kind != n.Kind || n.Kind == yaml.ScalarNode && source.Value != n.Value || len(source.Content) > len(n.Content) {
		changed = true
	}
	for i := 0; i < len(n.Content); i++ {
		var from *yaml.Node
		switch {
		case source == nil:
		case n.Kind == yaml.MappingNode && i%2 == 0:
			key, value := pair(source, n.Content[i].Value)
			changed = place(n.Content[i], key, n.Line) || changed
			i++
			from = value
		case n.Kind == yaml.SequenceNode && i < len(source.Content):
			from = source.Content[i]
		}
		changed = place(n.Content[i], from, n.Line) || changed
	}
	return changed
}

// pair is a field of a mapping, nil when it is not there.
func pair(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

func field(n *yaml.Node, name string) *yaml.Node {
	_, value := pair(n, name)
	return value
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}
