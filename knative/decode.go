package knative

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ignored is the type of a field that a cluster uses and one machine does not.
// Its content is not looked at.
type ignored struct{}

// unsupported is the type of a field that a cluster knows and that is refused
// here, for the reason in the tag why.
type unsupported struct{}

// unmarshaler is a type with a text form of its own. text is the scalar as
// written; the error is located by the caller.
type unmarshaler interface{ unmarshalText(text string) error }

var (
	ignoredType     = reflect.TypeFor[ignored]()
	unsupportedType = reflect.TypeFor[unsupported]()
	unmarshalerType = reflect.TypeFor[unmarshaler]()
)

// decoder fills structs from YAML nodes. It refuses what encoding packages
// accept in silence: unknown fields, duplicate keys, numbers where text is
// wanted and the reverse. Fields are named by the tag yaml.
type decoder struct{ o *Object }

func (d decoder) decode(n *yaml.Node, field string, v reflect.Value) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if field != "" {
		d.o.lines[field] = n.Line
	}
	if v.CanAddr() && v.Addr().Type().Implements(unmarshalerType) {
		if n.Kind != yaml.ScalarNode {
			return d.wrongType(n, field, "text")
		}
		if err := v.Addr().Interface().(unmarshaler).unmarshalText(n.Value); err != nil {
			return d.o.Errorf(field, "%v", err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if n.ShortTag() == "!!null" {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(n, field, v.Elem())
	case reflect.Struct:
		return d.decodeStruct(n, field, v)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return d.wrongType(n, field, "a list")
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			if err := d.decode(c, fmt.Sprintf("%s[%d]", field, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return d.wrongType(n, field, "an object")
		}
		v.Set(reflect.MakeMap(v.Type()))
		return eachField(d.o, n, field, func(key string, _, value *yaml.Node) error {
			e := reflect.New(v.Type().Elem()).Elem()
			if err := d.decode(value, field+"."+key, e); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key), e)
			return nil
		})
	case reflect.String:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			return d.wrongType(n, field, "text")
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return d.wrongType(n, field, "true or false")
		}
		b, err := strconv.ParseBool(strings.ToLower(n.Value))
		if err != nil {
			return d.wrongType(n, field, "true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
			return d.wrongType(n, field, "a whole number")
		}
		i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if err != nil {
			return d.o.Errorf(field, "%s is no whole number in range", n.Value)
		}
		v.SetInt(i)
	default:
		panic("knative: no decoding into " + v.Type().String())
	}
	return nil
}

func (d decoder) decodeStruct(n *yaml.Node, field string, v reflect.Value) error {
	if n.Kind != yaml.MappingNode {
		return d.wrongType(n, field, "an object")
	}
	t := v.Type()
	fields := make(map[string]int, t.NumField())
	var names []string
	for i := range t.NumField() {
		name, ok := t.Field(i).Tag.Lookup("yaml")
		if !ok {
			continue // what is made of the others
		}
		fields[name] = i
		if t.Field(i).Type != unsupportedType {
			names = append(names, name)
		}
	}
	return eachField(d.o, n, field, func(key string, keyNode, value *yaml.Node) error {
		path := join(field, key)
		i, ok := fields[key]
		if !ok {
			d.o.lines[path] = keyNode.Line
			return d.o.Errorf(path, "unknown field; known are %s", strings.Join(names, ", "))
		}
		switch t.Field(i).Type {
		case ignoredType:
			d.o.Ignored = append(d.o.Ignored, path)
			return nil
		case unsupportedType:
			d.o.lines[path] = keyNode.Line
			return d.o.Errorf(path, "%s", t.Field(i).Tag.Get("why"))
		}
		return d.decode(value, path, v.Field(i))
	})
}

// eachField calls fn for each field of a mapping, once.
func eachField(o *Object, n *yaml.Node, field string, fn func(key string, keyNode, value *yaml.Node) error) error {
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		path := join(field, k.Value)
		if k.Kind != yaml.ScalarNode || seen[k.Value] {
			o.lines[path] = k.Line
			if seen[k.Value] {
				return o.Errorf(path, "field is given twice")
			}
			return o.Errorf(path, "want a field name, got %s", describe(k))
		}
		seen[k.Value] = true
		if err := fn(k.Value, k, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (d decoder) wrongType(n *yaml.Node, field, want string) error {
	hint := ""
	if want == "text" && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		hint = "; put it in quotes"
	}
	return d.o.Errorf(field, "want %s, got %s%s", want, describe(n), hint)
}

// describe names what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!int", "!!float":
			return "the number " + n.Value
		case "!!bool":
			return "the boolean " + n.Value
		case "!!null":
			return "nothing"
		}
		return strconv.Quote(n.Value)
	}
	return "something else"
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

