package knative

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Kustomization: kustomize.config.k8s.io/v1beta1
//
// One that only lists files beside it is read as the list of these files; its
// images are passed over, since none is pulled. What does more (bases, patches,
// generators) is warned of: kubectl makes that.

// kustomizations are the names that kustomize looks for.
var kustomizations = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// readDirectory reads the files that a directory's kustomization lists, if it has
// one that does nothing else.
func (l *loader) readDirectory(dir string) error {
	shown := filepath.ToSlash(dir)
	plain := func() error { return l.readDir(os.DirFS(dir), shown) }
	for _, name := range kustomizations {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
		var doc yaml.Node
		if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 {
			return plain() // which says what is wrong with it
		}
		listed, ok, err := l.listed(dir, filepath.ToSlash(path), doc.Content[0])
		if err != nil {
			return err
		}
		if !ok {
			return plain()
		}
		files := append([]string{path}, listed...)
		var errs []error
		for _, file := range files {
			errs = append(errs, l.readFile(file, filepath.ToSlash(file)))
		}
		l.unread(dir, path, files)
		return errors.Join(errs...)
	}
	return plain()
}

// listed returns the files that the kustomization file of dir lists. ok is false
// when it does anything else; of bases it warns, since nothing else does.
func (l *loader) listed(dir, file string, k *yaml.Node) (files []string, ok bool, err error) {
	ok = true
	for i := 0; i+1 < len(k.Content); i += 2 {
		name, value := k.Content[i].Value, k.Content[i+1]
		ok = ok && slices.Contains(inert, name)
		if name != "resources" {
			continue
		}
		for _, r := range value.Content {
			path := filepath.Join(dir, filepath.FromSlash(r.Value))
			info, err := os.Stat(path)
			beside := filepath.Dir(path) == filepath.Clean(dir)
			at := &Error{File: file, Line: r.Line, Field: name}
			switch {
			case beside && errors.Is(err, fs.ErrNotExist):
				at.Msg = "there is no " + r.Value + " beside it"
				return nil, false, at
			case err == nil && beside && info.Mode().IsRegular():
				files = append(files, path)
			default:
				at.Msg = r.Value + " is no file beside it and is not read; all manifests beside it are. " + madeByKubectl
				l.Warnings = append(l.Warnings, at)
				ok = false
			}
		}
	}
	return files, ok, nil
}

// unread notes which files were read for a directory, and warns of those in it that
// look as if they should have been.
func (l *loader) unread(dir, kustomization string, read []string) {
	for i, file := range read {
		read[i] = filepath.Clean(file)
	}
	l.Files = append(l.Files, read...)
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		// The pattern is right.
		there, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range there {
			if !slices.Contains(read, filepath.Clean(file)) {
				l.Warnings = append(l.Warnings, &Error{File: filepath.ToSlash(kustomization), Line: 1, Field: "resources",
					Msg: filepath.Base(file) + " is not listed, so it is not read, as by kubectl apply -k"})
			}
		}
	}
}

// inert are the fields of a Kustomization that change nothing about what the files
// say that it lists: images says from where an image is pulled.
var inert = []string{"apiVersion", "kind", "metadata", "resources", "images"}

// checkKustomization warns about what kustomize would do and nobody does here.
func checkKustomization(root *yaml.Node, o *Object) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		name := root.Content[i].Value
		if !slices.Contains(inert, name) {
			o.warnf(name, "kustomize is not run here. %s", madeByKubectl)
		}
	}
}

// madeByKubectl says how to read what a kustomization makes.
const madeByKubectl = "kubectl kustomize DIRECTORY | emulator run -f - reads what it makes"
