package dispatch

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxErrorData is how much of an answer a dead letter keeps, in bytes.
const maxErrorData = 1024

// deadLetter returns m with what is known of its failure. The event becomes one
// of version 1.0. An error means that the data plane throws here, and never ends
// the event: a header kne-<x> whose <x> is no extension name.
func deadLetter(m *message, target string, o *outcome) (message, error) {
	d := m.clone()
	d.version = version1
	set := []struct{ name, value string }{{"knativeerrordest", target}}
	if o.status != 0 {
		set = append(set, struct{ name, value string }{"knativeerrorcode", strconv.Itoa(o.status)})
		if len(o.body) > 0 {
			data := base64.StdEncoding.EncodeToString(o.body[:min(len(o.body), maxErrorData)])
			set = append(set, struct{ name, value string }{"knativeerrordata", data})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.header)) {
		const prefix = "Kne-"
		if values := o.header[name]; strings.HasPrefix(name, prefix) && len(values) > 0 {
			set = append(set, struct{ name, value string }{strings.ToLower(name[len(prefix):]), fromLatin1(values[len(values)-1])})
		}
	}
	for _, s := range set {
		if err := d.setExtension(s.name, s.value); err != nil {
			return d, fmt.Errorf("the answer's header kne-%s: %w", s.name, err)
		}
	}
	return d, nil
}
