package knative

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
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
	Brokers  []*Broker
	Triggers []*Trigger
	// Channels and Subscriptions are those that are declared and those of the
	// Sequences.
	Channels      []*KafkaChannel
	Subscriptions []*Subscription
	Sequences     []*Sequence
	Pings         []*PingSource
	Bindings      []*SinkBinding
	// Passed are the objects that were passed over: they describe the cluster,
	// and one machine has none.
	Passed []*Object
	// Warnings are about what a cluster takes and nobody can mean.
	Warnings []*Error
	// Files are those that a directory's kustomization stands for.
	Files []string
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

	lines    map[string]int // line of each field by its path
	warnings []*Error
}

// self is the Object of a kind that embeds one.
func (o *Object) self() *Object { return o }

// String names the object as messages do: kind and name.
func (o *Object) String() string { return o.Kind + " " + o.Name }

// Errorf is an error about one field, located at the field's line or that of
// the nearest enclosing field that is present.
func (o *Object) Errorf(field, format string, args ...any) error {
	return o.located(field, format, args...)
}

// warnf notes a warning about one field.
func (o *Object) warnf(field, format string, args ...any) {
	o.warnings = append(o.warnings, o.located(field, format, args...))
}

func (o *Object) located(field, format string, args ...any) *Error {
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

// Reader reads manifests. The zero value reads the environment and the standard
// input of the process.
type Reader struct {
	// LookupEnv gives the values of ${NAME}; default is os.LookupEnv.
	LookupEnv func(name string) (value string, ok bool)
	// Stdin is read for the path -; default is os.Stdin.
	Stdin io.Reader
}

// loader collects what is read into a set.
type loader struct {
	Set
	lookupEnv func(string) (string, bool)
}

func (r Reader) loader() *loader {
	l := &loader{lookupEnv: r.LookupEnv}
	if l.lookupEnv == nil {
		l.lookupEnv = os.LookupEnv
	}
	return l
}

// ReadPaths reads manifests from files and directories; of a directory whose
// kustomization only lists files these, else every .yaml and .yml file in it,
// without descending. The path - is the standard input. Nothing at all is an error.
// The errors of all files are joined, one per object.
func (r Reader) ReadPaths(paths ...string) (*Set, error) {
	l := r.loader()
	var errs []error
	for _, p := range paths {
		if p == "-" {
			in := r.Stdin
			if in == nil {
				in = os.Stdin
			}
			errs = append(errs, l.read("standard input", in))
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("manifests: %w", err)
		}
		if !info.IsDir() {
			errs = append(errs, l.readFile(p, p))
			continue
		}
		errs = append(errs, l.readDirectory(p))
	}
	s, err := l.done(errs)
	if err == nil && len(s.objects()) == 0 {
		return nil, fmt.Errorf("manifests: nothing that could be run is declared in %s", strings.Join(paths, ", "))
	}
	return s, err
}

// ReadPaths is that of the zero [Reader].
func ReadPaths(paths ...string) (*Set, error) { return Reader{}.ReadPaths(paths...) }

// ReadFS reads the .yaml and .yml files at the root of fsys. dir stands before
// the file names in messages.
func ReadFS(fsys fs.FS, dir string) (*Set, error) {
	l := Reader{}.loader()
	return l.done([]error{l.readDir(fsys, dir)})
}

// Read reads one stream of YAML documents; name stands for it in messages.
func (r Reader) Read(name string, in io.Reader) (*Set, error) {
	l := r.loader()
	return l.done([]error{l.read(name, in)})
}

// Read is that of the zero [Reader].
func Read(name string, in io.Reader) (*Set, error) { return Reader{}.Read(name, in) }

func (l *loader) readDir(fsys fs.FS, dir string) error {
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
		errs = append(errs, l.read(path.Join(dir, e.Name()), bytes.NewReader(data)))
	}
	if !found {
		return fmt.Errorf("manifests: %s holds no .yaml file", dir)
	}
	return errors.Join(errs...)
}

