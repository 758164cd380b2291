package kafkahealth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream"
)

// partition names a partition of a topic.
type partition struct {
	topic string
	id    int32
}

// offsets are offsets by partition.
type offsets map[partition]int64

// lookAtLag tells how far every consumer group is behind. A group that cannot be
// asked for does not keep it from telling about the others.
func lookAtLag(ctx context.Context, l *Loop) ([]prometheus.Metric, error) {
	groups, failed := l.positions(ctx)
	if len(groups) == 0 {
		return nil, failed
	}
	topics, err := l.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var asked []string
	changelogs := map[string]string{} // group by topic
	for group, positions := range groups {
		if topic := stream.ChangelogTopic(group); topics.Has(topic) {
			changelogs[topic] = group
			asked = append(asked, topic)
		}
		for p := range positions {
			if topics.Has(p.topic) {
				asked = append(asked, p.topic)
			}
		}
	}
	slices.Sort(asked)
	starts, ends, err := l.bounds(ctx, slices.Compact(asked))
	if err != nil {
		return nil, err
	}
	if err := l.refine(ctx, groups, changelogs, starts, ends); err != nil {
		return nil, err
	}
	var metrics []prometheus.Metric
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		m, err := l.behind(ctx, group, groups[group], starts, ends)
		metrics = append(metrics, m...)
		failed = errors.Join(failed, err)
	}
	return metrics, failed
}

// positions returns the committed offsets of all consumer groups that have any.
func (l *Loop) positions(ctx context.Context) (map[string]offsets, error) {
	listed, err := l.admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the consumer groups: %w", err)
	}
	groups := map[string]offsets{}
	if len(listed) == 0 {
		return groups, nil
	}
	var failed error
	for name, response := range l.admin.FetchManyOffsets(ctx, listed.Groups()...) {
		if response.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("fetch the offsets of group %s: %w", name, response.Err))
		}
		response.Fetched.Each(func(o kadm.OffsetResponse) {
			if o.Err != nil || o.At < 0 {
				return
			}
			if groups[name] == nil {
				groups[name] = offsets{}
			}
			groups[name][partition{o.Topic, o.Partition}] = o.At
		})
	}
	return groups, failed
}

// bounds returns the first and the last stable offset of each partition of
// topics. Partitions without a leader are left out.
func (l *Loop) bounds(ctx context.Context, topics []string) (starts, ends offsets, err error) {
	starts, ends = offsets{}, offsets{}
	for _, ask := range []struct {
		list func(context.Context, ...string) (kadm.ListedOffsets, error)
		into offsets
	}{{l.admin.ListStartOffsets, starts}, {l.admin.ListCommittedOffsets, ends}} {
		listed, err := ask.list(ctx, topics...)
		if err != nil {
			return nil, nil, fmt.Errorf("list the offsets of the topics: %w", err)
		}
		listed.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				ask.into[partition{o.Topic, o.Partition}] = o.Offset
			}
		})
	}
	return starts, ends, nil
}

// refine replaces the offsets that functions committed to the group of their
// name by the newer ones at the end of their changelogs.
func (l *Loop) refine(ctx context.Context, groups map[string]offsets, changelogs map[string]string, starts, ends offsets) error {
	pending := offsets{} // where a checkpoint may be
	for p, end := range ends {
		if changelogs[p.topic] != "" && starts[p] < end {
			pending[p] = starts[p]
		}
	}
	// A commit ends with its checkpoint and the marker of the transaction. Behind
	// it there may be an owner record, or what an aborted transaction left.
	for _, back := range []int64{2, 64, 4096} {
		from := offsets{}
		for p, start := range pending {
			from[p] = max(start, ends[p]-back)
			if from[p] == start {
				delete(pending, p) // further back there is nothing
			}
		}
		_, err := l.read(ctx, from, ends, func(p partition, rec *kgo.Record) (done bool) {
			next, ok := stream.Checkpoint(rec)
			if !ok {
				return false
			}
			delete(pending, p)
			positions := groups[changelogs[p.topic]]
			for topic, offset := range next {
				input := partition{topic, p.id}
				if committed, ok := positions[input]; ok {
					positions[input] = max(committed, offset)
				}
			}
			return false
		})
		if err != nil {
			return fmt.Errorf("read the end of the changelogs: %w", err)
		}
	}
	return nil
}

// behind tells how far a group is behind on each of its partitions.
func (l *Loop) behind(ctx context.Context, group string, positions, starts, ends offsets) ([]prometheus.Metric, error) {
	from := offsets{}
	for p, position := range positions {
		// What was deleted cannot be processed any more.
		if position = max(position, starts[p]); position < ends[p] {
			from[p] = position
		}
	}
	oldest := map[partition]time.Time{}
	unread, err := l.read(ctx, from, ends, func(p partition, rec *kgo.Record) (done bool) {
		if rec.Attrs.IsControl() {
			return false
		}
		oldest[p] = rec.Timestamp
		return true
	})
	if err != nil {
		err = fmt.Errorf("read what group %s has not processed: %w", group, err)
	}
	now := time.Now()
	var metrics []prometheus.Metric
	for p := range positions {
		if _, ok := ends[p]; !ok {
			continue // the topic was deleted, or the partition has no leader
		}
		labels := []string{group, p.topic, strconv.Itoa(int(p.id))}
		at, waits := oldest[p]
		switch {
		case waits:
			metrics = append(metrics, gauge(descLag, float64(ends[p]-from[p]), labels...),
				gauge(descLagAge, max(0, now.Sub(at).Seconds()), labels...))
		case unread[p]: // how old it is cannot be told
			metrics = append(metrics, gauge(descLag, float64(ends[p]-from[p]), labels...))
		default: // nothing follows, or only markers and what was aborted
			metrics = append(metrics, gauge(descLag, 0, labels...), gauge(descLagAge, 0, labels...))
		}
	}
	return metrics, err
}
