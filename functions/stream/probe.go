package stream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// probe finds out, beside the task's goroutine, whether a task that has seen no
// event for a while has really caught up with its input, or whether events are
// on their way (a slow reader, a source that is retrying).
type probe struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running bool
	results chan probeResult
	checked map[string]int64 // by topic: all below is known to be done
}

// probeResult says how far the input is known to be done.
type probeResult struct {
	// through is, by topic, the last stable offset or, under transport http, a
	// smaller one below which all is done.
	through map[string]int64
	undone  bool // something before the last stable offset is, or may be, not done
	err     error
}

// probeEvents bounds the events that one probe looks at.
const probeEvents = 10_000

func newProbe(ctx context.Context) *probe {
	p := &probe{results: make(chan probeResult, 1), checked: map[string]int64{}}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// start begins a probe unless one is running.
func (p *probe) start(s *session) {
	if p.running {
		return
	}
	p.running = true
	from, done := map[string]int64{}, map[string]doneOffsets{}
	for i := range s.core.inputs {
		in := &s.core.inputs[i]
		if s.number < s.partitions[in.Topic] {
			from[in.Topic] = max(in.done.low, p.checked[in.Topic])
			done[in.Topic] = in.done.snapshot()
		}
	}
	options, number, client := s.options, int32(s.number), s.client
	go func() { p.results <- look(p.ctx, options, client, number, from, done) }()
}

func look(ctx context.Context, o *Options, client *kgo.Client, partition int32, from map[string]int64, done map[string]doneOffsets) probeResult {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	result := probeResult{through: map[string]int64{}}
	topics := make([]string, 0, len(from))
	for topic := range from {
		topics = append(topics, topic)
	}
	if len(topics) == 0 {
		return result
	}
	listed, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return probeResult{err: err}
	}
	behind := map[string]map[int32]kgo.Offset{}
	for topic, start := range from {
		end, ok := listed.Lookup(topic, partition)
		if !ok || end.Err != nil {
			return probeResult{err: fmt.Errorf("no end offset for %s partition %d", topic, partition)}
		}
		result.through[topic] = end.Offset
		if start < end.Offset {
			behind[topic] = map[int32]kgo.Offset{partition: kgo.NewOffset().At(start)}
		}
	}
	if o.Consume || len(behind) == 0 {
		return result
	}
	reader, err := kgo.NewClient(append(slices.Clone(o.Kafka),
		kgo.ConsumePartitions(behind),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(256<<10), // the first few events mostly say enough
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return probeResult{err: err}
	}
	defer reader.Close()
	for seen := 0; len(behind) > 0; {
		fetches := reader.PollRecords(ctx, 1000)
		if err := fetches.Err(); err != nil {
			return probeResult{err: err}
		}
		for rec := range fetches.RecordsAll() {
			if behind[rec.Topic] == nil {
				continue
			}
			next := rec.Offset + 1
			if !rec.Attrs.IsControl() {
				seen++
				if offsets := done[rec.Topic]; !offsets.isDone(rec.Offset) {
					next = rec.Offset
				}
			}
			switch {
			case next >= result.through[rec.Topic]:
				delete(behind, rec.Topic)
			case next == rec.Offset || seen > probeEvents:
				result.through[rec.Topic], result.undone = next, true
				delete(behind, rec.Topic)
			}
		}
	}
	return result
}

// probed takes the result of a probe: the task is idle if all that stands in its
// input is done and nothing came meanwhile.
func (s *session) probed(result probeResult) {
	s.probe.running = false
	if result.err != nil {
		s.log.Debug("could not find out whether the input has ended", slog.Any("error", result.err))
		return
	}
	caughtUp := !result.undone
	for i := range s.core.inputs {
		topic := s.core.inputs[i].Topic
		through, ok := result.through[topic]
		switch {
		case !ok:
		case s.options.Consume:
			caughtUp = caughtUp && s.readTo[topic] >= through
		default:
			s.probe.checked[topic] = max(s.probe.checked[topic], through)
		}
	}
	if now := time.Now(); caughtUp && now.Sub(s.lastEvent) >= s.core.limits.IdleAfter {
		s.idle = true
	}
}