// readFile is read of a file; name stands for it in messages.
func (l *loader) readFile(path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	defer f.Close()
	return l.read(name, f)
}

// read adds the documents of r to the set.
func (l *loader) read(file string, r io.Reader) error {
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
		if err := l.add(file, &doc); err != nil {
			errs = append(errs, err)
		}
	}
}

// add reads one document into the object that its apiVersion and kind name.
func (l *loader) add(file string, doc *yaml.Node) error {
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
	if err := checkSize(file, root); err != nil {
		return err
	}
	if err := l.substitute(file, root); err != nil {
		return err
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
		err = put(&l.Services, readService, root, o)
	case "sources.knative.dev/KafkaSource":
		err = put(&l.Sources, readKafkaSource, root, o)
	case "sources.knative.dev/PingSource":
		err = put(&l.Pings, readPingSource, root, o)
	case "sources.knative.dev/SinkBinding":
		err = put(&l.Bindings, readSinkBinding, root, o)
	case "eventing.knative.dev/KafkaSink":
		err = put(&l.Sinks, readKafkaSink, root, o)
	case "eventing.knative.dev/Broker":
		err = put(&l.Brokers, readBroker, root, o)
	case "eventing.knative.dev/Trigger":
		err = put(&l.Triggers, readTrigger, root, o)
	case "messaging.knative.dev/KafkaChannel":
		err = put(&l.Channels, readKafkaChannel, root, o)
	case "messaging.knative.dev/Subscription":
		err = put(&l.Subscriptions, readSubscription, root, o)
	case "flows.knative.dev/Sequence":
		if err = put(&l.Sequences, readSequence, root, o); err == nil {
			last := l.Sequences[len(l.Sequences)-1]
			l.Channels = append(l.Channels, last.Channels...)
			l.Subscriptions = append(l.Subscriptions, last.Subscriptions...)
		}
	case "kafka.strimzi.io/KafkaTopic":
		err = put(&l.Topics, readKafkaTopic, root, o)
	case "kafka.strimzi.io/Kafka", "kafka.strimzi.io/KafkaNodePool":
		l.Passed = append(l.Passed, o)
	case "kustomize.config.k8s.io/Kustomization":
		checkKustomization(root, o)
		l.Passed = append(l.Passed, o)
	default:
		err = o.Errorf("kind", "%s %s is not supported; supported are Service (serving.knative.dev/v1), "+
			"KafkaSource, PingSource and SinkBinding (sources.knative.dev/v1), KafkaSink (eventing.knative.dev/v1alpha1), "+
			"Broker and Trigger (eventing.knative.dev/v1), KafkaChannel and Subscription (messaging.knative.dev/v1), "+
			"Sequence (flows.knative.dev/v1), KafkaTopic (kafka.strimzi.io/v1); "+
			"Kustomization, Kafka and KafkaNodePool are passed over", h.apiVersion, h.kind)
	}
	if err == nil {
		l.Warnings = append(l.Warnings, o.warnings...)
	}
	return err
}

// put reads one object and appends it to a list of its kind.
func put[T any](list *[]*T, read func(*yaml.Node, *Object) (*T, error), root *yaml.Node, o *Object) error {
	v, err := read(root, o)
	if err == nil {
		*list = append(*list, v)
	}
	return err
}

// maxValues is how many values a document may have once its aliases are put in
// place: far more than any manifest has, and little enough for a document that
// repeats itself without end.
const maxValues = 100_000

func checkSize(file string, root *yaml.Node) error {
	left := maxValues
	var walk func(n *yaml.Node) bool
	walk = func(n *yaml.Node) bool {
		if left--; left < 0 {
			return false
		}
		if n.Kind == yaml.AliasNode {
			return walk(n.Alias)
		}
		for _, c := range n.Content {
			if !walk(c) {
				return false
			}
		}
		return true
	}
	if !walk(root) {
		return &Error{File: file, Line: root.Line, Msg: fmt.Sprintf("the document has more than %d values, or an alias that contains itself", maxValues)}
	}
	return nil
}
