package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/step"
)

// silentFor is how long a changelog that is being restored may give nothing. What
// is sought was committed before, so it is there or something is wrong.
const silentFor = 15 * time.Second

// silence says how far a restore came that found no owner record of its own.
func (s *session) silence(ctx context.Context, topic string, read int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	admin := kadm.NewClient(s.client)
	stable, err1 := admin.ListCommittedOffsets(ctx, topic)
	ends, err2 := admin.ListEndOffsets(ctx, topic)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	to, _ := stable.Lookup(topic, int32(s.number))
	end, _ := ends.Lookup(topic, int32(s.number))
	return fmt.Errorf("%s partition %d gave %d records and then nothing for %v; it ends at offset %d and is stable to %d",
		topic, s.number, read, silentFor, end.Offset, to.Offset)
}

// restore reads the changelog up to the own owner record and builds the core.
func (s *session) restore(ctx context.Context) error {
	started := time.Now()
	def := &s.options.Definition
	s.core = newCore(def, s.options.Limits, s.number, s.engine.taskCount(s.partitions))
	s.core.out = s.emit
	s.settings = settingsHash(def, s.partitions, s.core.tasks)
	s.core.now = time.Now()
	topic := ChangelogTopic(def.Name)
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(s.number): kgo.NewOffset().AtStart()}})
	n, found := 0, false
	for !found {
		if err := s.fault(faultRestore); err != nil {
			return err
		}
		poll, cancel := context.WithTimeout(ctx, silentFor)
		fetches := s.client.PollRecords(poll, 10_000)
		cancel()
		if errs := fetches.Errors(); len(errs) > 0 {
			if ctx.Err() == nil && errors.Is(errs[0].Err, context.DeadlineExceeded) {
				return s.silence(ctx, topic, n)
			}
			return fmt.Errorf("read %s partition %d: %w", topic, s.number, errs[0].Err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				s.options.Observer.Restoring(def.Name, s.number, p.LastStableOffset-p.Records[len(p.Records)-1].Offset-1)
			}
		})
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
	s.outputs = outputsOf(def, s.partitions)
	for i, out := range def.Outputs {
		if out.Watermarks {
			s.outputs[i].announces = len(s.announces)
			for p := range s.partitions[out.Topic] {
				s.announces = append(s.announces, announcement{topic: out.Topic, partition: int32(p), watermark: step.MinWatermark})
			}
		}
	}
	s.options.Observer.Restored(def.Name, s.number, n, time.Since(started), s.core.state.size())
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
		r := newReader(rec.Value)
		if rec.Value == nil {
			c.state.restored(rec.Key, nil, 0)
		} else {
			c.state.restored(rec.Key, seenAt(r.Varint()), len(rec.Value))
			err = r.problem()
		}
	default:
		codec, ok := c.def.Codecs[kind]
		if !ok {
			return fmt.Errorf("key kind %#x is not known to this binary: %w", kind, ErrRefused)
		}
		if rec.Value == nil {
			c.state.restored(rec.Key, nil, 0)
			return nil
		}
		var value any
		if value, err = codec.Parse(rec.Value); err == nil {
			c.state.restored(rec.Key, value, len(rec.Value))
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
	if m.settings != s.settings {
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
