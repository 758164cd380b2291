package kafkarecord

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// sameTime compares times as RFC 3339 writes them; no data is empty data, since
// binary mode cannot tell one from the other.
var sameEvent = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool { return a.Format(time.RFC3339Nano) == b.Format(time.RFC3339Nano) }),
	cmpopts.EquateEmpty(),
}

// byName sorts extensions, for what comes out of a map.
var byName = cmpopts.SortSlices(func(a, b events.Extension) bool { return a.Name < b.Name })

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomEvent makes a valid event of any shape.
func randomEvent(r *rand.Rand) events.Event {
	text := func() string {
		alphabet := []rune("abcXYZ019 _-./\"\\%\u00e9\u65e5\U0001f600")
		var b strings.Builder
		for range r.IntN(20) {
			b.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		return strings.TrimSpace(b.String()) // the SDK trims attributes
	}
	e := events.Event{
		ID: "i" + text(), Source: pick(r, "/datasurge/enrich", "urn:x:1", "https://example.com/a?b=c#d"), Type: "t" + text(),
		Subject: text(), Key: text(),
		DataContentType: pick(r, "", "application/json", "text/plain", "text/json", "Application/JSON"),
		DataSchema:      pick(r, "", "https://example.com/schema/1"),
		Data:            pick(r, nil, []byte(`{"a": [1.50]}`), []byte(" 1"), []byte("\x00\xff"), []byte("{")),
	}
	switch r.IntN(3) {
	case 0:
		e.Time = time.UnixMilli(r.Int64N(4e12)).UTC()
	case 1:
		e.Time = time.Unix(r.Int64N(4e9), r.Int64N(1e9)).In(time.FixedZone("", 60*(r.IntN(1440)-720)))
	}
	names := []string{events.ExtTask, events.ExtWatermark, events.ExtTopic, events.ExtPartition, events.ExtOffset, "key", "traceparent", "x", "y2"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:r.IntN(len(names))] {
		e.Extensions = append(e.Extensions, events.Extension{Name: name, Value: text()})
	}
	return e
}

// checkRoundTrip writes e in both modes and reads it back: directly, and by way
// of the SDK. That the SDK reads the same is asked for when sdk is set: it
// normalizes URIs and refuses some content types that Knative does not.
func checkRoundTrip(t *testing.T, want events.Event, sdk bool) {
	t.Helper()
	modes := map[string]func(*events.Event, *kgo.Record){"binary": Write, "structured": WriteStructured}
	for name, write := range modes {
		rec := kgo.Record{Topic: "t", Partition: 3, Offset: 7, Headers: make([]kgo.RecordHeader, 1, 40), Key: []byte("old"), Value: []byte("old")}
		write(&want, &rec)
		if string(rec.Key) != want.Key || (rec.Key == nil) != (want.Key == "") {
			t.Fatalf("%s: key is %q, want %q", name, rec.Key, want.Key)
		}
		var got events.Event
		if err := Read(&rec, &got, Mapping{CloudEventsOnly: true}); err != nil {
			t.Fatalf("%s: %v: %+v", name, err, want)
		}
		if diff := cmp.Diff(want, got, sameEvent); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", name, diff)
		}
		if !sdk {
			continue
		}
		ce, err := binding.ToEvent(t.Context(), NewMessage(&rec))
		if err != nil {
			t.Fatalf("%s: the SDK: %v", name, err)
		}
		if got, err = events.FromCloudEvent(*ce); err != nil {
			t.Fatalf("%s: from the SDK: %v", name, err)
		}
		if diff := cmp.Diff(want, got, sameEvent, byName); diff != "" {
			t.Fatalf("%s (-written +read by the SDK):\n%s", name, diff)
		}
	}
}

func TestWriteThenReadIsIdentity(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, seed))
	for range 1000 {
		e := randomEvent(r)
		if err := e.Validate(); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		checkRoundTrip(t, e, true)
	}
}

