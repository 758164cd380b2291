package kafkatxn_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/kafkatxn"
	"datasurge/functions/stream/kafkatest"
)

// A record that is acknowledged before the client has made its topic's partitions
// known is committed. A second record, which takes a second to partition, keeps
// them unknown for that long.
func TestCommitBeforePartitionsAreKnown(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		const topic = "new"
		b.CreateTopic(t, topic, 2, nil)
		dial := b.Dial()
		client := b.Client(t,
			kgo.TransactionalID("id"),
			kgo.DefaultProduceTopic(topic),
			// The topic is not looked up before both records are there.
			kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(time.Millisecond)
				return dial(ctx, network, addr)
			}),
			kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
				return func(rec *kgo.Record, _ int) int {
					if string(rec.Value) == "slow" {
						time.Sleep(time.Second)
						return 1
					}
					return 0
				}
			})),
		)
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		acknowledged := make(chan error, 1)
		client.Produce(t.Context(), kgo.StringRecord("quick"), func(_ *kgo.Record, err error) { acknowledged <- err })
		client.Produce(t.Context(), kgo.StringRecord("slow"), nil)
		begun := time.Now()
		if err := <-acknowledged; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took >= time.Second {
			t.Fatalf("the record was acknowledged after %v, when the partitions were known", took)
		}
		if err := kafkatxn.Commit(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		records := b.ReadCommitted(t, topic)
		if len(records) == 0 || string(records[0].Value) != "quick" {
			t.Errorf("read %d records, want the one that was acknowledged", len(records))
		}
	})
}
