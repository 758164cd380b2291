package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Produce writes records to topic, acknowledged by all in-sync replicas, and
// returns when all are written. A record's partition is that of its key, as
// Java's clients would choose it.
func (b Backend) Produce(t testing.TB, topic string, records ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(b.Opts(kgo.DefaultProduceTopic(topic))...)
	if err != nil {
		t.Fatalf("kafkatest: new client: %v", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("kafkatest: produce to %s: %v", topic, err)
	}
}

// ReadCommitted reads topic as a read_committed consumer does and returns every
// record from the start of each partition to its last stable offset, as both
// are when it is called, ordered by partition and offset. A transaction that is
// open is not waited for, and hides what others committed behind its first record
// in a partition.
//
// It does not guess when all has been read. An end offset that no record ever
// has, because the log ends in a marker, in aborted records, or in some that
// were compacted away, is reached like any other.
func (b Backend) ReadCommitted(t testing.TB, topic string) []*kgo.Record {
	t.Helper()
	return b.read(t, topic, (*kadm.Client).ListCommittedOffsets, (*reader).reachedEnd, (*reader).position)
}

// ReadDecided is [Backend.ReadCommitted] after the end of all transactions that
// had written to topic when it was called: whatever was committed before is seen,
// also while others write. It fails the test when one stays open for a minute.
func (b Backend) ReadDecided(t testing.TB, topic string) []*kgo.Record {
	t.Helper()
	return b.read(t, topic, (*kadm.Client).ListEndOffsets, (*reader).reachedEnd, (*reader).position)
}

// AwaitCommitted reads topic like [Backend.ReadCommitted], but goes on until it
// has seen n records, and fails the test when they have not come in a minute.
// It may return more than n, if more are there.
func (b Backend) AwaitCommitted(t testing.TB, topic string, n int) []*kgo.Record {
	t.Helper()
	return b.read(t, topic, (*kadm.Client).ListCommittedOffsets, func(r *reader) bool { return len(r.records) >= n }, func(r *reader) string {
		return fmt.Sprintf("got %d committed records, want %d", len(r.records), n)
	})
}

// listOffsets lists an offset of each partition of topics.
type listOffsets func(*kadm.Client, context.Context, ...string) (kadm.ListedOffsets, error)

// read reads topic from its start until done; ends is where its partitions end for
// the reader. When patience is at an end it fails the test and says how far it
// came, by the words of progress.
func (b Backend) read(t testing.TB, topic string, ends listOffsets, done func(*reader) bool, progress func(*reader) string) []*kgo.Record {
	t.Helper()
	adm, closeAdmin := b.admin(t)
	defer closeAdmin()
	cl, err := kgo.NewClient(b.Opts()...)
	if err != nil {
		t.Fatalf("kafkatest: new client: %v", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	r := &reader{cl: cl, adm: adm, topic: topic}
	for started := false; ; {
		var err error
		if !started {
			err = r.start(ctx, ends)
			started = err == nil
		}
		for err == nil && !done(r) {
			err = r.poll(ctx)
		}
		if err == nil {
			break
		}
		// A broker that is being killed, or a partition that moves to another
		// one: look for the leaders again until patience is at an end.
		select {
		case <-ctx.Done():
			t.Fatalf("kafkatest: read %s: %s: %v", topic, progress(r), err)
		case <-time.After(100 * time.Millisecond):
		}
		if started {
			_ = r.findLeaders(ctx) // the next poll says what is wrong
		}
	}
	slices.SortFunc(r.records, func(x, y *kgo.Record) int {
		return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	})
	return r.records
}

// reader reads one topic with fetch requests of its own making. kgo's consumer
// would not do: it tells its position only by the records that it returns, so
// the end of a log that ends in something else cannot be seen.
type reader struct {
	cl    *kgo.Client
	adm   *kadm.Client
	topic string

	id      [16]byte          // the topic's id, which newer fetch requests go by
	leaders map[int32][]int32 // broker to the partitions that it leads
	next    map[int32]int64   // partition to the offset to read next
	end     map[int32]int64   // partition to where it ended at the start
	records []*kgo.Record
}

// start notes where each partition begins and ends.
func (r *reader) start(ctx context.Context, list listOffsets) error {
	if err := r.settle(ctx); err != nil {
		return fmt.Errorf("wait for transactions that are ending: %w", err)
	}
	if err := r.findLeaders(ctx); err != nil {
		return err
	}
	starts, err := r.adm.ListStartOffsets(ctx, r.topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := list(r.adm, ctx, r.topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	r.next, r.end = map[int32]int64{}, map[int32]int64{}
	starts.Each(func(o kadm.ListedOffset) { r.next[o.Partition] = o.Offset })
	ends.Each(func(o kadm.ListedOffset) { r.end[o.Partition] = o.Offset })
	return nil
}

// settle waits for the transactions that are ending now. Kafka answers the end
// of a transaction once it has been decided, and writes the markers that make it
// visible afterwards.
func (r *reader) settle(ctx context.Context) error {
	var ending map[string]bool // by transactional id; nil before the first look
	for {
		now, err := r.adm.ListTransactions(ctx, nil, []string{"PrepareCommit", "PrepareAbort"})
		if err != nil {
			return err
		}
		if ending == nil {
			ending = make(map[string]bool, len(now))
			for id := range now {
				ending[id] = true
			}
		}
		// Others may end transactions all the time: those that were not ending
		// at the first look do not count.
		for id := range ending {
			if _, still := now[id]; !still {
				delete(ending, id)
			}
		}
		if len(ending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// findLeaders notes who leads which partition.
func (r *reader) findLeaders(ctx context.Context) error {
	topics, err := r.adm.ListTopics(ctx, r.topic)
	if err != nil {
		return fmt.Errorf("look up the topic: %w", err)
	}
	detail := topics[r.topic]
	if err := errors.Join(detail.Err, topics.Error()); err != nil {
		return fmt.Errorf("look up the topic: %w", err)
	}
	r.id, r.leaders = detail.ID, map[int32][]int32{}
	for _, p := range detail.Partitions.Sorted() {
		if p.Err != nil {
			return fmt.Errorf("look up the leader of partition %d: %w", p.Partition, p.Err)
		}
		r.leaders[p.Leader] = append(r.leaders[p.Leader], p.Partition)
	}
	return nil
}

func (r *reader) position() string { return fmt.Sprintf("reached offsets %v of %v", r.next, r.end) }

func (r *reader) reachedEnd() bool {
	for p, end := range r.end {
		if r.next[p] < end {
			return false
		}
	}
	return true
}

// poll asks each leader once for what is next. A leader with nothing to tell
// answers after a moment, so that no one needs to pause between polls.
func (r *reader) poll(ctx context.Context) error {
	for leader, partitions := range r.leaders {
		if err := r.fetch(ctx, leader, partitions); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) fetch(ctx context.Context, leader int32, partitions []int32) error {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 100
	req.MinBytes = 1
	req.MaxBytes = 64 << 20
	req.IsolationLevel = 1 // read_committed
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = r.topic, r.id
	for _, p := range partitions {
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition = p
		rp.FetchOffset = r.next[p]
		rp.CurrentLeaderEpoch = -1
		rp.PartitionMaxBytes = 16 << 20
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)

	answer, err := r.cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return fmt.Errorf("fetch from broker %d: %w", leader, err)
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("fetch from broker %d: %w", leader, err)
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			rp := &resp.Topics[i].Partitions[j]
			if errors.Is(kerr.ErrorForCode(rp.ErrorCode), kerr.OffsetOutOfRange) && r.next[rp.Partition] < rp.LogStartOffset {
				r.next[rp.Partition] = rp.LogStartOffset // deleted or compacted meanwhile
				continue
			}
			fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				Offset:         r.next[rp.Partition],
				IsolationLevel: kgo.ReadCommitted(),
				Topic:          r.topic,
				Partition:      rp.Partition,
			}, rp, kgo.DefaultDecompressor(), nil)
			r.records = append(r.records, fetched.Records...)
			r.next[rp.Partition] = next
			if fetched.Err != nil {
				return fmt.Errorf("fetch partition %d from broker %d: %w", rp.Partition, leader, fetched.Err)
			}
		}
	}
	return nil
}
