// Package source does what a consumer of Knative's Kafka data plane does: it
// reads topics for a KafkaSource, a Subscription of a KafkaChannel or a Trigger
// of a Broker, and has each record delivered by package dispatch.
//
// Emulated: ordered and unordered delivery with the data plane's bounds (250
// events/s, 99 in flight, when it polls and when not); isolation; commits of the
// finished prefix every five seconds; initialOffset; membership of a consumer
// group with its rebalances, or all partitions without one; a poll whose plain
// records are lost by one null header; partitions that stop for ever.
//
// There are two ways to end. Close is what the data plane does when the resource
// is removed or changed: requests under way end and are committed. Kill is what
// it does on SIGTERM and SIGKILL: connections are cut, nothing is committed, and
// the member does not leave its group.
//
// A dispatcher has one goroutine that polls (unordered.go, ordered.go), one for
// each event under way (deliver.go) and one that commits (consumer.go). What
// they share, positions and counts, is guarded by one mutex.
package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/dispatch"
	"datasurge/events/kafkarecord"
)

// Config is what a dispatcher is opened with.
type Config struct {
	Spec Spec
	// Kafka connects to the brokers.
	Kafka []kgo.Opt
	// Alone reads all partitions without joining the consumer group, whose
	// positions are used all the same. It is for the embedded broker, where a
	// member that is killed stays in its group.
	Alone bool
	// Pace multiplies the data plane's bounds on delivery: as if the source were
	// placed on that many dispatchers. Default is 1, what a cluster does with up
	// to 20 consumers.
	Pace int
	// Transport sends the requests, as a dispatch.Transport does. It must not
	// follow redirects.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Dispatcher delivers the events of one consumer.
type Dispatcher struct {
	spec      Spec
	kafka     []kgo.Opt
	alone     bool
	pace      int
	log       *slog.Logger
	group     string
	member    string // of the group
	client    *kgo.Client
	admin     *kadm.Client
	replies   *kgo.Client // nil: there are none to write
	deliverer *dispatch.Deliverer
	dead      limiter

	stopPolling context.CancelFunc
	cut         context.CancelFunc // ends requests under way
	requests    context.Context
	polling     sync.WaitGroup
	underWay    sync.WaitGroup
	committing  sync.WaitGroup
	stopCommits chan struct{}
	ended       sync.Once
	killed      atomic.Bool

	delivered, failed, deadLetters, lost, filtered, stuck atomic.Int64
	latencies                                             latencies

	mu struct {
		sync.Mutex
		partitions map[topicPartition]*partition
		queues     map[topicPartition]*queue // ordered delivery only
		inFlight   int
		freed      chan struct{} // capacity 1; sent to when an event has ended
	}
}

type topicPartition struct {
	topic     string
	partition int32
}

// Open reads the group's positions, sets those that are missing, and starts to
// deliver. ctx bounds only that.
func Open(ctx context.Context, cfg Config) (*Dispatcher, error) {
	d := &Dispatcher{
		spec: cfg.Spec, kafka: cfg.Kafka, alone: cfg.Alone, pace: max(1, cfg.Pace), log: cfg.Logger,
		group: cfg.Spec.Group, member: rand.Text(), stopCommits: make(chan struct{}),
	}
	if d.group == "" {
		d.group = randomGroup()
	}
	d.log = d.log.With("source", d.spec.Object.Name)
	d.mu.partitions = make(map[topicPartition]*partition)
	d.mu.queues = make(map[topicPartition]*queue)
	d.mu.freed = make(chan struct{}, 1)
	if err := d.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", d.spec.Object, err)
	}
	egress := cfg.Spec.Egress
	egress.Namespace = cfg.Spec.Object.Namespace
	d.deliverer = dispatch.New(dispatch.Config{
		Egress:  egress,
		Mapping: kafkarecord.Mapping{Namespace: cfg.Spec.Object.Namespace, Name: cfg.Spec.Object.Name, KeyType: cfg.Spec.KeyType},
		Plain:   cfg.Spec.PlainRecords, Transport: cfg.Transport,
		Topic: cfg.Spec.Topics[0], Produce: d.produce,
		Failed: func() { d.failed.Add(1) },
	})
	var polls context.Context
	polls, d.stopPolling = context.WithCancel(context.Background())
	d.requests, d.cut = context.WithCancel(context.Background())
	if cfg.Spec.Ordered {
		d.polling.Go(func() { d.pollOrdered(polls) })
	} else {
		d.polling.Go(func() { d.pollUnordered(polls) })
	}
	d.committing.Go(d.commitRegularly)
	return d, nil
}

