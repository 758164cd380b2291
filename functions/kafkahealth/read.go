package kafkahealth

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readWithin bounds how long partitions may give nothing before they are left.
const readWithin = 5 * time.Second

// read calls f with each record of the partitions between the given offsets, as
// read_committed sees them, with the markers of transactions, until f says that
// it is done with the partition. It returns the partitions of which it could not
// read as much.
//
// A client of its own is simpler to reason about than one that is told to seek
// every few seconds, and costs a connection to each broker.
func (l *Loop) read(ctx context.Context, from, to offsets, f func(partition, *kgo.Record) (done bool)) (unread map[partition]bool, err error) {
	unread = map[partition]bool{}
	consume := map[string]map[int32]kgo.Offset{}
	for p, offset := range from {
		if consume[p.topic] == nil {
			consume[p.topic] = map[int32]kgo.Offset{}
		}
		consume[p.topic][p.id] = kgo.NewOffset().At(offset)
		unread[p] = true
	}
	if len(unread) == 0 {
		return unread, nil
	}
	client, err := kgo.NewClient(append(slices.Clone(l.config.Kafka),
		kgo.ClientID("datasurge-kafka-health"),
		kgo.ConsumePartitions(consume),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(4<<20),
		kgo.FetchMaxPartitionBytes(64<<10),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return unread, err
	}
	defer client.Close()
	for len(unread) > 0 {
		within, cancel := context.WithTimeout(ctx, readWithin)
		fetches := client.PollFetches(within)
		cancel()
		if err := fetches.Err(); err != nil {
			return unread, err
		}
		for rec := range fetches.RecordsAll() {
			p := partition{rec.Topic, rec.Partition}
			if !unread[p] {
				continue // fetched before it was done
			}
			if rec.Offset >= to[p] || f(p, rec) || rec.Offset+1 == to[p] {
				delete(unread, p)
				client.PauseFetchPartitions(map[string][]int32{p.topic: {p.id}})
			}
		}
	}
	return unread, nil
}
