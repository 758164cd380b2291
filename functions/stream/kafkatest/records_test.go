package kafkatest_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream/kafkatest"
)

// producer is a transactional producer that gives each record's outcome at once.
type producer struct {
	*kgo.Client
	t     *testing.T
	topic string
}

func newProducer(t *testing.T, b kafkatest.Backend, topic, id string) producer {
	t.Helper()
	return producer{t: t, topic: topic, Client: b.Client(t,
		kgo.TransactionalID(b.Name(t, id)),
		kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)}
}

func (p producer) begin(partition int32, values ...string) {
	p.t.Helper()
	if err := p.BeginTransaction(); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range values {
		if err := p.ProduceSync(p.t.Context(), &kgo.Record{Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p producer) end(how kgo.TransactionEndTry) {
	p.t.Helper()
	if err := p.EndTransaction(p.t.Context(), how); err != nil {
		p.t.Fatal(err)
	}
}

func values(records []*kgo.Record) []string {
	var got []string
	for _, r := range records {
		got = append(got, fmt.Sprintf("%d:%s", r.Partition, r.Value))
	}
	return got
}

func TestReadCommittedSeesWhatIsCommittedAndNoMore(t *testing.T) {
	b := kafkatest.Brokers(t)
	topic := b.Name(t, "topic")
	b.CreateTopic(t, topic, 2, nil)
	if got := values(b.ReadCommitted(t, topic)); got != nil {
		t.Errorf("an empty topic: got %v", got)
	}
	one, two := newProducer(t, b, topic, "one"), newProducer(t, b, topic, "two")

	one.begin(0, "a", "b")
	one.end(kgo.TryCommit)
	want := []string{"0:a", "0:b"}
	if diff := cmp.Diff(want, values(b.ReadCommitted(t, topic))); diff != "" {
		t.Errorf("ends in a marker (-want +got):\n%s", diff)
	}

	one.begin(0, "c")
	one.end(kgo.TryAbort)
	if diff := cmp.Diff(want, values(b.ReadCommitted(t, topic))); diff != "" {
		t.Errorf("ends in an aborted record (-want +got):\n%s", diff)
	}

	// The last stable offset of partition 1 is that of d: e is committed, but no
	// reader may have it before d is decided. f is on another partition.
	one.begin(1, "d")
	two.begin(1, "e")
	two.end(kgo.TryCommit)
	two.begin(0, "f")
	two.end(kgo.TryCommit)
	want = []string{"0:a", "0:b", "0:f"}
	if diff := cmp.Diff(want, values(b.ReadCommitted(t, topic))); diff != "" {
		t.Errorf("behind an open transaction (-want +got):\n%s", diff)
	}
	ended := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() { ended <- one.EndTransaction(t.Context(), kgo.TryAbort) })
	want = []string{"0:a", "0:b", "0:f", "1:e"}
	if diff := cmp.Diff(want, values(b.ReadDecided(t, topic))); diff != "" {
		t.Errorf("ReadDecided, with an open transaction (-want +got):\n%s", diff)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, values(b.ReadCommitted(t, topic))); diff != "" {
		t.Errorf("all is decided (-want +got):\n%s", diff)
	}
}

func TestAwaitCommittedWaitsForRecordsToCome(t *testing.T) {
	b := kafkatest.Brokers(t)
	topic := b.Name(t, "topic")
	b.CreateTopic(t, topic, 3, nil)
	b.Produce(t, topic, &kgo.Record{Key: []byte("k"), Value: []byte("first")})

	later := newProducer(t, b, topic, "later")
	later.begin(2, "second")
	committed := make(chan error, 1)
	time.AfterFunc(50*time.Millisecond, func() {
		committed <- later.EndTransaction(context.WithoutCancel(t.Context()), kgo.TryCommit)
	})
	if got := b.AwaitCommitted(t, topic, 2); len(got) != 2 {
		t.Errorf("got %v, want two records", values(got))
	}
	if err := <-committed; err != nil {
		t.Error(err)
	}
}

func TestReadCommittedReadsManyFetchesLong(t *testing.T) {
	b := kafkatest.Brokers(t)
	topic := b.Name(t, "topic")
	b.CreateTopic(t, topic, 4, nil)
	const n = 50_000
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte(strconv.Itoa(i % 100)), Value: make([]byte, 1000)}
	}
	b.Produce(t, topic, records...)
	if got := len(b.ReadCommitted(t, topic)); got != n {
		t.Errorf("read %d records, want %d", got, n)
	}
}

func TestNamesAreTheTestsOwn(t *testing.T) {
	b := kafkatest.Brokers(t)
	name := b.Name(t, "enriched")
	t.Run("a name, with: everything/that Kafka refuses", func(t *testing.T) {
		b.CreateTopic(t, b.Name(t, "enriched"), 1, nil)
		if b.Name(t, "enriched") == name {
			t.Error("a subtest has the name of its parent")
		}
	})
	if again := b.Name(t, "enriched"); again != name {
		t.Errorf("the same name twice: %q and %q", name, again)
	}
}

// TestVirtualTransactionsOverFakeHours has a producer commit a transaction
// every ten minutes, and a consumer of a group read them, for six fake hours.
func TestVirtualTransactionsOverFakeHours(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		topic := b.Name(t, "topic")
		b.CreateTopic(t, topic, 2, nil)
		begun := time.Now()

		consumer := b.Client(t,
			kgo.ConsumerGroup(b.Name(t, "group")),
			kgo.ConsumeTopics(topic),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		)
		var got []string
		const transactions = 6 * 6
		seen := make(chan struct{})
		go func() {
			defer close(seen)
			for len(got) < transactions {
				fetches := consumer.PollFetches(t.Context())
				if err := fetches.Err(); err != nil {
					t.Error(err)
					return
				}
				fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
			}
		}()

		p := newProducer(t, b, topic, "producer")
		var want []string
		for i := range transactions {
			time.Sleep(5 * time.Minute)
			p.begin(int32(i%2), "aborted")
			p.end(kgo.TryAbort)
			time.Sleep(5 * time.Minute)
			p.begin(int32(i%2), strconv.Itoa(i))
			p.end(kgo.TryCommit)
			want = append(want, strconv.Itoa(i))
		}
		<-seen
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what the consumer saw (-want +got):\n%s", diff)
		}
		if passed := time.Since(begun); passed < 6*time.Hour {
			t.Errorf("%v passed, want six hours", passed)
		}
	})
}
