package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"datasurge/knative"
)

// declared is an object of a set.
type declared struct {
	kind, namespace, name string
	object                any // pointer to the kind
	meaning               string
}

// String names the object as messages do.
func (d declared) String() string { return d.kind + " " + d.name }

// change is an object that is new, is gone or means something else. One of the
// two has no object.
type change struct{ was, is declared }

func (c change) added() bool   { return c.was.object == nil }
func (c change) removed() bool { return c.is.object == nil }

// String says what happens to the object.
func (c change) String() string {
	switch {
	case c.added():
		return "new " + c.is.String()
	case c.removed():
		return "gone " + c.was.String()
	}
	return "changed " + c.is.String()
}

// changes compares two sets, and returns the differences by kind and name. Where
// an object stands in its file is no difference.
func changes(was, is *knative.Set) []change {
	before, after := objects(was), objects(is)
	keys := slices.Sorted(maps.Keys(before))
	for key := range after {
		if before[key].object == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var list []change
	for _, key := range keys {
		if c := (change{before[key], after[key]}); c.was.meaning != c.is.meaning {
			list = append(list, c)
		}
	}
	return list
}

// objects are the objects of a set by kind, namespace and name: whatever a list
// of pointers to structs with an Object in them holds.
func objects(set *knative.Set) map[string]declared {
	found := make(map[string]declared)
	fields := reflect.ValueOf(set).Elem()
	for _, list := range fields.Fields() {
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() != reflect.Pointer || list.Type().Elem().Elem().Kind() != reflect.Struct {
			continue
		}
		if f, ok := list.Type().Elem().Elem().FieldByName("Object"); !ok || f.Type != reflect.TypeFor[knative.Object]() {
			continue
		}
		for j := range list.Len() {
			v := list.Index(j).Elem()
			o := v.FieldByName("Object").Addr().Interface().(*knative.Object)
			var meaning strings.Builder
			mean(&meaning, v)
			found[o.Kind+"/"+o.Namespace+"/"+o.Name] = declared{o.Kind, o.Namespace, o.Name, v.Addr().Interface(), meaning.String()}
		}
	}
	return found
}

// mean writes all that a value means: of an Object only what a cluster knows
// of it.
func mean(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		mean(b, v.Elem())
	case reflect.Struct:
		b.WriteByte('{')
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Type() == reflect.TypeFor[knative.Object]() && !slices.Contains([]string{"Kind", "Namespace", "Name", "Labels", "Annotations"}, name) {
				continue
			}
			b.WriteString(name + ":")
			mean(b, v.Field(i))
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			mean(b, v.Index(i))
			b.WriteByte(' ')
		}
		b.WriteByte(']')
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v) // of a map the keys are sorted
	}
}
