package stream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/step"
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
	partitions map[string]int
	announces  []announcement

	records records      // what the commit under way produces
	failed  atomic.Value // first error of a produce, boxed
	open    bool         // a transaction has begun
	waiting []*delivery  // to be answered by the commit under way
	events  int          // events in the commit under way
	since   time.Time    // when the first of them was stepped
	blocks  [][]byte     // keys of blocks to delete
	latest  time.Time    // event time of the last event stepped

	readTo    map[string]int64 // transport kafka: next offset to read, control records included
	idle      bool
	lastEvent time.Time
	probe     *probe
	swept     time.Time // when old ids and blocks were looked for
}

// announcement is what one partition downstream was last told about this task.
type announcement struct {
	topic     string
	partition int32
	watermark int64
	idle      bool
	at        time.Time
}

func openSession(t *task) (*session, error) {
	o := &t.engine.options
	name := fmt.Sprintf("%s-%d", o.Definition.Name, t.number)
	client, err := kgo.NewClient(append(slices.Clone(o.Kafka),
		kgo.ClientID("datasurge-"+name),
		kgo.TransactionalID(name),
		kgo.TransactionTimeout(10*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond), // the flush of a commit does not wait for it
		kgo.ProducerBatchCompression(o.Compression...),
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
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, err
	}
	s := &session{
		task: t, options: o, client: client,
		readTo: map[string]int64{}, lastEvent: time.Now(), swept: time.Now(),
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
	if err != nil && !errors.Is(err, errStopped) {
		s.client.UnsafeAbortBufferedRecords()
	}
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

// changelog addresses rec to this task's partition of the changelog.
func (s *session) changelog(rec *kgo.Record, key, value []byte) {
	rec.Topic, rec.Partition = ChangelogTopic(s.options.Definition.Name), int32(s.number)
	rec.Key, rec.Value = key, value
	rec.Headers = rec.Headers[:0]
}

// restore reads the changelog up to the own owner record and builds the core.
func (s *session) restore(ctx context.Context) error {
	started := time.Now()
	def := &s.options.Definition
	s.core = newCore(def, s.options.Limits, s.number, s.engine.taskCount(s.partitions))
	s.core.out = s.emit
	s.core.now = time.Now()
	topic := ChangelogTopic(def.Name)
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(s.number): kgo.NewOffset().AtStart()}})
	n, found := 0, false
	for !found {
		if err := s.fault(faultRestore); err != nil {
			return err
		}
		fetches := s.client.PollRecords(ctx, 10_000)
		if err := fetches.Err0(); err != nil {
			return err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("read %s partition %d: %w", topic, s.number, errs[0].Err)
		}
		for rec := range fetches.RecordsAll() {
			if rec.Attrs.IsControl() {
				continue
			}
			n++
			if err := s.restoreRecord(rec); err != nil {
				return fmt.Errorf("%s partition %d offset %d: %w", topic, s.number, rec.Offset, err)
			}
			if rec.Key[0] == kindOwner && bytes.HasPrefix(rec.Value, s.nonce) {
				found = true
				break
			}
		}
		select {
		case <-s.stop:
			return errStopped
		default:
		}
	}
	s.client.RemoveConsumePartitions(map[string][]int32{topic: {int32(s.number)}})
	s.core.state.dirty = s.core.state.dirty[:0]
	s.core.start(s.partitions)
	for _, out := range def.Outputs {
		if out.Watermarks {
			for p := range s.partitions[out.Topic] {
				s.announces = append(s.announces, announcement{topic: out.Topic, partition: int32(p), watermark: step.MinWatermark})
			}
		}
	}
	s.options.Observer.Restored(def.Name, s.number, n, time.Since(started))
	s.log.Info("partition taken over", slog.Int("records_restored", n), slog.Duration("took", time.Since(started)))
	return nil
}

