// Package offsets finds out where topics begin and end.
package offsets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Offsets are one of each partition, by topic.
type Offsets map[string]map[int32]int64

// Begins returns the offsets from which topics can be read. Of a topic that is not
// there, the error names it and is kerr.UnknownTopicOrPartition, here and below.
func Begins(ctx context.Context, admin *kadm.Client, topics ...string) (Offsets, error) {
	listed, err := admin.ListStartOffsets(ctx, topics...)
	return collect("begin", listed, err)
}

// After returns the offsets of the first records that were written at a time or
// later; where there are none, the end.
func After(ctx context.Context, admin *kadm.Client, at time.Time, topics ...string) (Offsets, error) {
	listed, err := admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topics...)
	return collect("records of "+at.Format(time.DateTime), listed, err)
}

// Ends returns the offsets before which nothing is open any more: that is how far
// a reader with read_committed gets.
func Ends(ctx context.Context, admin *kadm.Client, topics ...string) (Offsets, error) {
	listed, err := admin.ListCommittedOffsets(ctx, topics...)
	return collect("end", listed, err)
}

// Written returns the offsets after the last records that are there, also those of
// transactions that are open.
func Written(ctx context.Context, admin *kadm.Client, topics ...string) (Offsets, error) {
	listed, err := admin.ListEndOffsets(ctx, topics...)
	return collect("end", listed, err)
}

func collect(what string, listed kadm.ListedOffsets, err error) (Offsets, error) {
	if err != nil {
		return nil, fmt.Errorf("find the %s of topics: %w", what, err)
	}
	all := make(Offsets)
	for topic, partitions := range listed {
		all[topic] = make(map[int32]int64)
		for p, o := range partitions {
			switch {
			case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
				return nil, fmt.Errorf("there is no topic %q: %w", topic, o.Err)
			case o.Err != nil:
				return nil, fmt.Errorf("find the %s of partition %d of topic %q: %w", what, p, topic, o.Err)
			}
			all[topic][p] = o.Offset
		}
	}
	return all, nil
}
