package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// abortOpen aborts the transactions that are open, by taking over their ids.
func abortOpen(ctx context.Context, client *kgo.Client, txns kadm.ListedTransactions) error {
	for _, t := range txns.Sorted() {
		if t.State != "Ongoing" {
			continue
		}
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = &t.TxnID
		req.TransactionTimeoutMillis = 10_000
		resp, err := req.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("abort the open transaction of %s: %w", t.TxnID, err)
		}
	}
	return nil
}

// writeAbortMarkers writes an abort marker of every transactional id to every
// partition that has records, or only to those of compacted topics. A marker
// where no transaction is open means nothing to a reader.
func writeAbortMarkers(ctx context.Context, admin *kadm.Client, txns kadm.ListedTransactions, all bool) error {
	if len(txns) == 0 {
		return nil
	}
	partitions, err := partitionsToMark(ctx, admin, all)
	if err != nil || len(partitions) == 0 {
		return err
	}
	described, err := admin.DescribeTransactions(ctx, txns.TransactionalIDs()...)
	if err != nil {
		return fmt.Errorf("describe transactions: %w", err)
	}
	var markers []kadm.TxnMarkers
	for _, t := range described.Sorted() {
		if t.Err != nil {
			return fmt.Errorf("describe transactions of %s: %w", t.TxnID, t.Err)
		}
		markers = append(markers, kadm.TxnMarkers{ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch, Topics: partitions})
	}
	written, err := admin.WriteTxnMarkers(ctx, markers...)
	if err != nil {
		return fmt.Errorf("write abort markers: %w", err)
	}
	for _, w := range written.SortedPartitions() {
		if w.Err != nil {
			return fmt.Errorf("write an abort marker to partition %d of %s: %w", w.Partition, w.Topic, w.Err)
		}
	}
	return nil
}

// partitionsToMark returns the partitions that have records, of all topics or of
// compacted ones.
func partitionsToMark(ctx context.Context, admin *kadm.Client, all bool) (kadm.TopicsSet, error) {
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	topics := make([]string, 0, len(ends))
	for t := range ends {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	compacted := make(map[string]bool)
	if !all && len(topics) > 0 {
		configs, err := admin.DescribeTopicConfigs(ctx, topics...)
		if err != nil {
			return nil, fmt.Errorf("describe topics: %w", err)
		}
		for _, c := range configs {
			for _, kv := range c.Configs {
				if kv.Key == "cleanup.policy" && kv.Value != nil {
					compacted[c.Name] = slices.Contains(strings.Split(*kv.Value, ","), "compact")
				}
			}
		}
	}
	set := make(kadm.TopicsSet)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 && (all || compacted[o.Topic]) {
			set.Add(o.Topic, o.Partition)
		}
	})
	return set, nil
}
