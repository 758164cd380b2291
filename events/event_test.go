package events

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"datasurge/events/internal/strictjson"
)

func testEvent() Event {
	t := testTransaction()
	e := NewTransaction(&t)
	e.Extensions = []Extension{{ExtTask, "generate/3"}, {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	return e
}

// event makes a valid event of any shape. Its URIs are ones that the parser of
// net/url returns as they were.
func (r random) event() Event {
	attribute := func() string { return strings.ReplaceAll(r.text(20), "\u007f", "") }
	e := Event{
		ID: r.id(), Source: pick(r, "/datasurge/enrich", "urn:x:1", "https://example.com/a?b=c#d"), Type: "t" + attribute(),
		Subject: attribute(), Key: attribute(),
		DataContentType: pick(r, "", "application/json", "text/plain", "application/cloudevents+json", "text/json; charset=utf-8", "Application/JSON"),
		DataSchema:      pick(r, "", "https://example.com/schema/1"),
	}
	switch r.IntN(3) {
	case 0:
		e.Time = time.UnixMilli(r.time()).UTC()
	case 1:
		e.Time = time.Unix(r.time()/1000, r.Int64N(1e9)).In(time.FixedZone("", 60*(r.IntN(1440)-720)))
	}
	switch r.IntN(4) {
	case 0:
	case 1:
		t := r.transaction()
		e.Data = AppendTransaction(nil, &t)
	default:
		e.Data = []byte(pick(r, `"a string"`, "null", "1.50", ` {"a": [1, 2]} `, "{", `{"a":1,"a":2}`, "\x00\xff", r.text(30)+"x", strings.Repeat("[", MaxDepth)+strings.Repeat("]", MaxDepth)))
	}
	for i := range r.IntN(5) {
		e.Extensions = append(e.Extensions, Extension{string(rune('a'+i)) + pick(r, "", "1", "ext"), attribute()})
	}
	return e
}

// sameTime compares times as RFC 3339 writes them.
var sameTime = cmp.Comparer(func(a, b time.Time) bool {
	return a.Format(time.RFC3339Nano) == b.Format(time.RFC3339Nano)
})

func TestJSONRoundTrip(t *testing.T) {
	const seed = 11
	r := random{rand.New(rand.NewPCG(seed, seed))}
	for range 600 {
		want := r.event()
		if err := want.Validate(); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		data := want.AppendJSON(nil)
		if !json.Valid(data) {
			t.Fatalf("no JSON: %s", data)
		}
		var got Event
		if err := got.ParseJSON(data); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if diff := cmp.Diff(want, got, sameTime); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", data, diff)
		}

		// The SDK reads the same event, if not the same bytes of JSON data.
		var ce event.Event
		if err := json.Unmarshal(data, &ce); err != nil {
			t.Fatalf("the SDK refuses %s: %v", data, err)
		}
		fromSDK, err := FromCloudEvent(ce)
		if err != nil {
			t.Fatalf("from the SDK: %v in %s", err, data)
		}
		if diff := cmp.Diff(want, fromSDK, sameTime); diff != "" {
			t.Fatalf("%s (-written +read by the SDK):\n%s", data, diff)
		}
	}
}

func TestCloudEventRoundTrip(t *testing.T) {
	const seed = 13
	r := random{rand.New(rand.NewPCG(seed, seed))}
	for range 300 {
		want := r.event()
		ce, err := want.CloudEvent()
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if err := ce.Validate(); err != nil && want.DataContentType != "" {
			t.Fatalf("the SDK refuses %+v: %v", want, err)
		}
		got, err := FromCloudEvent(ce)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(want.Extensions, func(a, b Extension) int { return strings.Compare(a.Name, b.Name) })
		if diff := cmp.Diff(want, got, sameTime); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}

		// What the SDK writes in structured mode reads back as well.
		data, err := json.Marshal(ce)
		if err != nil {
			continue // it does not write JSON data that is none
		}
		var again Event
		err = again.ParseJSON(data)
		if strict := strictjson.Valid(string(data), MaxDepth+1); strict != (err == nil) {
			t.Fatalf("%v in %s", err, data)
		}
		if err != nil {
			continue // the data has the same name twice, which the SDK does not mind
		}
		again.Data, want.Data = nil, nil // spaces in JSON data
		if want.DataContentType == "" {
			again.DataContentType = ""
		}
		slices.SortFunc(again.Extensions, func(a, b Extension) int { return strings.Compare(a.Name, b.Name) })
		if diff := cmp.Diff(want, again, sameTime, cmp.Transformer("utc", func(e Event) Event { e.Time = e.Time.UTC(); return e })); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", data, diff)
		}
	}
}

