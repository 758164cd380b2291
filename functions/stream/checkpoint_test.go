package stream

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestCheckpoint(t *testing.T) {
	m := exampleMeta()
	for _, test := range []struct {
		name string
		rec  kgo.Record
		want map[string]int64
	}{
		{"end of a commit", kgo.Record{Key: []byte{kindMeta}, Value: m.append(nil)},
			map[string]int64{"scored_transactions": 1 << 40, "aggregate_partials": 1 << 40, "transaction_labels": 7}},
		{"owner", kgo.Record{Key: []byte{kindOwner}, Value: m.append(nil)}, nil},
		{"tombstone", kgo.Record{Key: []byte{kindMeta}}, nil},
		{"no key", kgo.Record{Value: m.append(nil)}, nil},
		{"newer binary", kgo.Record{Key: []byte{kindMeta}, Value: []byte{metaVersion + 1}}, nil},
	} {
		got, ok := Checkpoint(&test.rec)
		if diff := cmp.Diff(test.want, got); diff != "" || ok != (test.want != nil) {
			t.Errorf("%s: ok is %v (-want +got):\n%s", test.name, ok, diff)
		}
	}
}
