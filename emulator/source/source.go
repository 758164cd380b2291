// Package source does what the dispatcher of a KafkaSource does: it reads topics
// and delivers each record as a CloudEvent by HTTP.
//
// Emulated: mapping of records (package kafkarecord), binary mode with Prefer
// and Kn-Namespace, header values in Latin-1, overrides; result classes, retries
// with both backoffs, timeouts, dead letters with the knativeerror extensions;
// ordered and unordered delivery with the data plane's bounds (250 events/s, 99
// in flight); read_committed; commits of the finished prefix every five seconds;
// initialOffset; membership of a consumer group, or all partitions without one.
//
// Different from the data plane: Close is what it does when a source is removed
// (requests under way are waited for and the position is committed). On SIGTERM
// it stops at once and commits nothing.
//
// Not yet: records whose header has a null value (the data plane discards the
// plain records of the whole poll), specversion 0.3 (it stays 0.3 there),
// stopping a partition after an answer whose kne- header is no extension name.
//
// Refused by the manifests' reader: TLS, SASL, OIDC, KEDA.
//
// A dispatcher has one goroutine that polls (unordered.go, ordered.go), one for
// each event under way (delivery.go) and one that commits (consumer.go). What
// they share, positions and counts, is guarded by one mutex.
package source

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/knative"
)

// Config is what a dispatcher is opened with.
type Config struct {
	Source *knative.KafkaSource
	// Kafka connects to the brokers.
	Kafka []kgo.Opt
	// Alone reads all partitions without joining the consumer group, whose
	// positions are used all the same. It is for the embedded broker, where a
	// member that is killed stays in its group.
	Alone bool
	Sink  Target
	// Pace multiplies the data plane's bounds on delivery: as if the source were
	// placed on that many dispatchers. Default is 1, what a cluster does with up
	// to 20 consumers.
	Pace int
	// DeadLetter gets what could not be delivered; nil: it is lost.
	DeadLetter *Target
	// Transport sends the requests. It must not follow redirects.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Dispatcher delivers the events of one KafkaSource.
type Dispatcher struct {
	cfg       Config
	group     string
	mapping   kafkarecord.Mapping
	overrides []attribute
	client    *kgo.Client
	admin     *kadm.Client
	sender    sender
	loss      limiter
	dead      limiter

	stopPolling context.CancelFunc
	cut         context.CancelFunc // ends requests under way
	requests    context.Context
	polling     sync.WaitGroup
	underWay    sync.WaitGroup
	committing  sync.WaitGroup
	stopCommits chan struct{}
	closed      sync.Once

	delivered, failed, deadLetters, lost atomic.Int64
	latencies                            latencies

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
		cfg:   cfg,
		group: cfg.Source.ConsumerGroup,
		mapping: kafkarecord.Mapping{
			Namespace: cfg.Source.Namespace, Name: cfg.Source.Name,
			KeyType: keyTypes[cfg.Source.KeyType], Place: true, Reserialize: true,
		},
		stopCommits: make(chan struct{}),
	}
	d.cfg.Pace = max(1, d.cfg.Pace)
	if d.group == "" {
		d.group = randomGroup()
	}
	d.mu.partitions = make(map[topicPartition]*partition)
	d.mu.queues = make(map[topicPartition]*queue)
	d.mu.freed = make(chan struct{}, 1)
	for _, name := range slices.Sorted(maps.Keys(cfg.Source.Extensions)) {
		d.overrides = append(d.overrides, attribute{name, cfg.Source.Extensions[name]})
	}
	d.sender = sender{transport: cfg.Transport, delivery: cfg.Source.Delivery, failed: func() { d.failed.Add(1) }}
	if err := d.connect(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Source, err)
	}
	var polls context.Context
	polls, d.stopPolling = context.WithCancel(context.Background())
	d.requests, d.cut = context.WithCancel(context.Background())
	if cfg.Source.Ordered {
		d.polling.Go(func() { d.pollOrdered(polls) })
	} else {
		d.polling.Go(func() { d.pollUnordered(polls) })
	}
	d.committing.Go(d.commitRegularly)
	return d, nil
}