// What WriteRecord makes of an event of the SDK, Read reads as FromCloudEvent
// converts it, in both modes, and from a record of the other mode too.
func TestWriteRecord(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, seed))
	for range 300 {
		want := randomEvent(r)
		if want.DataContentType == "Application/JSON" {
			want.DataContentType = "" // JSON to the SDK, not so to Knative
		}
		if want.Data = []byte(`{"a":1}`); want.DataContentType == "text/plain" {
			want.Data = []byte("\"é\"\n") // bytes that are no UTF-8 the SDK spoils when it makes binary structured
		}
		ce, err := want.CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		for name, ctx := range map[string]context.Context{
			"binary":     binding.WithForceBinary(t.Context()),
			"structured": binding.WithForceStructured(t.Context()),
		} {
			var rec kgo.Record
			if err := WriteRecord(ctx, binding.ToMessage(&ce), &rec); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			check := func(rec *kgo.Record) {
				t.Helper()
				if string(rec.Key) != want.Key {
					t.Fatalf("%s: key is %q, want %q", name, rec.Key, want.Key)
				}
				var got events.Event
				if err := Read(rec, &got, Mapping{CloudEventsOnly: true}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				// The SDK writes times in UTC, and no content type is JSON's.
				want, got := want, got
				want.Time, got.Time = want.Time.UTC(), got.Time.UTC()
				if want.DataContentType == "" {
					got.DataContentType = ""
				}
				if diff := cmp.Diff(want, got, sameEvent, byName); diff != "" {
					t.Fatalf("%s (-written +read):\n%s", name, diff)
				}
			}
			check(&rec)
			for _, again := range []context.Context{binding.WithForceBinary(t.Context()), binding.WithForceStructured(t.Context()), t.Context()} {
				var copied kgo.Record
				if err := WriteRecord(again, NewMessage(&rec), &copied); err != nil {
					t.Fatalf("%s, copied: %v", name, err)
				}
				check(&copied)
			}
		}
	}
}

func TestMessageMetadata(t *testing.T) {
	rec := &kgo.Record{Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("i")}, {Key: "ce_source", Value: []byte("/s")},
		{Key: "ce_type", Value: []byte("t")}, {Key: "content-type", Value: []byte("text/plain")}, {Key: "ce_ext", Value: []byte("first")},
		{Key: "ce_ext", Value: []byte("second")}, {Key: "ce_null", Value: nil},
	}}
	m := NewMessage(rec)
	if _, v := m.GetAttribute(spec.DataContentType); v != "text/plain" {
		t.Errorf("datacontenttype is %v", v)
	}
	if a, v := m.GetAttribute(spec.Subject); a == nil || v != nil {
		t.Errorf("subject is %v, %v; want the attribute and no value", a, v)
	}
	if v := m.GetExtension("ext"); v != "second" {
		t.Errorf("extension is %v", v)
	}
	if v := m.GetExtension("null"); v != nil {
		t.Errorf("extension of a null header is %v", v)
	}
	if err := m.ReadStructured(t.Context(), nil); !errors.Is(err, binding.ErrNotStructured) {
		t.Errorf("ReadStructured: %v", err)
	}
	// A transformer may take an extension away again.
	var out kgo.Record
	remove := binding.TransformerFunc(func(_ binding.MessageMetadataReader, w binding.MessageMetadataWriter) error {
		return w.SetExtension("ext", nil)
	})
	if err := WriteRecord(t.Context(), m, &out, remove); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(out.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_ext" }) {
		t.Errorf("the extension is still there: %v", out.Headers)
	}
	if NewMessage(&kgo.Record{}).ReadEncoding() != binding.EncodingUnknown {
		t.Error("a plain record has an encoding")
	}
}

