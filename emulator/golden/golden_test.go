package golden

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEveryRecordingCanBeRead(t *testing.T) {
	all := Load(t, KafkaSource, Subscription, Trigger, KafkaSink)
	counts := make(map[Kind]int)
	for _, r := range all {
		counts[r.Kind]++
		for i := range r.Records {
			if _, err := r.Records[i].Kgo(); err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
		}
		for i := range r.Then.Requests {
			if _, err := r.Then.Requests[i].Body.Bytes(); err != nil {
				t.Errorf("%s: request %d: %v", r.Name, i, err)
			}
		}
	}
	t.Logf("%d recordings: %v", len(all), counts)
}

// TestCopiesAreCurrent says how the copies differ from the directory that
// GOLDEN_DIR names. More recordings there are no fault.
func TestCopiesAreCurrent(t *testing.T) {
	dir, err := otherDir()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		t.Skipf("%s is not set: there is nothing to compare the copies in testdata with", dirEnv)
	}
	lines, err := Differences(os.DirFS("testdata"), os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if strings.Contains(line, "differs") {
			t.Error(line)
		} else {
			t.Log(line)
		}
	}
}

func TestDifferences(t *testing.T) {
	ours := fstest.MapFS{"a.yaml": {Data: []byte("1\n2")}, "b.yaml": {Data: []byte("x")}, "README.md": {Data: []byte("r")}}
	theirs := fstest.MapFS{"a.yaml": {Data: []byte("1\n3")}, "c.yaml": {Data: []byte("y")}}
	got, err := Differences(ours, theirs)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a.yaml differs at line 2", "b.yaml is only in the copies", "c.yaml is not among the copies"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const minimal = `
name: n
rows: [1]
about: a
given: {apiVersion: sources.knative.dev/v1, kind: KafkaSource, metadata: {}, spec: {}}
`

func TestReadRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := Read("n", []byte(minimal)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ doc, want string }{
		"a field":          {minimal + "new: 1\n", "field new not found"},
		"a kind":           {strings.Replace(minimal, "kind: KafkaSource", "kind: Sequence", 1), `kind "Sequence" is unknown`},
		"a version":        {strings.Replace(minimal, "dev/v1,", "dev/v9,", 1), "want sources.knative.dev/v1"},
		"an action":        {minimal + "sink: [{path: /, answers: [{action: explode}]}]\n", `action "explode" is unknown`},
		"a body":           {minimal + "sink: [{path: /, answers: [{bodyDoc: 3 MB}]}]\n", "want bytes"},
		"an event":         {minimal + "then: {events: [soon]}\n", "want a time in ms"},
		"another text":     {minimal + "then: {requests: [{body: {b64: eA==, text: y}}]}\n", "is not what b64 says"},
		"a summary's part": {minimal + "then: {summary: {colour: 1}}\n", "field colour not found"},
		"a header":         {minimal + "then: {requests: [{headers: [[a]]}]}\n", "want a header"},
		"two documents":    {minimal + "---\nname: m\n", "more than one document"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read("n", []byte(test.doc))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestContentOfWhichOnlyTheHashIsKnown(t *testing.T) {
	r, err := Read("n", []byte(minimal+`
then:
  exchanges:
    - body: {len: 5000, sha256: b1c3f86c7c1bbbf5d08ed2c27f8f7ac0a7ca92bcc5aff2b2b52b3bdf9ae8a7e7, first64: xyxyxy}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := r.Then.Exchanges[0].Body
	if _, err := c.Bytes(); err == nil {
		t.Error("a hash that is of something else was taken")
	}
	b := bytes.Repeat([]byte("xy"), 2500)
	if c.Equal(b) || c.Equal(nil) {
		t.Error("bytes of another hash are equal")
	}
	long := text(b)
	c.sum = long[strings.LastIndex(long, " ")+1:]
	if got, err := c.Bytes(); err != nil || !bytes.Equal(got, b) || c.String() != long {
		t.Errorf("%d bytes, %v, %s", len(got), err, c)
	}
}

func TestWhatIsVolatileDoesNotCount(t *testing.T) {
	h := func(pairs ...string) (list []Header) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, Header{pairs[i], []byte(pairs[i+1])})
		}
		return list
	}
	a := CanonicalRequest("POST", "/p", h("host", "a:1", "user-agent", "x", "ce-id", "1", "ce-knativeerrordest", "http://a:1/p?q",
		"traceparent", "00-aa-11-01"), nil)
	b := CanonicalRequest("POST", "/p", h("Ce-Id", "1", "User-Agent", "y", "traceparent", "00-aa-22-01",
		"Ce-Knativeerrordest", "https://b/p?q", "Host", "b"), []byte{})
	if a != b {
		t.Errorf("these differ:\n%s\n%s", a, b)
	}
	for _, other := range []string{
		CanonicalRequest("POST", "/p", h("ce-id", "1", "ce-knativeerrordest", "http://a/other", "traceparent", "00-aa-11-01"), nil),
		CanonicalRequest("POST", "/p", h("ce-id", "1", "ce-knativeerrordest", "http://a/p?q", "traceparent", "00-ab-11-01"), nil),
		CanonicalRequest("POST", "/p", h("ce-id", "1", "ce-id", "2"), nil),
		CanonicalRequest("GET", "/p", h("ce-id", "1"), nil),
	} {
		if other == a {
			t.Errorf("these do not differ:\n%s", a)
		}
	}
}

func TestCanonicalHeadKeepsTheOrderOfAttributes(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nuser-agent: u\r\nce-id: 1\r\nce-type: t\r\nce-b: 2\r\nce-a: 1\r\nhost: h\r\n\r\n"
	same := strings.NewReplacer("ce-b: 2\r\nce-a: 1", "ce-a: 1\r\nce-b: 2", ": u", ": v", ": h", ": i").Replace(head)
	if CanonicalHead([]byte(head)) != CanonicalHead([]byte(same)) {
		t.Errorf("%s\n%s", CanonicalHead([]byte(head)), CanonicalHead([]byte(same)))
	}
	other := strings.Replace(head, "ce-id: 1\r\nce-type: t", "ce-type: t\r\nce-id: 1", 1)
	if CanonicalHead([]byte(head)) == CanonicalHead([]byte(other)) {
		t.Error("attributes in another order are the same")
	}
}

func TestCanonicalRecord(t *testing.T) {
	r := Record{Topic: "t", Headers: []Header{{"ce_id", []byte("1")}, {"ce_b", []byte("2")}, {"ce_a", nil}}}
	k, err := r.Kgo()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.Canonical(), CanonicalRecord(k)); diff != "" {
		t.Error(diff)
	}
	for _, change := range []func(*kgo.Record){
		func(r *kgo.Record) { r.Key = []byte{} },
		func(r *kgo.Record) { r.Headers[2].Value = []byte{} },
		func(r *kgo.Record) { r.Offset = 1 },
	} {
		other, _ := r.Kgo()
		change(other)
		if r.Canonical() == CanonicalRecord(other) {
			t.Errorf("these do not differ:\n%s", r.Canonical())
		}
	}
}
