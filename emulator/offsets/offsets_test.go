package offsets

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream/kafkatest"
)

func TestOffsets(t *testing.T) {
	b := kafkatest.Brokers(t)
	topic := b.Name(t, "topic")
	b.CreateTopic(t, topic, 2, nil)
	at := time.Now().Truncate(time.Millisecond)
	var records []*kgo.Record
	for i := range 3 {
		records = append(records, &kgo.Record{Value: []byte("v"), Timestamp: at.Add(time.Duration(i) * time.Second)})
	}
	b.Produce(t, topic, records...)
	open := b.Client(t, kgo.TransactionalID(b.Name(t, "open")), kgo.DefaultProduceTopic(topic))
	if err := open.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := open.ProduceSync(t.Context(), &kgo.Record{Value: []byte("v"), Timestamp: at}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(b.Client(t))
	ctx := t.Context()
	for name, c := range map[string]struct {
		find func() (Offsets, error)
		want int64 // in both partitions together
	}{
		"begins":  {func() (Offsets, error) { return Begins(ctx, admin, topic) }, 0},
		"ends":    {func() (Offsets, error) { return Ends(ctx, admin, topic) }, 3},
		"written": {func() (Offsets, error) { return Written(ctx, admin, topic) }, 4},
		"later":   {func() (Offsets, error) { return After(ctx, admin, at.Add(time.Hour), topic) }, 4},
		"before":  {func() (Offsets, error) { return After(ctx, admin, at.Add(-time.Hour), topic) }, 0},
	} {
		got, err := c.find()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != 1 || len(got[topic]) != 2 || got[topic][0]+got[topic][1] != c.want {
			t.Errorf("%s: %v, want %d in both partitions of %s", name, got, c.want, topic)
		}
	}
}

// A topic that is not there is named.
func TestNoTopic(t *testing.T) {
	b := kafkatest.Brokers(t)
	there, absent := b.Name(t, "there"), b.Name(t, "absent")
	b.CreateTopic(t, there, 1, nil)
	b.Produce(t, there, &kgo.Record{Value: []byte("v")}) // waits until the topic is known, which a Kafka takes a moment for
	admin := kadm.NewClient(b.Client(t))
	after := func(ctx context.Context, admin *kadm.Client, topics ...string) (Offsets, error) {
		return After(ctx, admin, time.UnixMilli(0), topics...)
	}
	for name, find := range map[string]func(context.Context, *kadm.Client, ...string) (Offsets, error){"begins": Begins, "ends": Ends, "written": Written, "after": after} {
		got, err := find(t.Context(), admin, there, absent)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), `there is no topic "`+absent+`"`) {
			t.Errorf("%s: error %v", name, err)
		}
		if diff := cmp.Diff(Offsets(nil), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