var keyTypes = map[string]kafkarecord.KeyType{
	"string": kafkarecord.KeyString, "int": kafkarecord.KeyInt, "float": kafkarecord.KeyFloat, "byte-array": kafkarecord.KeyBytes,
}

// Close ends the delivery. What is under way may end by itself, with its
// repetitions, until ctx is done; then it is cut, and comes again when a
// dispatcher is opened next. Records that wait are dropped, and the position is
// committed. It may be called more than once.
func (d *Dispatcher) Close(ctx context.Context) {
	d.closed.Do(func() {
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
		d.client.Close()
	})
}

// deliver sends one record to the sink, or else to the dead letter sink. It
// reports whether that has ended: not when the dispatcher was closed first.
func (d *Dispatcher) deliver(rec *kgo.Record) bool {
	var e events.Event
	// The mapping takes any record.
	if err := kafkarecord.Read(rec, &e, d.mapping); err != nil {
		d.cfg.Logger.Error("record cannot be read", "source", d.cfg.Source.Name, place(rec), "error", err)
		return true
	}
	r := newRequest(&e, d.overrides, d.cfg.Source.Namespace)
	r.trace(rec)
	start := time.Now()
	o, err := d.sender.send(d.requests, &d.cfg.Sink, r)
	if err != nil {
		return false
	}
	if o.ok() {
		d.delivered.Add(1)
		d.latencies.add(time.Since(start))
		return true
	}
	if d.cfg.DeadLetter == nil {
		d.lose(rec, &o, "there is no dead letter sink")
		return true
	}
	why := o.String()
	o, err = d.sender.send(d.requests, d.cfg.DeadLetter, deadLetter(r, d.cfg.Sink.URL, &o))
	if err != nil {
		return false
	}
	if !o.ok() {
		d.lose(rec, &o, "the dead letter sink did not take it")
		return true
	}
	d.deadLetters.Add(1)
	if n, ok := d.dead.allow(time.Now()); ok {
		d.cfg.Logger.Warn("event went to the dead letter sink", "source", d.cfg.Source.Name, place(rec), "because", why, "more", n)
	}
	return true
}

// lose says that an event is lost, which Knative does in silence.
func (d *Dispatcher) lose(rec *kgo.Record, o *outcome, why string) {
	d.lost.Add(1)
	if n, ok := d.loss.allow(time.Now()); ok {
		d.cfg.Logger.Error("EVENT LOST, as it would be on a cluster", "source", d.cfg.Source.Name, place(rec), "because", why, "last", o.String(), "more", n)
	}
}

func place(rec *kgo.Record) slog.Attr {
	return slog.Group("record", slog.String("topic", rec.Topic), slog.Int("partition", int(rec.Partition)), slog.Int64("offset", rec.Offset))
}

// limiter lets one message a second through.
type limiter struct {
	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// allow reports whether to speak now, and how often it was refused since the
// last time.
func (l *limiter) allow(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < time.Second {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed, l.last = l.suppressed, 0, now
	return suppressed, true
}

// begin notes that a record is being worked on. d.mu is held.
func (d *Dispatcher) begin(rec *kgo.Record) *partition {
	key := topicPartition{rec.Topic, rec.Partition}
	p := d.mu.partitions[key]
	if p == nil {
		p = newPartition(rec.Topic, rec.Partition, rec.Offset)
		d.mu.partitions[key] = p
	}
	p.received(rec.Offset)
	d.mu.inFlight++
	return p
}

// end notes that a record's work is over. p may have been given to another
// member meanwhile, and does not matter then.
func (d *Dispatcher) end(p *partition, offset int64, done bool) {
	d.mu.Lock()
	if done {
		p.done(offset)
	}
	d.mu.inFlight--
	d.mu.Unlock()
	select {
	case d.mu.freed <- struct{}{}:
	default:
	}
}

// Stats is what a dispatcher has done since it was opened.
type Stats struct {
	Delivered   int64 // events that the sink has taken
	Failed      int64 // attempts that failed
	DeadLetters int64
	Lost        int64
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