// head is what says which kind a document is.
type head struct{ apiVersion, kind string }

func (h head) group() string {
	g, _, ok := strings.Cut(h.apiVersion, "/")
	if !ok {
		return ""
	}
	return g
}

// readHead reads apiVersion and kind, and the line of every top-level field.
func readHead(root *yaml.Node, o *Object) (head, error) {
	var h head
	err := eachField(o, root, "", func(key string, keyNode, value *yaml.Node) error {
		o.lines[key] = keyNode.Line
		var to *string
		switch key {
		case "apiVersion":
			to = &h.apiVersion
		case "kind":
			to = &h.kind
		default:
			return nil
		}
		return decoder{o}.decode(value, key, reflect.ValueOf(to).Elem())
	})
	switch {
	case err != nil:
		return h, err
	case h.apiVersion == "":
		return h, o.Errorf("apiVersion", "is missing")
	case h.kind == "":
		return h, o.Errorf("kind", "is missing")
	}
	return h, nil
}

// metadata is the metadata of every kind.
type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// readObject is readDocument of a kind that has to have a spec.
func readObject(root *yaml.Node, o *Object, version string, spec any) error {
	if err := readDocument(root, o, version, spec); err != nil {
		return err
	}
	if _, ok := o.lines["spec"]; !ok {
		return o.Errorf("spec", "is missing")
	}
	return nil
}

// readDocument decodes a whole document: the head, which was read before, the
// metadata into o, and spec. version is the only apiVersion that is taken.
func readDocument(root *yaml.Node, o *Object, version string, spec any) error {
	if o.APIVersion != version {
		return o.Errorf("apiVersion", "%s is read in version %s, not %s", o.Kind, version, o.APIVersion)
	}
	d := decoder{o}
	var meta metadata
	err := eachField(o, root, "", func(key string, keyNode, value *yaml.Node) error {
		switch key {
		case "apiVersion", "kind":
			return nil
		case "metadata":
			return d.decode(value, key, reflect.ValueOf(&meta).Elem())
		case "spec":
			return d.decode(value, key, reflect.ValueOf(spec).Elem())
		case "status":
			o.Ignored = append(o.Ignored, key)
			return nil
		}
		return o.Errorf(key, "unknown field; known are apiVersion, kind, metadata, spec")
	})
	if err != nil {
		return err
	}
	o.Name, o.Namespace, o.Labels, o.Annotations = meta.Name, meta.Namespace, meta.Labels, meta.Annotations
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Name == "" {
		return o.Errorf("metadata.name", "is missing")
	}
	if err := checkName(o.Name); err != nil {
		return o.Errorf("metadata.name", "%v", err)
	}
	if err := checkName(o.Namespace); err != nil {
		return o.Errorf("metadata.namespace", "%v", err)
	}
	return nil
}

// checkName checks a name as Kubernetes does for most kinds (RFC 1123 subdomain).
func checkName(s string) error {
	const rule = "want lower case letters, digits, - and ., beginning and ending with a letter or digit, at most 253"
	if len(s) > 253 {
		return fmt.Errorf("%q is too long: %s", s, rule)
	}
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	for i := range len(s) {
		if !alnum(s[i]) && s[i] != '-' && s[i] != '.' {
			return fmt.Errorf("%q is no name: %s", s, rule)
		}
	}
	if s == "" || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return fmt.Errorf("%q is no name: %s", s, rule)
	}
	return nil
}
