package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/kafkatxn"
	"datasurge/functions/step"
)

// changelog addresses rec to this task's partition of the changelog.
func (s *session) changelog(rec *kgo.Record, key, value []byte) {
	rec.Topic, rec.Partition = s.changelogTopic, int32(s.number)
	rec.Key, rec.Value = key, value
	rec.Headers = rec.Headers[:0]
}

// What the values of an event's headers, and a value of the state, take at most as
// a rule, in bytes.
const (
	headersRoom = 512
	valueRoom   = 16 << 10
)

// output is a topic that the function emits to.
type output struct {
	topic      string
	partitions int
	announces  int // place in announces of its partition 0; -1 when no function reads it
}

// outputsOf returns those of def, in their order, and after them the topics that
// every function emits to.
func outputsOf(def *step.Definition, partitions map[string]int) []output {
	var outputs []output
	for _, out := range def.Outputs {
		outputs = append(outputs, output{out.Topic, partitions[out.Topic], -1})
	}
	for _, topic := range [...]string{events.TopicLate, events.TopicDeadLetters} {
		outputs = append(outputs, output{topic, partitions[topic], -1})
	}
	return outputs
}

// emit produces one event of the function.
func (s *session) emit(topic string, e *events.Event) error {
	if err := s.begin(); err != nil {
		return err
	}
	at := slices.IndexFunc(s.outputs, func(o output) bool { return o.topic == topic })
	if at < 0 {
		return fmt.Errorf("%s emitted to %q, which is not among its outputs", s.options.Definition.Name, topic)
	}
	out := &s.outputs[at]
	rec := s.records.next()
	s.records.took(kafkarecord.Append(s.records.room(len(e.Data)+headersRoom), e, rec))
	if s.trace.Parent != "" {
		rec.Headers = traceHeaders(rec.Headers, s.trace)
	}
	s.tally.output(topic)
	rec.Topic, rec.Partition = out.topic, int32(s.number%out.partitions)
	if len(rec.Key) > 0 {
		rec.Partition = int32(PartitionOf(rec.Key, out.partitions))
	}
	if out.announces >= 0 {
		s.stamp(rec, &s.announces[out.announces+int(rec.Partition)])
	}
	s.produce(s.ctx, rec)
	return nil
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
	rec.Timestamp = s.written
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
		s.answer()
		return nil
	}
	if s.core.err != nil {
		return s.core.err
	}
	s.committing = true
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.fault(faultProduced); err != nil {
		return err
	}
	if err := s.writeChanges(ctx); err != nil {
		return err
	}
	ending := time.Now()
	if err := s.end(ctx); err != nil {
		return err
	}
	if err := s.fault(faultEnded); err != nil {
		return err
	}
	s.core.state.committed()
	s.core.commit++
	s.report(ending)
	s.events, s.blocks, s.committing = 0, nil, false
	s.stepped.Store(0)
	position := make(map[string]int64, len(s.core.inputs))
	for i := range s.core.inputs {
		position[s.core.inputs[i].Topic] = s.core.inputs[i].done.low
	}
	s.position.Store(&position)
	s.publishProgress()
	s.answer()
	return nil
}

// report tells the observer what was committed. ending is when the flush began.
func (s *session) report(ending time.Time) {
	t := &s.tally
	t.At = time.Now()
	t.Took, t.Ending = t.At.Sub(s.since), t.At.Sub(ending)
	t.State = s.core.state.size()
	s.options.Observer.Committed(s.options.Definition.Name, &t.Commit)
	t.reset()
	s.endSpans(nil)
}

// answer tells those who wait that their events are committed.
func (s *session) answer() {
	for _, d := range s.waiting {
		d.reply(nil)
	}
	clear(s.waiting)
	s.waiting = s.waiting[:0]
}

// writeChanges produces the last value of each changed key, the changed blocks
// of offsets and, last, the meta record.
func (s *session) writeChanges(ctx context.Context) error {
	c := s.core
	s.written = time.Now()
	for _, d := range c.state.dirty {
		var value []byte
		if d.entry.value == nil && d.entry.size > 0 {
			s.tally.Deleted++
		}
		if v := d.entry.value; v != nil {
			room := s.records.room(valueRoom)
			if at, ok := v.(seenAt); ok {
				value = s.records.took(binary.AppendVarint(room, int64(at)))
			} else {
				codec, ok := c.def.Codecs[d.key[0]]
				if !ok {
					return fmt.Errorf("%s put a value at a key of kind %#x, for which it has no codec", c.def.Name, d.key[0])
				}
				value = s.records.took(codec.Append(room, v))
			}
			c.state.written(d.entry, len(d.key)+len(value))
		} else {
			c.state.written(d.entry, 0)
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
	m := meta{owner: s.options.Address, commit: c.commit, settings: s.settings}
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
	// Commit would commit what succeeded and be silent about the rest.
	if failed := s.failed.Load(); failed != nil {
		return failed.(produceError)
	}
	if err := s.fault(faultFlushed); err != nil {
		return err
	}
	if err := kafkatxn.Commit(ctx, s.client); err != nil {
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
