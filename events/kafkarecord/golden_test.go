package kafkarecord

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"datasurge/events"
)

// recording is what the Java data plane of Knative was given and did. The files
// in testdata are transcripts, described at the head of each.
type recording struct {
	Name  string
	Given struct {
		Metadata struct {
			Name, Namespace string
			Labels          map[string]string
		}
	}
	Records []recordedRecord
	Then    struct {
		Requests []struct {
			Headers [][]yaml.Node
			Body    *recordedBytes
		}
		Records []recordedRecord
	}
}

type recordedRecord struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       *recordedBytes
	Value     *recordedBytes
	Headers   [][]yaml.Node // pairs
}

// recordedBytes are {b64: ...}, or text.
type recordedBytes struct{ bytes []byte }

func (r *recordedBytes) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		r.bytes = []byte(n.Value)
		return nil
	}
	var v struct{ B64 string }
	if err := n.Decode(&v); err != nil {
		return err
	}
	b, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(v.B64))
	r.bytes = b
	return err
}

func pair(t *testing.T, nodes []yaml.Node) (string, []byte) {
	t.Helper()
	if nodes[1].Tag == "!!null" {
		return nodes[0].Value, nil
	}
	var v recordedBytes
	if err := v.UnmarshalYAML(&nodes[1]); err != nil {
		t.Fatal(err)
	}
	return nodes[0].Value, v.bytes
}

func (r *recordedRecord) record(t *testing.T) *kgo.Record {
	t.Helper()
	rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp}
	if r.Key != nil {
		rec.Key = r.Key.bytes
	}
	if r.Value != nil {
		rec.Value = r.Value.bytes
	}
	for _, h := range r.Headers {
		name, value := pair(t, h)
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: name, Value: value})
	}
	return rec
}

func load(t *testing.T, path string) *recording {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r recording
	if err := yaml.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// onHTTP is e as the data plane sends it: each UTF-16 unit of a value is one
// byte of Latin-1, and a question mark when it does not fit.
func onHTTP(e *events.Event) map[string]string {
	headers := map[string]string{
		"ce-specversion": "1.0", "ce-id": e.ID, "ce-source": e.Source, "ce-type": e.Type,
	}
	for name, value := range map[string]string{
		"ce-subject": e.Subject, "ce-dataschema": e.DataSchema, "ce-partitionkey": e.Key, "content-type": e.DataContentType,
	} {
		if value != "" {
			headers[name] = value
		}
	}
	if !e.Time.IsZero() {
		headers["ce-time"] = e.Time.Format(time.RFC3339Nano)
	}
	if e.Data != nil {
		headers["content-length"] = strconv.Itoa(len(e.Data))
	}
	for _, x := range e.Extensions {
		headers["ce-"+x.Name] = x.Value
	}
	for name, value := range headers {
		var latin []byte
		for _, unit := range utf16.Encode([]rune(value)) {
			if unit > 0xff {
				unit = '?'
			}
			latin = append(latin, byte(unit))
		}
		headers[name] = string(latin)
	}
	return headers
}

func TestReadAsKnativeDoes(t *testing.T) {
	paths, err := filepath.Glob("testdata/source-*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	keyTypes := map[string]KeyType{"": KeyString, "int": KeyInt, "float": KeyFloat, "byte-array": KeyBytes}
	for _, path := range paths {
		if strings.HasSuffix(path, "source-to-kafkasink.yaml") {
			continue // its requests went to a KafkaSink, see TestWriteAsKafkaSinkDoes
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			r := load(t, path)
			mapping := Mapping{
				Namespace:   r.Given.Metadata.Namespace,
				Name:        r.Given.Metadata.Name,
				KeyType:     keyTypes[r.Given.Metadata.Labels["kafkasources.sources.knative.dev/key-type"]],
				Place:       true,
				Reserialize: true,
			}
			if len(r.Then.Requests) == 0 {
				t.Fatal("a recording without requests")
			}
			for _, request := range r.Then.Requests {
				want := map[string]string{}
				for _, h := range request.Headers {
					name, value := pair(t, h)
					switch name {
					case "host", "kn-namespace", "prefer", "user-agent", "traceparent", "tracestate":
					default:
						want[name] = string(value)
					}
				}
				// An Event is always of version 1.0.
				if want["ce-specversion"] == "0.3" {
					want["ce-specversion"] = "1.0"
					if url, ok := want["ce-schemaurl"]; ok {
						want["ce-dataschema"] = url
						delete(want, "ce-schemaurl")
					}
				}
				at := slices.IndexFunc(r.Records, func(rec recordedRecord) bool {
					place := strconv.FormatInt(rec.Offset, 10)
					return place == want["ce-knativekafkaoffset"]
				})
				if at < 0 {
					t.Fatalf("no record for request %v", want)
				}
				var e events.Event
				if err := Read(r.Records[at].record(t), &e, mapping); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, onHTTP(&e)); diff != "" {
					t.Errorf("offset %d (-knative +ours):\n%s", at, diff)
				}
				if body := string(request.Body.bytes); body != string(e.Data) {
					t.Errorf("offset %d: data is %q, knative's %q", at, e.Data, body)
				}
			}
		})
	}
}

func TestWriteAsKafkaSinkDoes(t *testing.T) {
	attributes := []string{
		"ce_specversion", "ce_id", "ce_source", "ce_type", "content-type", "ce_dataschema", "ce_subject", "ce_time",
	}
	for _, name := range []string{"kafkasink-binary", "source-to-kafkasink"} {
		for i, recorded := range load(t, "testdata/"+name+".yaml").Then.Records {
			t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
				want := recorded.record(t)
				var e events.Event
				if err := Read(want, &e, Mapping{CloudEventsOnly: true}); err != nil {
					t.Fatal(err)
				}
				var got kgo.Record
				Write(&e, &got)
				names := func(rec *kgo.Record) (ordered []string, values map[string]string) {
					values = map[string]string{}
					for _, h := range rec.Headers {
						if slices.Contains(attributes, h.Key) {
							ordered = append(ordered, h.Key)
						}
						values[h.Key] = string(h.Value)
					}
					return ordered, values
				}
				wantOrder, wantValues := names(want)
				gotOrder, gotValues := names(&got)
				switch wantValues[specVersion] {
				case "0.3":
					t.Skip("an Event is always of version 1.0")
				}
				// Not a difference in what is said: an empty key, and a trace
				// that belongs to the request.
				if wantValues["ce_partitionkey"] == "" {
					delete(wantValues, "ce_partitionkey")
				}
				delete(wantValues, "traceparent")
				if diff := cmp.Diff(wantOrder, gotOrder); diff != "" {
					t.Errorf("order of headers (-knative +ours):\n%s", diff)
				}
				if diff := cmp.Diff(wantValues, gotValues); diff != "" {
					t.Errorf("headers (-knative +ours):\n%s", diff)
				}
				if string(want.Key) != string(got.Key) || string(want.Value) != string(got.Value) {
					t.Errorf("key %q, value %q; knative's %q, %q", got.Key, got.Value, want.Key, want.Value)
				}
			})
		}
	}
}