func (s *session) restoreRecord(rec *kgo.Record) error {
	if len(rec.Key) == 0 {
		return fmt.Errorf("a record without a key does not belong in a changelog: %w", ErrRefused)
	}
	c := s.core
	var err error
	switch kind := rec.Key[0]; kind {
	case kindOwner:
	case kindMeta:
		err = s.restoreMeta(rec.Value)
	case kindBlock:
		err = s.restoreBlock(rec.Key, rec.Value)
	case kindSeen:
		r := reader{data: rec.Value}
		if rec.Value == nil {
			c.state.restored(rec.Key, nil)
		} else {
			c.state.restored(rec.Key, seenAt(r.varint()))
		}
		err = r.err
	default:
		codec, ok := c.def.Codecs[kind]
		if !ok {
			return fmt.Errorf("key kind %#x is not known to this binary: %w", kind, ErrRefused)
		}
		if rec.Value == nil {
			c.state.restored(rec.Key, nil)
			return nil
		}
		var value any
		if value, err = codec.Parse(rec.Value); err == nil {
			c.state.restored(rec.Key, value)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w; run the binary that wrote it, or reset the function's state", ErrRefused, err)
	}
	return nil
}

func (s *session) restoreMeta(value []byte) error {
	m, err := parseMeta(value)
	if err != nil {
		return err
	}
	def := &s.options.Definition
	if want := settingsHash(def, s.partitions, s.core.tasks); m.settings != want {
		return fmt.Errorf("it was written under other settings (windows, lateness or partition counts) than %q", def.Settings)
	}
	s.core.commit = m.commit + 1
	for _, stored := range m.inputs {
		for i := range s.core.inputs {
			if in := &s.core.inputs[i]; in.Topic == stored.topic {
				in.done.low = stored.low
				in.mark = new(stored.watermark)
			}
		}
	}
	return nil
}

func (s *session) restoreBlock(key, value []byte) error {
	if len(key) != 10 || int(key[1]) >= len(s.core.inputs) {
		return fmt.Errorf("a key of a block of offsets is damaged: %x", key)
	}
	done, n := &s.core.inputs[key[1]].done, step.KeyTime(key)
	if value == nil {
		delete(done.blocks, n)
		return nil
	}
	b, err := parseBlock(value)
	if err != nil {
		return err
	}
	if done.blocks == nil {
		done.blocks = map[int64]*block{}
	}
	done.blocks[n] = b
	return nil
}

// openInput checks that the input still has what is to be read next, and under
// transport kafka begins to read it.
func (s *session) openInput(ctx context.Context) error {
	def := &s.options.Definition
	if len(def.Inputs) == 0 {
		return nil
	}
	var topics []string
	for _, in := range def.Inputs {
		if s.number < s.partitions[in.Topic] {
			topics = append(topics, in.Topic)
		}
	}
	starts, err := kadm.NewClient(s.client).ListStartOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list the start offsets of the input: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	for i := range s.core.inputs {
		in := &s.core.inputs[i]
		start, ok := starts.Lookup(in.Topic, int32(s.number))
		if !ok {
			continue
		}
		if start.Err != nil {
			return fmt.Errorf("list the start offset of %s partition %d: %w", in.Topic, s.number, start.Err)
		}
		if missing := start.Offset - in.done.low; missing > 0 && in.done.low > 0 && s.options.Consume {
			s.log.Error("records were deleted from the input before they were processed",
				slog.String("topic", in.Topic), slog.Int64("checkpoint", in.done.low), slog.Int64("log_start", start.Offset))
			if !s.options.ResumeTruncated {
				return fmt.Errorf("%w: %s partition %d begins at offset %d and the checkpoint is %d, so up to %d records were deleted unprocessed; set INPUT_TRUNCATED=resume to go on without them",
					ErrRefused, in.Topic, s.number, start.Offset, in.done.low, missing)
			}
		}
		in.done.markThrough(start.Offset)
		in.frontier.next = in.done.low
		s.readTo[in.Topic] = in.done.low
		from[in.Topic] = map[int32]kgo.Offset{int32(s.number): kgo.NewOffset().At(in.done.low)}
	}
	if s.options.Consume {
		s.client.AddConsumePartitions(from)
	}
	return nil
}

// process steps events and commits until it is stopped or something fails.
func (s *session) process(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var fetched chan kgo.Fetches
	if s.options.Consume && len(s.options.Definition.Inputs) > 0 {
		fetched = make(chan kgo.Fetches)
		reading := make(chan struct{})
		go func() {
			defer close(reading)
			for ctx.Err() == nil {
				fetches := s.client.PollRecords(ctx, s.options.CommitEvents/2)
				select {
				case fetched <- fetches:
				case <-ctx.Done():
				}
			}
		}()
		defer func() { cancel(); <-reading }()
	}
	ticker := time.NewTicker(s.options.Definition.TickEvery)
	defer ticker.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	s.probe = newProbe(ctx)
	for {
		var err error
		select {
		case fetches := <-fetched:
			err = s.consume(ctx, fetches)
		case d := <-s.inbox:
			err = s.deliver(ctx, d)
		case <-ticker.C:
			err = s.tick(ctx, false)
		case <-due.C:
			err = s.commit(ctx)
		case result := <-s.probe.results:
			s.probed(result)
		case <-s.stop:
			if err = s.tick(ctx, true); err == nil {
				err = s.commit(ctx)
			}
			if err == nil {
				err = errStopped
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if s.dirty() {
			wait := time.Until(s.since.Add(s.options.CommitInterval))
			if len(s.waiting) > 0 || s.events >= s.options.CommitEvents || wait <= 0 {
				if err := s.commit(ctx); err != nil {
					return err
				}
			} else {
				due.Reset(wait)
			}
		}
	}
}

// dirty reports whether there is something to commit.
func (s *session) dirty() bool {
	return s.open || s.events > 0 || len(s.core.state.dirty) > 0
}

// work marks the begin of a batch: the wall clock and the tables are fixed for
// it.
func (s *session) work() {
	s.core.now = time.Now()
	if !s.dirty() {
		s.since = s.core.now
		s.engine.tables.fix(s.core.tables)
	}
}

// consume steps what was read from Kafka.
func (s *session) consume(ctx context.Context, fetches kgo.Fetches) error {
	if failures := fetches.Errors(); len(failures) > 0 {
		f := failures[0]
		return cmp.Or(ctx.Err(), fmt.Errorf("read %s partition %d: %w", f.Topic, f.Partition, f.Err))
	}
	s.work()
	var e events.Event
	for rec := range fetches.RecordsAll() {
		in := s.core.inputFor(rec.Topic, "")
		if in == nil {
			continue // the last of the changelog, after it was removed
		}
		if !rec.Attrs.IsControl() {
			if err := s.consumeRecord(ctx, in, rec, &e); err != nil {
				return err
			}
		}
		s.readTo[rec.Topic] = rec.Offset + 1
		in.done.markThrough(rec.Offset + 1)
		if s.events >= s.options.CommitEvents {
			if err := s.commit(ctx); err != nil {
				return err
			}
			s.work()
		}
	}
	return nil
}

func (s *session) consumeRecord(ctx context.Context, in *input, rec *kgo.Record, e *events.Event) error {
	s.events++
	var result outcome
	err := kafkarecord.Read(rec, e, s.engine.mapping)
	if err != nil {
		result = outcomeInvalid
	} else {
		result, err = s.handle(in, rec.Offset, e, true)
	}
	if result != outcomeInvalid {
		return err
	}
	dead := events.NewDeadLetter(s.options.Definition.Name, err.Error(), kafkarecord.Original(rec))
	s.core.Emit(events.TopicDeadLetters, &dead)
	return s.core.err
}

// handle steps one event and counts what became of it.
func (s *session) handle(in *input, offset int64, e *events.Event, ordered bool) (outcome, error) {
	var result outcome
	var err error
	name := poisonKey{in.Topic, offset, ""}
	if offset == noOffset {
		name.id = e.Source + " " + e.ID
	}
	if len(s.poison) > 0 && s.poison[name] != nil {
		result, err = outcomeInvalid, &events.InvalidError{Path: "$", Reason: s.poison[name].Error()}
	} else if result, err = s.core.handle(in, offset, e, ordered); err != nil && result != outcomeInvalid {
		if s.core.err == nil {
			s.poison[name] = fmt.Errorf("%s failed on it: %w", s.options.Definition.Name, err)
		}
		return result, err
	}
	if e.Type != events.TypeWatermark {
		s.lastEvent, s.idle = s.core.now, false
		if !e.Time.IsZero() {
			s.latest = e.Time
		}
		s.options.Observer.Event(s.options.Definition.Name, e.Type, resultNames[result])
	}
	return result, err
}

var resultNames = [...]string{outcomeDone: "ok", outcomeDuplicate: "duplicate", outcomeLate: "late", outcomeInvalid: "invalid"}

// deliver steps d and everything else that waits, in the order of offsets.
func (s *session) deliver(ctx context.Context, d *delivery) error {
	s.work()
	batch := []*delivery{d}
	for len(batch) < s.options.CommitEvents {
		select {
		case d := <-s.inbox:
			batch = append(batch, d)
			continue
		default:
		}
		break
	}
	slices.SortStableFunc(batch, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.offset, b.offset))
	})
	s.waiting = append(s.waiting, batch...)
	for _, d := range batch {
		s.events++
		in := s.core.inputFor(d.topic, d.event.Type)
		if in == nil {
			d.reply(unknownType(s.options.Definition.Name, d.event.Type))
			continue
		}
		result, err := s.handle(in, d.offset, d.event, false)
		if result == outcomeInvalid {
			d.reply(err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// tick hands the function the time and tells downstream about the watermark.
// The last tick before a stop waits for no gap.
func (s *session) tick(ctx context.Context, last bool) error {
	s.work()
	patience := s.core.limits.GapPatience
	if last {
		patience = 0
	}
	if err := s.core.tick(patience); err != nil {
		return err
	}
	s.options.Observer.Watermark(s.options.Definition.Name, s.number, s.core.announced)
	s.announceWatermark(ctx)
	if s.core.now.Sub(s.swept) > time.Minute {
		s.swept = s.core.now
		s.core.forgetSeen()
		s.blocks = append(s.blocks, s.core.forgetOld()...)
	}
	if s.core.now.Sub(s.lastEvent) >= s.core.limits.IdleAfter && !s.idle && len(s.announces) > 0 {
		s.probe.start(s)
	}
	return s.core.err
}

const (
	announceEvery = time.Second      // how often a moved watermark is announced where nothing was written
	repeatEvery   = 30 * time.Second // how often an unchanged one is, for readers that lost the last
)

// announceWatermark writes a watermark event to each downstream partition that
// has not heard of the present watermark, or believes that this task is idle, or
// busy, when it is not.
func (s *session) announceWatermark(ctx context.Context) {
	for i := range s.announces {
		a := &s.announces[i]
		since := s.core.now.Sub(a.at)
		moved := s.core.announced > a.watermark && since >= announceEvery
		repeat := since >= repeatEvery && (s.idle || s.core.announced > step.MinWatermark)
		if !moved && !repeat && a.idle == s.idle {
			continue
		}
		e := watermarkEvent(s.core, a)
		if s.idle {
			e.Extensions = append(e.Extensions, events.Extension{Name: events.ExtIdle, Value: "true"})
		}
		rec := s.records.next()
		kafkarecord.Write(&e, rec)
		rec.Topic, rec.Partition = a.topic, a.partition
		s.stamp(rec)
		a.idle = s.idle
		if err := s.begin(); err != nil {
			s.core.err = err
			return
		}
		s.produce(ctx, rec)
	}
}

// watermarkEvent is an event without data: what it says stands in its extensions.
func watermarkEvent(c *core, a *announcement) events.Event {
	return events.Event{
		ID:     fmt.Sprintf("%d/%d/%s/%d", c.task, c.commit, a.topic, a.partition),
		Source: "/datasurge/" + c.def.Name,
		Type:   events.TypeWatermark,
		Time:   c.now.UTC(),
	}
}

// emit produces one event of the function.
func (s *session) emit(topic string, e *events.Event) error {
	if err := s.begin(); err != nil {
		return err
	}
	n := s.partitions[topic]
	if n == 0 {
		return fmt.Errorf("%s emitted to %q, which is not among its outputs", s.options.Definition.Name, topic)
	}
	rec := s.records.next()
	kafkarecord.Write(e, rec)
	rec.Topic, rec.Partition = topic, int32(s.number%n)
	if len(rec.Key) > 0 {
		rec.Partition = int32(PartitionOf(rec.Key, n))
	}
	if slices.ContainsFunc(s.announces, func(a announcement) bool { return a.topic == topic }) {
		s.stamp(rec)
	}
	s.produce(s.ctx, rec)
	return nil
}

// stamp puts the task's name and watermark on rec and remembers that its
// partition has been told.
func (s *session) stamp(rec *kgo.Record) {
	for i := range s.announces {
		if a := &s.announces[i]; a.topic == rec.Topic && a.partition == rec.Partition {
			a.watermark, a.at = s.core.announced, s.core.now
			if !s.idle {
				a.idle = false
			}
		}
	}
	rec.Headers = append(rec.Headers, s.records.stampHeaders(s.core)...)
}

func (s *session) begin() error {
	if s.open {
		return nil
	}
	if err := s.fault(faultBegin); err != nil {
		return err
	}
	if err := s.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	s.open = true
	return nil
}

func (s *session) produce(ctx context.Context, rec *kgo.Record) {
	s.client.Produce(ctx, rec, s.produced)
}

func (s *session) produced(rec *kgo.Record, err error) {
	if err != nil {
		s.failed.CompareAndSwap(nil, produceError{rec.Topic, err})
	}
}

type produceError struct {
	topic string
	err   error
}

func (e produceError) Error() string { return "produce to " + e.topic + ": " + e.err.Error() }
func (e produceError) Unwrap() error { return e.err }

// commit writes what changed and where the input stands, ends the transaction
// and answers those who wait for it.
func (s *session) commit(ctx context.Context) error {
	if !s.dirty() && len(s.blocks) == 0 {
		return s.answer()
	}
	if s.core.err != nil {
		return s.core.err
	}
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.fault(faultProduced); err != nil {
		return err
	}
	if err := s.writeChanges(ctx); err != nil {
		return err
	}
	if err := s.end(ctx); err != nil {
		return err
	}
	if err := s.fault(faultEnded); err != nil {
		return err
	}
	name, now := s.options.Definition.Name, time.Now()
	s.options.Observer.Batch(name, s.events, now.Sub(s.since))
	if !s.latest.IsZero() {
		s.options.Observer.Latency(name, now.Sub(s.latest))
		s.latest = time.Time{}
	}
	s.core.state.committed()
	s.core.commit++
	s.events, s.blocks = 0, nil
	position := make(map[string]int64, len(s.core.inputs))
	for i := range s.core.inputs {
		position[s.core.inputs[i].Topic] = s.core.inputs[i].done.low
	}
	s.position.Store(&position)
	return s.answer()
}

func (s *session) answer() error {
	for _, d := range s.waiting {
		d.reply(nil)
	}
	clear(s.waiting)
	s.waiting = s.waiting[:0]
	return nil
}

// writeChanges produces the last value of each changed key, the changed blocks
// of offsets and, last, the meta record.
func (s *session) writeChanges(ctx context.Context) error {
	c := s.core
	for _, d := range c.state.dirty {
		var value []byte
		if v := d.entry.value; v != nil {
			start := len(s.records.bytes)
			if at, ok := v.(seenAt); ok {
				s.records.bytes = binary.AppendVarint(s.records.bytes, int64(at))
			} else {
				codec, ok := c.def.Codecs[d.key[0]]
				if !ok {
					return fmt.Errorf("%s put a value at a key of kind %#x, for which it has no codec", c.def.Name, d.key[0])
				}
				s.records.bytes = codec.Append(s.records.bytes, v)
			}
			value = s.records.bytes[start:len(s.records.bytes):len(s.records.bytes)]
		}
		rec := s.records.next()
		s.changelog(rec, s.records.copyOf(d.key), value)
		s.produce(ctx, rec)
	}
	for i := range c.inputs {
		for n, b := range c.inputs[i].done.blocks {
			if b.dirty {
				b.dirty = false
				rec := s.records.next()
				s.changelog(rec, appendBlockKey(nil, i, n), appendBlock(nil, b))
				s.produce(ctx, rec)
			}
		}
	}
	if s.options.Consume {
		s.dropBlocks()
	}
	for _, key := range s.blocks {
		rec := s.records.next()
		s.changelog(rec, key, nil)
		s.produce(ctx, rec)
	}
	m := meta{owner: s.options.Address, commit: c.commit, settings: settingsHash(c.def, s.partitions, c.tasks)}
	for i := range c.inputs {
		in := &c.inputs[i]
		m.inputs = append(m.inputs, metaInput{in.Topic, in.done.low, *in.mark})
	}
	rec := s.records.next()
	s.changelog(rec, []byte{kindMeta}, m.append(nil))
	s.produce(ctx, rec)
	return nil
}

// dropBlocks deletes the blocks that reading in order has passed, left over from
// an earlier run under transport http.
func (s *session) dropBlocks() {
	for i := range s.core.inputs {
		done := &s.core.inputs[i].done
		for n := range done.blocks {
			if (n+1)*blockSize <= done.low {
				delete(done.blocks, n)
				s.blocks = append(s.blocks, appendBlockKey(nil, i, n))
			}
		}
	}
}

// end flushes and commits the open transaction.
func (s *session) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.client.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	// EndTransaction would commit what succeeded and be silent about the rest.
	if failed := s.failed.Load(); failed != nil {
		return failed.(produceError)
	}
	if err := s.fault(faultFlushed); err != nil {
		return err
	}
	if err := s.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.open = false
	s.records.reset()
	return nil
}

func (s *session) fault(at faultPoint) error {
	if s.options.fault == nil || s.core == nil || s.core.fn == nil && at != faultRestore {
		return nil
	}
	return s.options.fault(s.number, at)
}

// records owns the memory of what one commit produces. It is used again for the
// next one: after the flush nothing of it is referenced any more.
type records struct {
	chunks [][]kgo.Record
	used   int
	bytes  []byte

	stampOf int64
	stamps  []kgo.RecordHeader
}

const recordChunk = 256

func (r *records) next() *kgo.Record {
	chunk, i := r.used/recordChunk, r.used%recordChunk
	if chunk == len(r.chunks) {
		r.chunks = append(r.chunks, make([]kgo.Record, recordChunk))
	}
	r.used++
	rec := &r.chunks[chunk][i]
	*rec = kgo.Record{Headers: rec.Headers[:0]}
	return rec
}

func (r *records) copyOf(s string) []byte {
	start := len(r.bytes)
	r.bytes = append(r.bytes, s...)
	return r.bytes[start:len(r.bytes):len(r.bytes)]
}

// stampHeaders returns the headers of core's stamp, made anew when its watermark
// has moved.
func (r *records) stampHeaders(c *core) []kgo.RecordHeader {
	if r.stamps == nil || r.stampOf != c.announced {
		r.stampOf = c.announced
		r.stamps = []kgo.RecordHeader{
			{Key: "ce_" + events.ExtTask, Value: []byte(stampValue(c.def.Name, c.task, c.tasks))},
			{Key: "ce_" + events.ExtWatermark, Value: strconv.AppendInt(nil, c.announced, 10)},
		}
	}
	return r.stamps
}

// reset makes the memory free for the next commit; a burst's worth is let go.
func (r *records) reset() {
	r.used = 0
	if len(r.chunks) > 256 {
		r.chunks = r.chunks[:256]
	}
	if cap(r.bytes) > 16<<20 {
		r.bytes = nil
	}
	r.bytes = r.bytes[:0]
}