func TestReadPlain(t *testing.T) {
	rec := &kgo.Record{
		Topic: "financial_transactions", Partition: 3, Offset: 17, Timestamp: time.UnixMilli(1767323045678),
		Key: []byte("user_1"), Value: []byte("{}"),
		Headers: []kgo.RecordHeader{{Key: "X-Trace.ID", Value: []byte("a")}, {Key: "null"}, {Key: "Content-Type", Value: []byte("Application/JSON")}},
	}
	want := events.Event{
		ID: "partition:3/offset:17", Type: "dev.knative.kafka.event", Subject: "partition:3#17",
		Source: "/apis/v1/namespaces/default/kafkasources/datasurge#financial_transactions",
		Time:   time.UnixMilli(1767323045678).UTC(), DataContentType: "application/json", Key: "user_1", Data: []byte("{}"),
		Extensions: []events.Extension{{Name: "key", Value: "user_1"}, {Name: "kafkaheaderxtraceid", Value: "a"}},
	}
	var got events.Event
	if err := Read(rec, &got, Mapping{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := Read(rec, &got, Mapping{CloudEventsOnly: true}); !errors.Is(err, ErrNoCloudEvent) {
		t.Errorf("with CloudEventsOnly: %v", err)
	}
	if err := Read(rec, &got, Mapping{Namespace: "pay", Name: "in", Place: true}); err != nil {
		t.Fatal(err)
	}
	if got.Source != "/apis/v1/namespaces/pay/kafkasources/in#financial_transactions" ||
		got.Extension(events.ExtPartition) != "3" || got.Extension(events.ExtOffset) != "17" {
		t.Errorf("with names and place: %+v", got)
	}
}

// A record of 100,000 headers takes no time that a sender could use against us.
func TestReadManyHeaders(t *testing.T) {
	rec := &kgo.Record{Topic: "t"}
	for i := range 100_000 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: fmt.Sprint("h", i%50_000), Value: []byte{byte('0' + i/50_000)}})
	}
	var e events.Event
	if err := Read(rec, &e, Mapping{}); err != nil {
		t.Fatal(err)
	}
	if len(e.Extensions) != 50_000 {
		t.Errorf("%d extensions, want one for each name", len(e.Extensions))
	}
	for _, x := range e.Extensions {
		if x.Value != "1" {
			t.Fatalf("%s is %s, want its last value", x.Name, x.Value)
		}
	}
}

func TestJavaFloat(t *testing.T) {
	for _, test := range []struct {
		f    float64
		bits int
		want string
	}{
		{0, 64, "0.0"}, {math.Copysign(0, -1), 64, "-0.0"}, {1, 64, "1.0"}, {-1.5, 64, "-1.5"}, {0.001, 64, "0.001"}, {0.00099, 64, "9.9E-4"},
		{9999999, 64, "9999999.0"}, {1e7, 64, "1.0E7"}, {1.25e10, 64, "1.25E10"}, {1e-10, 64, "1.0E-10"}, {math.MaxFloat64, 64, "1.7976931348623157E308"},
		{math.Inf(1), 64, "Infinity"}, {math.Inf(-1), 64, "-Infinity"}, {math.NaN(), 64, "NaN"}, {float64(float32(0.1)), 32, "0.1"}, {3.4028234663852886e38, 32, "3.4028235E38"},
	} {
		if got := string(appendJavaFloat(nil, test.f, test.bits)); got != test.want {
			t.Errorf("%v is %s, want %s", test.f, got, test.want)
		}
	}
}

func TestFloatKeys(t *testing.T) {
	for key, want := range map[string]string{
		"\x3f\xc0\x00\x00":                 "1.5",
		"\x40\x45\x00\x00\x00\x00\x00\x00": "42.0",
		"abc":                              "abc",
	} {
		var e events.Event
		if err := Read(&kgo.Record{Key: []byte(key)}, &e, Mapping{KeyType: KeyFloat}); err != nil || e.Key != want {
			t.Errorf("key %q is %q, want %q", key, e.Key, want)
		}
	}
}

