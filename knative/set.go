package knative

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultNamespace is the namespace of an object whose manifest names none.
const DefaultNamespace = "default"

// Set is what a collection of manifests declares.
type Set struct {
	Services []*Service
	Sources  []*KafkaSource
	Sinks    []*KafkaSink
	Topics   []*KafkaTopic
	// Passed are the objects that were passed over: they describe the cluster,
	// and one machine has none.
	Passed []*Object
}

// Object is the part that all kinds share.
type Object struct {
	File        string // as given, for messages
	Line        int    // of the document's first line
	APIVersion  string
	Kind        string
	Name        string
	Namespace   string // never empty
	Labels      map[string]string
	Annotations map[string]string
	// Ignored are the paths of fields that were read and have no effect on one
	// machine, in the order of the manifest.
	Ignored []string

	lines map[string]int // line of each field by its path
}

// String names the object as messages do: kind and name.
func (o *Object) String() string { return o.Kind + " " + o.Name }

// Errorf is an error about one field, located at the field's line or that of
// the nearest enclosing field that is present.
func (o *Object) Errorf(field, format string, args ...any) error {
	return &Error{File: o.File, Line: o.line(field), Field: field, Msg: fmt.Sprintf(format, args...)}
}

func (o *Object) line(field string) int {
	for field != "" {
		if l, ok := o.lines[field]; ok {
			return l
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			break
		}
		field = field[:i]
	}
	return o.Line
}

// Error says what is wrong with a manifest and where.
type Error struct {
	File  string
	Line  int
	Field string // path like spec.delivery.retry; "" when the document as a whole is meant
	Msg   string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Field, e.Msg)
}

// ReadPaths reads manifests from files and directories; of a directory, every
// .yaml and .yml file in it, without descending. The errors of all files are
// joined, one per object.
func ReadPaths(paths ...string) (*Set, error) {
	s := new(Set)
	var errs []error
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
		if !info.IsDir() {
			f, err := os.Open(p)
			if err != nil {
				return nil, fmt.Errorf("manifests: %w", err)
			}
			errs = append(errs, s.read(p, f))
			f.Close()
			continue
		}
		errs = append(errs, s.readDir(os.DirFS(p), filepath.ToSlash(p)))
	}
	return s.done(errs)
}

// ReadFS reads the .yaml and .yml files at the root of fsys. dir stands before
// the file names in messages.
func ReadFS(fsys fs.FS, dir string) (*Set, error) {
	s := new(Set)
	return s.done([]error{s.readDir(fsys, dir)})
}

// Read reads one stream of YAML documents; name stands for it in messages.
func Read(name string, r io.Reader) (*Set, error) {
	s := new(Set)
	return s.done([]error{s.read(name, r)})
}

func (s *Set) readDir(fsys fs.FS, dir string) error {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	var errs []error
	found := false
	for _, e := range entries {
		if e.IsDir() || (path.Ext(e.Name()) != ".yaml" && path.Ext(e.Name()) != ".yml") {
			continue
		}
		found = true
		data, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
		errs = append(errs, s.read(path.Join(dir, e.Name()), bytes.NewReader(data)))
	}
	if !found {
		return fmt.Errorf("manifests: %s holds no .yaml file", dir)
	}
	return errors.Join(errs...)
}

// read adds the documents of r to s.
func (s *Set) read(file string, r io.Reader) error {
	dec := yaml.NewDecoder(r)
	var errs []error
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		}
		if err != nil {
			// The parser's message carries the line.
			return errors.Join(append(errs, fmt.Errorf("%s: %w", file, err))...)
		}
		if err := s.add(file, &doc); err != nil {
			errs = append(errs, err)
		}
	}
}

