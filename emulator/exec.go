package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-shellwords"

	"datasurge/knative"
)

// programs are the commands that stand for the images of Services, by the
// Service's name, or namespace/name. They are given with --exec.
type programs map[string][]string

// set adds one, written NAME=COMMAND with the words and quotes of a shell.
func (p programs) set(text string) error {
	name, command, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf(`%q: want NAME=COMMAND, as in enricher="python3 app.py"`, text)
	}
	if p[name] != nil {
		return fmt.Errorf("%s is given twice", name)
	}
	parser := shellwords.NewParser()
	words, err := parser.Parse(command)
	switch {
	case err != nil:
		return fmt.Errorf("%s: the quotes of %q do not match: %w", name, command, err)
	case parser.Position >= 0:
		return fmt.Errorf("%s: %q is for a shell; write %s=\"sh -c '...'\"", name, command, name)
	case len(words) == 0:
		return fmt.Errorf("%s: there is no command", name)
	}
	p[name] = words
	return nil
}

// of returns the command for a Service, nil without one.
func (p programs) of(s *knative.Service) []string {
	if command := p[full(s.Namespace, s.Name)]; command != nil {
		return command
	}
	return p[s.Name]
}

// check refuses a command for a Service that there is not, or for more than one,
// and one whose program cannot be found.
func (p programs) check(set *knative.Set) error {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		var found []string
		for _, s := range set.Services {
			if key := full(s.Namespace, s.Name); name == s.Name || name == key {
				found = append(found, key)
			}
		}
		switch len(found) {
		case 0:
			return fmt.Errorf("--exec %s: the manifests have no Service of that name; they have %s", name, strings.Join(serviceNames(set), ", "))
		case 1:
		default:
			return fmt.Errorf("--exec %s: there are several Services of that name; name one of %s", name, strings.Join(found, ", "))
		}
		if _, err := exec.LookPath(p[name][0]); err != nil && !errors.Is(err, exec.ErrDot) {
			return fmt.Errorf("--exec %s: %w", name, err)
		}
	}
	return nil
}

func serviceNames(set *knative.Set) []string {
	names := make([]string, len(set.Services))
	for i, s := range set.Services {
		names[i] = servicePath(set, s.Namespace, s.Name)
	}
	slices.Sort(names)
	return names
}

// notSource are the directories in which no source files are looked for: what
// package managers and version control put beside them.
var notSource = []string{"node_modules", "vendor", "venv", "__pycache__", "target", "build", "dist"}

// files are the files that a command runs, as far as they can be known: those
// that it names, and for each all below its directory with the same extension.
func files(command []string) []string {
	found := make(map[string]bool)
	for _, word := range command {
		info, err := os.Stat(word)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		found[word] = true
		extension := filepath.Ext(word)
		if extension == "" {
			continue
		}
		root := filepath.Dir(word)
		// What cannot be read is not watched.
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return filepath.SkipDir
			case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains(notSource, d.Name())):
				return filepath.SkipDir
			case d.Type().IsRegular() && filepath.Ext(path) == extension:
				found[path] = true
			}
			return nil
		})
	}
	return slices.Sorted(maps.Keys(found))
}
