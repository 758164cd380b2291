package source

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"datasurge/knative"
)

const (
	// commitEvery is the pause between two commits (auto.commit.interval.ms).
	commitEvery = 5 * time.Second
	// commitTimeout bounds one (default.api.timeout.ms).
	commitTimeout = 2 * time.Second
	// maxPartitionBytes is max.partition.fetch.bytes.
	maxPartitionBytes = 65536
)

// randomGroup names the group of a source that names none.
func randomGroup() string { return "knative-kafka-source-" + strings.ToLower(rand.Text()) }

// connect sets the group's missing positions and makes the client that polls.
func (d *Dispatcher) connect(ctx context.Context) error {
	boot, err := kgo.NewClient(d.kafka...)
	if err != nil {
		return err
	}
	defer boot.Close()
	positions, err := d.positions(ctx, kadm.NewClient(boot))
	if err != nil {
		return err
	}
	isolation := kgo.ReadCommitted()
	if d.spec.Uncommitted {
		isolation = kgo.ReadUncommitted()
	}
	opts := append([]kgo.Opt{
		kgo.FetchIsolationLevel(isolation),
		kgo.FetchMaxPartitionBytes(maxPartitionBytes),
		kgo.FetchMaxWait(500 * time.Millisecond),
		// Positions are set for all partitions; one that is out of range, or of a
		// partition that came later, begins at the start.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, d.kafka...)
	if d.alone {
		opts = append(opts, kgo.ConsumePartitions(positions))
	} else {
		opts = append(opts,
			kgo.ConsumerGroup(d.group), kgo.ConsumeTopics(d.spec.Topics...),
			kgo.Balancers(kgo.StickyBalancer()),
			kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(3*time.Second),
			kgo.RebalanceTimeout(rebalanceTimeout(&d.spec.Delivery)),
			// A static member does not leave when its client is closed; see leave.
			kgo.InstanceID(d.member),
			kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.OnPartitionsRevoked(d.revoked), kgo.OnPartitionsLost(d.forget),
		)
	}
	if d.client, err = kgo.NewClient(opts...); err != nil {
		return err
	}
	d.admin = kadm.NewClient(d.client)
	if !d.spec.Reply.ToTopic() {
		return nil
	}
	d.replies, err = kgo.NewClient(append([]kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(maxRequest),
		kgo.RecordDeliveryTimeout(maxBlock),
	}, d.kafka...)...)
	if err != nil {
		d.client.Close()
	}
	return err
}

const (
	// maxRequest bounds a reply that is written to a topic, in bytes
	// (max.request.size).
	maxRequest = 1 << 20
	// maxBlock bounds how long that takes (max.block.ms).
	maxBlock = time.Minute
)

// rebalanceTimeout is max.poll.interval.ms as the data plane computes it: so
// long that a consumer that waits for its subscriber is never put out.
func rebalanceTimeout(delivery *knative.Delivery) time.Duration {
	longest := time.Duration(math.MaxInt32) * time.Millisecond
	one := float64(delivery.Timeout)
	for n := 1; n <= delivery.Retry; n++ {
		one += float64(delivery.Timeout) + float64(delivery.Pause(n)) + float64(time.Second)
	}
	if all := 2 * maxPoll * one; all < float64(longest) {
		return time.Duration(all).Truncate(time.Millisecond)
	}
	return longest
}

// positions returns where each partition is to be read from, and commits those
// of partitions that the group has not read yet when they begin at the end:
// what is produced from now on is not missed by a source that polls later.
func (d *Dispatcher) positions(ctx context.Context, admin *kadm.Client) (map[string]map[int32]kgo.Offset, error) {
	topics := d.spec.Topics
	listed, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if l, ok := listed[t]; !ok || l.Err != nil {
			return nil, d.spec.Object.Errorf("spec.topics", "there is no topic %q: declare it with a KafkaTopic, or make it on the broker", t)
		}
	}
	committed, err := d.committed(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("positions of group %s: %w", d.group, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of topics: %w", err)
	}
	starting := make(map[string]map[int32]kgo.Offset)
	missing := make(kadm.Offsets)
	ends.Each(func(end kadm.ListedOffset) {
		if starting[end.Topic] == nil {
			starting[end.Topic] = make(map[int32]kgo.Offset)
		}
		offset := kgo.NewOffset().AtStart()
		if c, ok := committed.Lookup(end.Topic, end.Partition); ok && c.At >= 0 {
			offset = kgo.NewOffset().At(c.At)
		} else if d.spec.Latest {
			offset = kgo.NewOffset().At(end.Offset)
			missing.AddOffset(end.Topic, end.Partition, end.Offset, -1)
		}
		starting[end.Topic][end.Partition] = offset
	})
	if len(missing) > 0 {
		if err := admin.CommitAllOffsets(ctx, d.group, missing); err != nil {
			return nil, fmt.Errorf("set the positions of group %s: %w", d.group, err)
		}
	}
	return starting, nil
}

// askAgain is the pause before a broker is asked again that cannot answer yet.
const askAgain = 200 * time.Millisecond

// committed returns the group's positions. On a Kafka that has just been started
// nobody coordinates groups before the topic of positions is made, which may take
// longer than a client tries by itself.
func (d *Dispatcher) committed(ctx context.Context, admin *kadm.Client) (kadm.OffsetResponses, error) {
	for {
		committed, err := admin.FetchOffsetsForTopics(ctx, d.group, d.spec.Topics...)
		if err == nil {
			err = committed.Error()
		}
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return committed, nil
		}
		if !kerr.IsRetriable(err) {
			return nil, err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// commitRegularly commits until the dispatcher is closed.
func (d *Dispatcher) commitRegularly() {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.commit()
		case <-d.stopCommits:
			return
		}
	}
}

// commit commits the positions that have moved. A failure is logged: the next
// commit includes it.
func (d *Dispatcher) commit() {
	d.mu.Lock()
	var moved []*partition
	offsets := make(kadm.Offsets)
	for _, p := range d.mu.partitions {
		if p.next != p.committed {
			moved = append(moved, p)
			offsets.AddOffset(p.topic, p.number, p.next, -1)
		}
	}
	d.mu.Unlock()
	if len(moved) == 0 {
		return
	}
	if err := d.commitOffsets(offsets); err != nil {
		d.log.Warn("cannot commit the position, events may come again", "group", d.group, "error", err)
		return
	}
	d.mu.Lock()
	for _, p := range moved {
		if o, ok := offsets.Lookup(p.topic, p.number); ok {
			p.committed = o.At
		}
	}
	d.mu.Unlock()
}

func (d *Dispatcher) commitOffsets(offsets kadm.Offsets) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if d.alone {
		return d.admin.CommitAllOffsets(ctx, d.group, offsets)
	}
	positions := make(map[string]map[int32]kgo.EpochOffset)
	offsets.Each(func(o kadm.Offset) {
		if positions[o.Topic] == nil {
			positions[o.Topic] = make(map[int32]kgo.EpochOffset)
		}
		positions[o.Topic][o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.At}
	})
	var failed error
	d.client.CommitOffsetsSync(ctx, positions, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				failed = cmp.Or(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	return failed
}

// leave leaves the group. Without it a member is in the group until its session
// has timed out.
func (d *Dispatcher) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	d.client.AllowRebalance()
	err := d.client.LeaveGroupContext(ctx) // ends the heartbeats
	if err == nil {
		var left kadm.LeaveGroupResponses
		left, err = d.admin.LeaveGroup(ctx, kadm.LeaveGroup(d.group).InstanceIDs(d.member).Reason("the source is closed"))
		if err == nil {
			err = left.Error()
		}
	}
	if err != nil {
		d.log.Warn("cannot leave the group, which waits for the member's session to time out", "group", d.group, "error", err)
	}
}

// revoked commits what is finished of partitions that another member gets.
// Their events under way go on, and come to the new owner again.
func (d *Dispatcher) revoked(_ context.Context, client *kgo.Client, lost map[string][]int32) {
	if !d.killed.Load() {
		d.commit()
	}
	d.drop(client, lost)
}

// forget drops partitions that another member has already.
func (d *Dispatcher) forget(_ context.Context, client *kgo.Client, lost map[string][]int32) {
	d.drop(client, lost)
}

// drop drops partitions: results of events under way no longer matter. Should
// they come back they are not paused.
func (d *Dispatcher) drop(client *kgo.Client, lost map[string][]int32) {
	client.ResumeFetchPartitions(lost)
	d.mu.Lock()
	defer d.mu.Unlock()
	for topic, partitions := range lost {
		for _, p := range partitions {
			key := topicPartition{topic, p}
			delete(d.mu.partitions, key)
			if q := d.mu.queues[key]; q != nil {
				q.records = nil
				delete(d.mu.queues, key)
			}
		}
	}
}
