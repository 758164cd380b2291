// Package kafkatxn ends Kafka transactions so that what was acknowledged in them
// is committed.
package kafkatxn

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Commit commits client's transaction. Everything produced in it must have been
// flushed, and none of it may have failed.
//
// EndTransaction alone may abort and return nil. It commits when it finds, among
// the partitions that the client knows, one that was produced to; but of a topic
// that the client produces to for the first time, the records are sent just before
// its partitions are made known (storePartitionsUpdate in
// kgo/topics_and_partitions.go, v1.22.2). When the broker is faster than the
// goroutine in between, EndTransaction finds nothing to commit.
func Commit(ctx context.Context, client *kgo.Client) error {
	// Nothing is buffered, so nothing is aborted. It takes the lock that is held
	// until the partitions are known.
	if err := client.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}