func TestOriginal(t *testing.T) {
	rec := &kgo.Record{
		Topic: "t", Partition: 1, Offset: 2, Timestamp: time.UnixMilli(3), Key: []byte("k"), Value: []byte("v"),
		Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}, {Key: "null"}},
	}
	want := events.Original{
		Topic: "t", Partition: 1, Offset: 2, Timestamp: 3, Key: []byte("k"), Value: []byte("v"),
		Headers: []events.Header{{Name: "h", Value: []byte("x")}, {Name: "null"}},
	}
	if diff := cmp.Diff(want, Original(rec)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzRead: for every record, with up to three headers and any bytes,
//
//   - nothing panics, and Read returns an event;
//   - the strings of the event are valid UTF-8 as far as headers and key go;
//   - each extension is there once and has a valid name;
//   - the event has either the record's type TypePlain and id, or all that
//     Read with CloudEventsOnly gives;
//   - if the event is valid, Write and Read give the same event in both modes.
func FuzzRead(f *testing.F) {
	f.Add("ce_specversion", []byte("1.0"), "ce_id", []byte("i"), "ce_x", []byte("\xff"), []byte("k"), []byte("v"), true)
	f.Add("content-type", []byte("application/cloudevents+json"), "a", []byte("b"), "A-", []byte("c"), []byte{}, []byte(`{"specversion":"1.0","id":"i","source":"/s","type":"t","data":1.50}`), false)
	f.Add("ce_time", []byte("2026-01-02T03:04:05.10+02:00"), "ce_Ext", []byte(""), "ce_specversion", []byte("0.3"), []byte{0, 0, 0, 1}, []byte{}, true)
	f.Fuzz(func(t *testing.T, n1 string, v1 []byte, n2 string, v2 []byte, n3 string, v3 []byte, key, value []byte, complete bool) {
		rec := &kgo.Record{Topic: "t", Partition: 1, Offset: 2, Timestamp: time.UnixMilli(3), Key: key, Value: value}
		if complete {
			for _, h := range [...][2]string{{"ce_specversion", "1.0"}, {"ce_id", "i"}, {"ce_source", "/s"}, {"ce_type", "t"}} {
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
			}
		}
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: n1, Value: v1}, kgo.RecordHeader{Key: n2, Value: v2}, kgo.RecordHeader{Key: n3, Value: v3})
		for _, m := range []Mapping{{}, {KeyType: KeyInt, Place: true, Reserialize: true}, {KeyType: KeyFloat}, {KeyType: KeyBytes}} {
			var e, strict events.Event
			if err := Read(rec, &e, m); err != nil {
				t.Fatal(err)
			}
			m.CloudEventsOnly = true
			if err := Read(rec, &strict, m); err == nil {
				if diff := cmp.Diff(strict, e); diff != "" {
					t.Fatalf("with CloudEventsOnly (-strict +not):\n%s", diff)
				}
			} else if e.ID != "partition:1/offset:2" || e.Type != events.TypePlain || string(e.Data) != string(value) {
				t.Fatalf("not the event of a plain record: %+v", e)
			}
			seen := map[string]bool{}
			for _, x := range e.Extensions {
				if seen[x.Name] || !events.IsExtensionName(x.Name) {
					t.Fatalf("extension %q", x.Name)
				}
				seen[x.Name] = true
			}
			for _, s := range []string{e.ID, e.Source, e.Type, e.Subject, e.Key, e.DataContentType, e.DataSchema} {
				if strings.ToValidUTF8(s, "") != s {
					t.Fatalf("invalid UTF-8 in %+v", e)
				}
			}
			if e.Validate() == nil {
				checkRoundTrip(t, e, false)
			}
		}
	})
}

// TestReadIntoUsedEvent: nothing of an event that was read before shows in the
// next one that is read into it.
func TestReadIntoUsedEvent(t *testing.T) {
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	attributes := []kgo.RecordHeader{header("ce_specversion", "1.0"), header("ce_id", "1"), header("ce_source", "/s"), header("ce_type", "t")}
	records := []*kgo.Record{
		{Headers: append(slices.Clone(attributes), header("ce_one", "1"), header("ce_two", "2"), header("ce_three", "3"))},
		{Headers: append(slices.Clone(attributes), header("ce_four", "4"))},
		{Headers: attributes},
		{Headers: append(slices.Clone(attributes), header("ce_not-a-name", "5"))},
		{Key: []byte("k"), Value: []byte("{}"), Headers: []kgo.RecordHeader{header("x", "y")}},
		{Headers: append(slices.Clone(attributes), header("ce_two", "6"), header("ce_one", "7"))},
	}
	var used events.Event
	for i, rec := range records {
		var fresh events.Event
		if err := Read(rec, &fresh, Mapping{Place: true}); err != nil {
			t.Fatal(err)
		}
		if err := Read(rec, &used, Mapping{Place: true}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fresh, used); diff != "" {
			t.Errorf("record %d (-fresh +used):\n%s", i, diff)
		}
	}
}
