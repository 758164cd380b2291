package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream/kafkatest"
)

func TestSingleNodeKeepsItsDataThroughKillAndStop(t *testing.T) {
	c := kafkatest.SingleNode(t)
	c.CreateTopic(t, "topic", 1, nil)
	var want []string
	write := func(value string) {
		t.Helper()
		c.Produce(t, "topic", &kgo.Record{Value: []byte(value)})
		want = append(want, "0:"+value)
	}
	write("before the kill")
	c.Kill(t, 1)
	c.Start(t, 1)
	write("before the stop")
	c.Stop(t, 1)
	c.Start(t, 1)
	write("at the end")
	if diff := cmp.Diff(want, values(c.ReadCommitted(t, "topic"))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestClusterLosesNothingWhenALeaderIsKilled writes through the death and the
// return of a leader, with transactions and without: every record that was
// acknowledged or committed is there once, and no other.
func TestClusterLosesNothingWhenALeaderIsKilled(t *testing.T) {
	c := kafkatest.Start3x3(t)
	if want := []int32{1, 2, 3}; !slices.Equal(c.IDs(), want) {
		t.Fatalf("brokers %v, want %v", c.IDs(), want)
	}
	for _, topic := range []string{"plain", "transactions"} {
		c.CreateTopic(t, topic, 3, nil)
	}
	victim := c.Leader(t, "transactions", 0)

	load := startLoad(t, c.Backend)
	load.await(20)
	c.Kill(t, victim)
	load.await(20)
	if leader := c.Leader(t, "transactions", 0); leader == victim {
		t.Errorf("broker %d is dead and leads partition 0", victim)
	}
	c.Start(t, victim)
	load.await(20)
	plain, transactions := load.stop()

	check := func(topic string, want []string) {
		t.Helper()
		got := values(c.ReadCommitted(t, topic))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-acknowledged +read):\n%s", topic, diff)
		}
		t.Logf("%s: %d records", topic, len(got))
	}
	check("plain", plain)
	check("transactions", transactions)
}

// load writes records until it is stopped, ten a round to each of the two topics.
type load struct {
	t      *testing.T
	rounds atomic.Int64
	moved  chan struct{} // poked after each round
	cancel context.CancelFunc
	done   chan error

	plain, transactions []string // what was acknowledged, readable once done
}

func startLoad(t *testing.T, b kafkatest.Backend) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, moved: make(chan struct{}, 1), cancel: cancel, done: make(chan error, 1)}
	manual := kgo.RecordPartitioner(kgo.ManualPartitioner())
	// The first produce of a transaction may be told CONCURRENT_TRANSACTIONS while
	// the markers of the one before are being written. kgo tries again after a
	// look at the metadata, which it allows itself every five seconds by default.
	soon := kgo.MetadataMinAge(20 * time.Millisecond)
	plain := b.Client(t, manual, soon, kgo.DefaultProduceTopic("plain"))
	transactions := b.Client(t, manual, soon, kgo.DefaultProduceTopic("transactions"), kgo.TransactionalID("load"))
	go func() {
		for round := 0; ctx.Err() == nil; round++ {
			if err := l.round(t.Context(), round, plain, transactions); err != nil {
				l.done <- err
				return
			}
			l.rounds.Add(1)
			select {
			case l.moved <- struct{}{}:
			default:
			}
		}
		l.done <- nil
	}()
	return l
}

// round writes ten records to each topic. Every other transaction is preceded by
// one that is aborted.
func (l *load) round(ctx context.Context, round int, plain, transactions *kgo.Client) error {
	batch := func(note string) (records []*kgo.Record, names []string) {
		for i := range 10 {
			r := &kgo.Record{Partition: int32(i % 3), Value: []byte(strconv.Itoa(round) + note + strconv.Itoa(i))}
			records = append(records, r)
			names = append(names, fmt.Sprintf("%d:%s", r.Partition, r.Value))
		}
		return records, names
	}
	records, names := batch("-plain-")
	if err := plain.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("round %d: %w", round, err)
	}
	l.plain = append(l.plain, names...)

	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if end == kgo.TryAbort && round%2 == 0 {
			continue
		}
		records, names := batch(map[kgo.TransactionEndTry]string{kgo.TryAbort: "-aborted-", kgo.TryCommit: "-committed-"}[end])
		if err := errors.Join(
			transactions.BeginTransaction(),
			transactions.ProduceSync(ctx, records...).FirstErr(),
			transactions.EndTransaction(ctx, end),
		); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if end == kgo.TryCommit {
			l.transactions = append(l.transactions, names...)
		}
	}
	return nil
}

// await returns when n more rounds have been written.
func (l *load) await(n int64) {
	l.t.Helper()
	for target := l.rounds.Load() + n; l.rounds.Load() < target; {
		select {
		case <-l.moved:
		case err := <-l.done:
			l.t.Fatalf("the load has ended: %v", err)
		}
	}
}

// stop ends the load and returns what it has written to each topic.
func (l *load) stop() (plain, transactions []string) {
	l.t.Helper()
	l.cancel()
	if err := <-l.done; err != nil {
		l.t.Fatal(err)
	}
	return l.plain, l.transactions
}
