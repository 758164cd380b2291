package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// session is one ownership of a partition: a Kafka client with the partition's
// transactional id, the core, and the commit under way. Its methods run on the
// task's goroutine, in the order of state of the protocol: fence, announce,
// restore, openInput, process.
type session struct {
	*task
	options *Options
	client  *kgo.Client
	core    *core
	nonce   []byte
	// partitions is the partition count of every topic of the function.
	partitions     map[string]int
	settings       uint64 // settingsHash of this process
	announces      []announcement
	outputs        []output
	changelogTopic string

	records    records       // what the commit under way produces
	failed     atomic.Value  // first error of a produce, boxed
	open       bool          // a transaction has begun
	waiting    []*delivery   // to be answered by the commit under way
	settling   []*settlement // to be answered when their ends are reached
	events     int           // events in the commit under way
	committing bool          // it is being committed
	since      time.Time     // when the first of them was stepped
	rest       time.Time     // when deliveries are looked at again
	blocks     [][]byte      // keys of blocks to delete
	tally      tally         // what the commit under way does
	written    time.Time     // timestamp of records, zero for the time when they are produced
	trace      Trace         // of the event being stepped
	spans      []Span        // of the events in the commit under way
	verbose    bool          // every event is logged
	refusal    time.Time     // begin of the last commit that logged a refused event

	readTo    map[string]int64 // transport kafka: next offset to read, control records included
	idle      bool
	lastEvent time.Time
	probe     *probe
	swept     time.Time // when old ids and blocks were looked for
}

// fetchBytes is how much of a partition is asked for at once. With four times as
// much, broker and client take a third more CPU for each record: both build the
// answer in one piece of memory, which is then in no cache.
const fetchBytes = 512 << 10

func openSession(t *task) (*session, error) {
	o := &t.engine.options
	name := fmt.Sprintf("%s-%d", o.Definition.Name, t.number)
	s := &session{task: t, options: o, changelogTopic: ChangelogTopic(o.Definition.Name), readTo: map[string]int64{}, lastEvent: time.Now(), swept: time.Now()}
	s.tally.Task = t.number
	s.verbose = t.log.Enabled(t.ctx, slog.LevelDebug)
	client := "datasurge-" + name
	var err error
	s.client, err = kgo.NewClient(append(slices.Clone(o.Kafka),
		kgo.WithHooks(o.Observer.Client(client)...),
		kgo.ClientID(client),
		kgo.TransactionalID(name),
		kgo.TransactionTimeout(o.Definition.TickWithin),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(o.linger()),                               // the flush of a commit does not wait for it
		kgo.ProducerBatchCompression(slices.Clone(o.Compression)...), // which the client changes
		kgo.MaxBufferedRecords(1<<18),
		kgo.MaxBufferedBytes(64<<20),
		kgo.RecordDeliveryTimeout(15*time.Second),
		kgo.RetryTimeoutFn(retryWithin),
		// A produce that comes upon the end of the transaction before is tried
		// again after the next metadata, which would be five seconds later.
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the position passes over them
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// retryWithin is how long the client tries a request again. The end of a
// transaction is asked for once: when its answer is lost the changelog tells what
// happened, and not a broker that may have been restarted in between.
func retryWithin(key int16) time.Duration {
	if kmsg.Key(key) == kmsg.EndTxn {
		return time.Millisecond
	}
	return 10 * time.Second
}

// close lets the client go. After an error the transaction is left to the
// successor's fence: its outcome may be unknown, and whoever comes next finds out
// from the changelog.
func (s *session) close(err error) {
	if s.probe != nil {
		s.probe.cancel()
	}
	for _, d := range s.waiting {
		d.reply(ErrUnavailable)
	}
	s.interrupted()
	s.endSpans(err)
	s.stepped.Store(0)
	s.progress.Store(nil)
	if err != nil && !errors.Is(err, errStopped) {
		s.client.UnsafeAbortBufferedRecords()
	}
	// A partition that the client is about to read as it is closed is a data race in
	// it (kgo v1.22.2: source.killSessionOnClose and source.createReq).
	read := map[string][]int32{s.changelogTopic: {int32(s.number)}}
	for _, in := range s.options.Definition.Inputs {
		read[in.Topic] = []int32{int32(s.number)}
	}
	s.client.RemoveConsumePartitions(read)
	s.client.Close()
}

// fence ends the predecessor: InitProducerID aborts its open transaction and
// makes its epoch stale.
func (s *session) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	partitions, err := s.engine.topicPartitions(ctx, s.client)
	if err != nil {
		return err
	}
	s.partitions = partitions
	_, _, err = s.client.ProducerID(ctx)
	return err
}

// nonceSize is the length of the nonce at the start of an owner record.
const nonceSize = 16

// announce commits the owner record with a fresh nonce. Whatever stands in the
// changelog before it is all that the predecessors ever committed.
func (s *session) announce(ctx context.Context) error {
	s.nonce = make([]byte, nonceSize)
	if _, err := rand.Read(s.nonce); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	rec := s.records.next()
	s.changelog(rec, []byte{kindOwner}, appendText(slices.Clone(s.nonce), s.options.Address))
	s.produce(ctx, rec)
	return s.end(ctx)
}