// add reads one document into the object that its apiVersion and kind name.
func (s *Set) add(file string, doc *yaml.Node) error {
	root := doc
	if doc.Kind == yaml.DocumentNode {
		if len(doc.Content) == 0 {
			return nil
		}
		root = doc.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil // an empty document, as after a trailing ---
	}
	o := &Object{File: file, Line: root.Line, lines: make(map[string]int)}
	if root.Kind != yaml.MappingNode {
		return o.Errorf("", "want an object with apiVersion and kind, got %s", describe(root))
	}
	h, err := readHead(root, o)
	if err != nil {
		return err
	}
	o.APIVersion, o.Kind = h.apiVersion, h.kind
	switch gk := h.group() + "/" + h.kind; gk {
	case "serving.knative.dev/Service":
		v, err := readService(root, o)
		if err != nil {
			return err
		}
		s.Services = append(s.Services, v)
	case "sources.knative.dev/KafkaSource":
		v, err := readKafkaSource(root, o)
		if err != nil {
			return err
		}
		s.Sources = append(s.Sources, v)
	case "eventing.knative.dev/KafkaSink":
		v, err := readKafkaSink(root, o)
		if err != nil {
			return err
		}
		s.Sinks = append(s.Sinks, v)
	case "kafka.strimzi.io/KafkaTopic":
		v, err := readKafkaTopic(root, o)
		if err != nil {
			return err
		}
		s.Topics = append(s.Topics, v)
	case "kafka.strimzi.io/Kafka", "kafka.strimzi.io/KafkaNodePool",
		"kustomize.config.k8s.io/Kustomization":
		s.Passed = append(s.Passed, o)
	default:
		return o.Errorf("kind", "%s %s is not supported; supported are Service (serving.knative.dev/v1), "+
			"KafkaSource (sources.knative.dev/v1), KafkaSink (eventing.knative.dev/v1alpha1), KafkaTopic (kafka.strimzi.io/v1); "+
			"Kustomization, Kafka and KafkaNodePool are passed over", h.apiVersion, h.kind)
	}
	return nil
}

// done checks what no object can check alone, and orders the objects by name.
func (s *Set) done(errs []error) (*Set, error) {
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// check refuses names and topics that are declared twice, and references to
// objects that are not there.
func (s *Set) check() error {
	seen := make(map[string]*Object)
	once := func(o *Object) error {
		key := o.Kind + "\x00" + o.Namespace + "\x00" + o.Name
		if first := seen[key]; first != nil {
			return o.Errorf("metadata.name", "%s is already declared at %s:%d", o, first.File, first.Line)
		}
		seen[key] = o
		return nil
	}
	var errs []error
	for _, v := range s.Services {
		errs = append(errs, once(&v.Object))
	}
	for _, v := range s.Sinks {
		errs = append(errs, once(&v.Object))
	}
	topics := make(map[string]*Object)
	for _, v := range s.Topics {
		errs = append(errs, once(&v.Object))
		if first := topics[v.Topic]; first != nil {
			errs = append(errs, v.Errorf("spec.topicName", "topic %q is already declared at %s:%d", v.Topic, first.File, first.Line))
		}
		topics[v.Topic] = &v.Object
	}
	groups := make(map[string]*Object)
	for _, v := range s.Sources {
		errs = append(errs, once(&v.Object))
		if first := groups[v.ConsumerGroup]; first != nil && v.ConsumerGroup != "" {
			errs = append(errs, v.Errorf("spec.consumerGroup", "group %q is used by the KafkaSource at %s:%d too: each would get a part of the events",
				v.ConsumerGroup, first.File, first.Line))
		}
		groups[v.ConsumerGroup] = &v.Object
		errs = append(errs, s.checkDestination(&v.Object, "spec.sink", v.Sink))
		if v.Delivery.DeadLetterSink != nil {
			errs = append(errs, s.checkDestination(&v.Object, "spec.delivery.deadLetterSink", *v.Delivery.DeadLetterSink))
		}
	}
	return errors.Join(errs...)
}

func (s *Set) checkDestination(o *Object, field string, d Destination) error {
	if d.Ref == nil {
		return nil
	}
	ns := d.Ref.Namespace
	switch d.Ref.Kind {
	case "Service":
		if s.Service(ns, d.Ref.Name) == nil {
			return o.Errorf(field+".ref.name", "there is no Service %q in namespace %q", d.Ref.Name, ns)
		}
	case "KafkaSink":
		if s.Sink(ns, d.Ref.Name) == nil {
			return o.Errorf(field+".ref.name", "there is no KafkaSink %q in namespace %q", d.Ref.Name, ns)
		}
	}
	return nil
}

// Service returns the Service of that name, nil when there is none.
func (s *Set) Service(namespace, name string) *Service {
	if i := slices.IndexFunc(s.Services, func(v *Service) bool { return v.Namespace == namespace && v.Name == name }); i >= 0 {
		return s.Services[i]
	}
	return nil
}

// Sink returns the KafkaSink of that name, nil when there is none.
func (s *Set) Sink(namespace, name string) *KafkaSink {
	if i := slices.IndexFunc(s.Sinks, func(v *KafkaSink) bool { return v.Namespace == namespace && v.Name == name }); i >= 0 {
		return s.Sinks[i]
	}
	return nil
}