// Close ends the delivery. What is under way may end by itself, with its
// repetitions, until ctx is done; then it is cut, and comes again when a
// dispatcher is opened next. Records that wait are dropped, and the position is
// committed. It may be called more than once, and after Kill.
func (d *Dispatcher) Close(ctx context.Context) {
	d.ended.Do(func() {
		// 1. No more records.
		d.stopPolling()
		d.polling.Wait()
		// 2. Those under way end or are cut. Commits go on meanwhile.
		ended := make(chan struct{})
		go func() {
			d.underWay.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-ctx.Done():
			d.cut()
			<-ended
		}
		d.cut()
		// 3. The last commit, when no other can follow.
		close(d.stopCommits)
		d.committing.Wait()
		d.commit()
		if !d.alone {
			d.leave()
		}
		d.closeClients()
	})
}

// Remove is Close, and then what the control plane does when the resource is
// deleted: it deletes the consumer group, with its positions. The error says that
// the group is still there.
func (d *Dispatcher) Remove(ctx context.Context) error {
	d.Close(ctx)
	client, err := kgo.NewClient(d.kafka...)
	if err != nil {
		return err
	}
	defer client.Close()
	const attempts = 5
	for n := 1; ; n++ {
		_, err := kadm.NewClient(client).DeleteGroup(ctx, d.group)
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if n == attempts || ctx.Err() != nil {
			return fmt.Errorf("%s: delete the group %s: %w", d.spec.Object, d.group, err)
		}
	}
}

// Kill ends the delivery at once, as the data plane does on SIGTERM. Requests
// under way are cut, nothing is committed, and the group learns of it when the
// member's session has timed out. What came since the last commit comes again.
// It may be called more than once, and after Close.
func (d *Dispatcher) Kill() {
	d.ended.Do(func() {
		d.killed.Store(true)
		d.stopPolling()
		d.cut()
		close(d.stopCommits)
		d.polling.Wait()
		d.underWay.Wait()
		d.committing.Wait()
		d.closeClients()
	})
}

func (d *Dispatcher) closeClients() {
	d.client.CloseAllowingRebalance()
	if d.replies != nil {
		d.replies.Close()
	}
}

// Stats is what a dispatcher has done since it was opened.
type Stats struct {
	Delivered   int64 // events that the subscriber has taken
	Failed      int64 // attempts that failed
	DeadLetters int64
	Lost        int64 // also records that are no events
	Filtered    int64 // events that the filter did not take
	Stuck       int64 // events that never end, and hold up their partitions
	InFlight    int
	Latencies   Latencies // first attempt to success
	// Next is the position: by topic and partition the first offset that is not
	// known to be done. A partition without records is not there.
	Next map[string]map[int32]int64
}

// Stats returns the present counts.
func (d *Dispatcher) Stats() Stats {
	s := Stats{
		Delivered: d.delivered.Load(), Failed: d.failed.Load(), DeadLetters: d.deadLetters.Load(), Lost: d.lost.Load(),
		Filtered: d.filtered.Load(), Stuck: d.stuck.Load(),
		Latencies: d.latencies.snapshot(), Next: make(map[string]map[int32]int64),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.InFlight = d.mu.inFlight
	for key, p := range d.mu.partitions {
		if s.Next[key.topic] == nil {
			s.Next[key.topic] = make(map[int32]int64)
		}
		s.Next[key.topic][key.partition] = p.next
	}
	return s
}