func TestFromCloudEventConvertsValues(t *testing.T) {
	ce := event.New("0.3")
	ce.SetID("i")
	ce.SetSource("/s")
	ce.SetType("t")
	ce.SetExtension("int", 7)
	ce.SetExtension("flag", true)
	ce.SetExtension("bytes", []byte{1, 2, 255})
	ce.SetExtension("partitionkey", "k")
	ce.SetExtension("at", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	got, err := FromCloudEvent(ce)
	if err != nil {
		t.Fatal(err)
	}
	want := Event{
		ID: "i", Source: "/s", Type: "t", Key: "k",
		Extensions: []Extension{{"at", "2026-01-02T03:04:05Z"}, {"bytes", "AQL/"}, {"flag", "true"}, {"int", "7"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := FromCloudEvent(event.Event{}); err == nil {
		t.Error("an event without a context was converted")
	}
}

func TestValidate(t *testing.T) {
	many := make([]Extension, MaxExtensions+1)
	for i := range many {
		many[i] = Extension{Name: "x" + strings.Repeat("a", i)}
	}
	for _, test := range []struct {
		name   string
		change func(*Event)
		want   string // "" when valid
	}{
		{"as it is", func(*Event) {}, ""},
		{"only what is required", func(e *Event) { *e = Event{ID: "i", Source: "s", Type: "t"} }, ""},
		{"no id", func(e *Event) { e.ID = "" }, "id is missing"},
		{"no source", func(e *Event) { e.Source = "" }, "source is missing"},
		{"no type", func(e *Event) { e.Type = "" }, "type is missing"},
		{"space in the source", func(e *Event) { e.Source = "a b" }, "source is no URI reference"},
		{"schema", func(e *Event) { e.DataSchema = "<x>" }, "dataschema is no URI"},
		{"long subject", func(e *Event) { e.Subject = strings.Repeat("s", MaxAttributeBytes+1) }, "subject is longer than 1024 bytes"},
		{"bad UTF-8", func(e *Event) { e.Key = "\xff" }, "partitionkey has invalid UTF-8"},
		{"newline", func(e *Event) { e.ID = "a\nb" }, "id must not contain control characters"},
		{"C1", func(e *Event) { e.ID = "a\u009fb" }, "id must not contain control characters"},
		{"no-break space", func(e *Event) { e.ID = "a\u00a0b" }, ""},
		{"year 10000", func(e *Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "time is out of the range of RFC 3339"},
		{"much data", func(e *Event) { e.Data = make([]byte, MaxDataBytes+1) }, "data is longer than 1048576 bytes"},
		{"upper case extension", func(e *Event) { e.Extensions[0].Name = "Ext" }, `extension "Ext" must have a name of a-z and 0-9 that is no attribute's`},
		{"extension named as an attribute", func(e *Event) { e.Extensions[0].Name = "subject" }, `extension "subject" must have a name of a-z and 0-9 that is no attribute's`},
		{"extension without a name", func(e *Event) { e.Extensions[0].Name = "" }, `extension "" must have a name of a-z and 0-9 that is no attribute's`},
		{"extension twice", func(e *Event) { e.Extensions[1].Name = ExtTask }, "datasurgetask occurs twice"},
		{"NUL in an extension", func(e *Event) { e.Extensions[0].Value = "\x00" }, "datasurgetask must not contain control characters"},
		{"many extensions", func(e *Event) { e.Extensions = many }, "extensions are more than 64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := testEvent()
			test.change(&e)
			err := e.Validate()
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if _, ok := errors.AsType[*InvalidError](err); !ok || err.Error() != "invalid event: "+test.want {
				t.Errorf("error is %v, want %s", err, test.want)
			}
			if _, err := e.CloudEvent(); err == nil {
				t.Error("CloudEvent converted it")
			}
		})
	}
}

func TestIsJSON(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "application/json": true, "text/json": true, "application/json; charset=utf-8": true, "application/cloudevents+json": true,
		"text/plain": false, "Application/JSON": false, "application/jsonx": false, "application/xjson": false, "image/json": false,
		"application/+json": false, "json": false, "application/x.y+json": false,
	} {
		if IsJSON(s) != want {
			t.Errorf("IsJSON(%q) = %v", s, !want)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	const rest = `"source":"/s","type":"t"}`
	for text, want := range map[string]string{
		`[]`:                                                                             "$ must be an object, not an array",
		`{"id":"i",` + rest:                                                              "$.specversion must be 1.0",
		`{"specversion":"1.1","id":"i",` + rest:                                          "$.specversion must be 1.0",
		`{"specversion":1.0,"id":"i",` + rest:                                            "$.specversion must be a string, not a number",
		`{"specversion":"1.0",` + rest:                                                   "$.id is missing",
		`{"specversion":"1.0","id":null,` + rest:                                         "$.id must be a string, not null",
		`{"specversion":"1.0","id":"i","id":"i",` + rest:                                 "$.id occurs twice",
		`{"specversion":"1.0","id":"i","type":"t"}`:                                      "$.source is missing",
		`{"specversion":"1.0","id":"i","source":"/s"}`:                                   "$.type is missing",
		`{"specversion":"1.0","id":"i","source":"a b","type":"t"}`:                       "$.source is no URI reference",
		`{"specversion":"1.0","id":"i","time":"yesterday",` + rest:                       "$.time is no time as RFC 3339 writes it",
		`{"specversion":"1.0","id":"i","dataschema":"a b",` + rest:                       "$.dataschema is no URI",
		`{"specversion":"1.0","id":"i","Ext":"x",` + rest:                                "$.Ext must have a name of a-z and 0-9",
		`{"specversion":"1.0","id":"i","my-ext":"x",` + rest:                             `$["my-ext"] must have a name of a-z and 0-9`,
		`{"specversion":"1.0","id":"i","data":1,"data_base64":"",` + rest:                "$.data_base64 and data must not both be there",
		`{"specversion":"1.0","id":"i","data_base64":"?",` + rest:                        "$.data_base64 is no base64",
		`{"specversion":"1.0","id":"i","data_base64":1,` + rest:                          "$.data_base64 must be a string, not a number",
		`{"specversion":"1.0","id":"i","datacontenttype":"text/plain","data":{},` + rest: "$.data must be a string, since datacontenttype is not JSON's",
		`{"specversion":"0.3","id":"i","datacontentencoding":"gzip","data":"",` + rest:   "$.datacontentencoding must be base64, and data a string",
		`{"specversion":"1.0","id":"i",` + rest + "x":                                    "$ is not valid JSON: more text after the end of the value at byte 55",
	} {
		var e Event
		if err := e.ParseJSON([]byte(text)); err == nil || err.Error() != "invalid event: "+want {
			t.Errorf("%s: error is\n%v, want\n%s", text, err, want)
		}
	}
}

// FuzzParseJSON: for every input nothing panics, and an event that is accepted
// is the same after AppendJSON and ParseJSON.
func FuzzParseJSON(f *testing.F) {
	e := testEvent()
	f.Add(e.AppendJSON(nil))
	f.Add([]byte(`{"specversion":"0.3","id":"i","source":"/s","type":"t","datacontentencoding":"base64","data":"AP8=","schemaurl":"x"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"","source":"","type":"","data":null,"x":{"a":[1]},"y":null,"z":7,"time":"2026-01-02T03:04:05.10+02:00"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Event
		if first.ParseJSON(data) != nil {
			return
		}
		text := first.AppendJSON(nil)
		if err := second.ParseJSON(text); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if diff := cmp.Diff(first, second, sameTime); diff != "" {
			t.Fatalf("%s (-first +second):\n%s", text, diff)
		}
	})
}
