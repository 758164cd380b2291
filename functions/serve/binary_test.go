package serve

import (
	"bufio"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadPlain: what is read without the SDK is what the SDK reads.
func FuzzReadPlain(f *testing.F) {
	const required = "ce-specversion: 1.0\nce-id: 1\nce-type: t\n"
	for _, lines := range []string{
		"ce-source: /datasurge/enrich\nce-subject: s\nce-partitionkey: k\nce-time: 2026-03-01T12:00:00.123Z\ncontent-type: application/json",
		"ce-source: /apis/v1/namespaces/default/kafkasources/enrich#financial_transactions\nce-knativekafkapartition: 3\nce-knativekafkaoffset: 12\nce-kafkatopic: t",
		"ce-source: /a\nce-time: 2026-03-01T12:00:00+02:00\nce-aB: x y\nce-zz9: ",
		"ce-source: //a/b\nce-dataschema: http://s/", "ce-source: /a#b#c", "ce-source: /a#", "ce-source: a:b", "ce-source: /%41",
		"ce-source: /a\nce-id: 2", "ce-source: /a\nce-time: yesterday", "ce-source: /a\nce-data: x", "ce-source: /a\nce-datacontenttype: x",
		"ce-source: /a\ncontent-type: application/cloudevents+json", "ce-source: /a\ntraceparent: 00-1", "ce-source: /\xc3\xa9\nce-subject: \xe9",
		"ce-source: /a\nce-x_y: 1", "ce-source: /a\nce-: 1", "ce-source: /a\nce-time: 0001-01-01T00:00:00Z",
	} {
		f.Add(required+lines, []byte("{}"))
		f.Add(lines, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, lines string, body []byte) {
		read, err := textproto.NewReader(bufio.NewReader(strings.NewReader(lines + "\n\n"))).ReadMIMEHeader()
		if err != nil {
			t.Skip("no header that a server would hand on")
		}
		header := http.Header(read)
		got, ok := readPlain(header, body)
		if !ok {
			return
		}
		want, err := readAny(t.Context(), header, body)
		if err != nil {
			t.Fatalf("read %+v, where the SDK says: %v", got, err)
		}
		if len(got.Extensions) == 0 {
			got.Extensions = want.Extensions[:0]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the SDK (-), without (+):\n%s", diff)
		}
	})
}

// TestWhatIsReadWithoutTheSDK: the events that KafkaSources deliver.
func TestWhatIsReadWithoutTheSDK(t *testing.T) {
	for name, c := range map[string]struct {
		change func(http.Header)
		want   bool
	}{
		"an event of ours":    {func(http.Header) {}, true},
		"with a task":         {func(h http.Header) { h.Set("ce-datasurgetask", "enrich/1/4") }, true},
		"of version 0.3":      {func(h http.Header) { h.Set("ce-specversion", "0.3") }, false},
		"in structured mode":  {func(h http.Header) { h.Set("content-type", structuredMode["content-type"]) }, false},
		"an attribute twice":  {func(h http.Header) { h.Add("ce-id", "2") }, false},
		"text beyond ASCII":   {func(h http.Header) { h.Set("ce-subject", "é") }, false},
		"a source with query": {func(h http.Header) { h.Set("ce-source", "/a?b") }, false},
	} {
		header := http.Header{}
		for name, value := range binaryMode {
			header.Set(name, value)
		}
		c.change(header)
		if _, ok := readPlain(header, []byte("{}")); ok != c.want {
			t.Errorf("%s: %v, want %v", name, ok, c.want)
		}
	}
}
