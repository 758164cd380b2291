package stream

import (
	"errors"
	"reflect"
	"testing"

	"datasurge/functions/step"
)

func exampleMeta() *meta {
	w := inputWatermark{outside: step.MinWatermark, value: 1_700_000_000_000}
	for range 16 {
		w.upstreams = append(w.upstreams, upstream{heard: true, watermark: 1_700_000_000_000})
	}
	return &meta{
		owner: "10.1.2.3:8080", commit: 12345, settings: 0xfeedface,
		inputs: []metaInput{{"scored_transactions", 1 << 40, w}, {"aggregate_partials", 1 << 40, w}, {"transaction_labels", 7, w}},
	}
}

func TestMetaIsReadBack(t *testing.T) {
	want := exampleMeta()
	got, err := parseMeta(want.append(nil))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("read back %+v (%v), want %+v", got, err, want)
	}
}

func TestMetaIsSmall(t *testing.T) {
	if n := len(exampleMeta().append(nil)); n > 1024 {
		t.Fatalf("the meta record of three inputs behind 16 tasks has %d bytes, want at most 1024", n)
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add(exampleMeta().append(nil))
	f.Add([]byte{metaVersion + 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMeta(data)
		if err != nil {
			if len(data) > 0 && data[0] > metaVersion && !errors.Is(err, step.ErrNewerVersion) {
				t.Fatalf("a newer version was refused as %v", err)
			}
			return
		}
		again, err := parseMeta(m.append(nil))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v was read back as %+v (%v)", m, again, err)
		}
	})
}
