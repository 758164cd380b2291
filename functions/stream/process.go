package stream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

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
	rested := time.NewTimer(time.Hour)
	defer rested.Stop()
	s.probe = newProbe(ctx)
	for {
		inbox := s.inbox
		if rest := time.Until(s.rest); rest > 0 {
			inbox = nil
			rested.Reset(rest)
		}
		var err error
		select {
		case fetches := <-fetched:
			err = s.consume(ctx, fetches)
		case d := <-inbox:
			s.rest = time.Now().Add(s.options.Definition.CommitPause)
			err = s.deliver(ctx, d)
		case <-s.enough:
			s.rest = time.Time{}
		case <-rested.C:
		case <-ticker.C:
			err = s.tick(ctx, false)
		case <-due.C:
			err = s.commit(ctx)
		case one := <-s.settle:
			s.settling = append(s.settling, one)
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
		if err == nil {
			err = s.settleDue(ctx)
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
// it, and its records are stamped with the time that it is then.
func (s *session) work() {
	s.core.now = time.Now()
	s.written = s.core.now
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
	s.stepped.Store(int64(s.events))
	return nil
}

func (s *session) consumeRecord(ctx context.Context, in *input, rec *kgo.Record, e *events.Event) error {
	s.events++
	defer func() { s.trace = Trace{} }()
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
	var span Span
	s.trace = TraceOf(e)
	if s.options.Tracer != nil && e.Type != events.TypeWatermark {
		s.trace, span = s.options.Tracer.Start(s.options.Definition.Name, s.number, e, s.trace)
	}
	name := poisonKey{in.Topic, offset, ""}
	if offset == noOffset {
		name.id = e.Source + " " + e.ID
	}
	if len(s.poison) > 0 && s.poison[name] != nil {
		result, err = outcomeInvalid, &poisonError{&events.InvalidError{Path: "$", Reason: s.poison[name].Error()}}
	} else if result, err = s.core.handle(in, offset, e, ordered); err != nil && result != outcomeInvalid {
		if s.core.err == nil {
			s.poison[name] = fmt.Errorf("%s failed on it: %w", s.options.Definition.Name, err)
		}
		s.log.Error("an event could not be stepped", eventAttributes(e, s.trace, slog.Any("error", err))...)
		if span != nil {
			span.End(err)
		}
		return result, err
	}
	if e.Type != events.TypeWatermark {
		s.lastEvent, s.idle = s.core.now, false
		s.count(in, e, result, err)
		s.follow(span, err)
	}
	return result, err
}

// count adds an event to what the commit under way will report.
func (s *session) count(in *input, e *events.Event, result outcome, err error) {
	name := resultOf(result, s.options.Consume)
	s.tally.event(in, e.Type, name, reasonOf(err))
	in.last = s.core.now
	if result == outcomeDone && s.core.timed {
		in.last = time.UnixMilli(s.core.time)
		s.tally.Times = append(s.tally.Times, s.core.time)
		if s.trace.Parent != "" {
			s.tally.TraceID, s.tally.TraceTime = s.trace.ID(), s.core.time
		}
	}
	if s.verbose {
		s.log.Debug("event", eventAttributes(e, s.trace, slog.String("result", name), slog.Any("error", err))...)
	} else if result == outcomeInvalid && !s.refusal.Equal(s.since) {
		s.refusal = s.since // one line a commit is enough to know
		s.log.Warn("an event was refused", eventAttributes(e, s.trace, slog.Any("error", err))...)
	}
}

// follow keeps the span of an event until the commit, or ends it when the event
// is no part of one.
func (s *session) follow(span Span, err error) {
	switch {
	case span == nil:
	case err != nil:
		span.End(err)
	default:
		s.spans = append(s.spans, span)
	}
}

// eventAttributes say in a log line which event it is about. Its data is not
// logged.
func eventAttributes(e *events.Event, t Trace, more ...any) []any {
	attributes := []any{slog.String("event_id", e.ID), slog.String("event_type", e.Type)}
	if id := t.ID(); id != "" {
		attributes = append(attributes, slog.String("trace_id", id))
	}
	return append(attributes, more...)
}

// deliver steps d and everything else that waits, in the order of offsets.
func (s *session) deliver(ctx context.Context, d *delivery) error {
	s.work()
	select {
	case <-s.enough:
	default:
	}
	for i := range s.sources {
		s.sources[i].adapt()
	}
	batch := []*delivery{d.taken()}
	for len(batch) < s.options.CommitEvents {
		select {
		case d := <-s.inbox:
			batch = append(batch, d.taken())
			continue
		default:
		}
		break
	}
	slices.SortStableFunc(batch, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.offset, b.offset))
	})
	s.waiting = append(s.waiting, batch...)
	s.stepped.Store(int64(s.events + len(batch)))
	for _, d := range batch {
		s.events++
		in := s.core.inputFor(d.topic, d.event.Type)
		if in == nil {
			err := unknownType(s.options.Definition.Name, d.event.Type)
			s.tally.event(nil, d.event.Type, ResultRefused, ReasonUnknownType)
			d.reply(err)
			continue
		}
		result, err := s.handle(in, d.offset, d.event, false)
		s.trace = Trace{}
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
	s.written = time.Time{} // a Tick may take longer than the client tries to deliver a record
	patience := s.core.limits.GapPatience
	if last {
		patience = 0
	}
	if err := s.core.tick(patience); err != nil {
		return err
	}
	s.options.Observer.Watermark(s.options.Definition.Name, s.number, s.core.announced)
	if !s.dirty() {
		s.publishProgress()
	}
	s.announceWatermark(ctx, false)
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
