package status

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
)

// Follower reads topics as they are written, as a read_committed reader sees
// them, and counts.
type Follower struct {
	client *kgo.Client
	admin  *kadm.Client
	topics []string
	log    *slog.Logger
	done   sync.WaitGroup
	stop   context.CancelFunc

	mu struct {
		sync.Mutex
		begin     map[string]map[int32]int64 // offsets from which on records count
		next      map[string]map[int32]int64 // after the last record
		position  map[string]map[int32]int64 // after the last record or marker
		moved     chan struct{}              // closed and replaced when position grows
		records   map[string]int64           // by topic
		outputs   map[string]int64           // by function that wrote them
		anomalies []Anomaly                  // the latest, oldest first
	}
}

// Anomaly is a flagged transaction as it was seen.
type Anomaly struct {
	Seen time.Time
	events.Anomaly
}

// sourcePrefix stands before a function's name in the source of its events.
const sourcePrefix = "/datasurge/"

// lookBack is how many offsets before the end are read to find the last record
// of a partition, behind the markers of transactions.
const lookBack = 100

// fetchBytes is how much is waited for before it is read.
const fetchBytes = 1 << 20

// keepAnomalies is how many anomalies are remembered.
const keepAnomalies = 20

// Follow starts to read topics at their present ends. ctx bounds only that.
func Follow(ctx context.Context, kafka []kgo.Opt, topics []string, log *slog.Logger) (*Follower, error) {
	f := &Follower{topics: topics, log: log}
	boot, err := kgo.NewClient(kafka...)
	if err != nil {
		return nil, err
	}
	defer boot.Close()
	ends, err := offsets.Ends(ctx, kadm.NewClient(boot), topics...)
	if err != nil {
		return nil, err
	}
	f.mu.begin, f.mu.next, f.mu.position = ends, make(map[string]map[int32]int64), make(map[string]map[int32]int64)
	f.mu.moved = make(chan struct{})
	f.mu.records, f.mu.outputs = make(map[string]int64), make(map[string]int64)
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range ends {
		from[topic] = make(map[int32]kgo.Offset)
		f.mu.next[topic], f.mu.position[topic] = make(map[int32]int64), make(map[int32]int64)
		for p, end := range partitions {
			from[topic][p] = kgo.NewOffset().At(max(0, end-lookBack))
		}
	}
	f.client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the position reaches the end
		// Much at a time, and a little late, but within what CatchUp is given: a fetch
		// of all topics after each commit of a function takes the broker longer than
		// the commit.
		kgo.FetchMinBytes(fetchBytes),
		kgo.FetchMaxBytes(4 * fetchBytes),
		kgo.FetchMaxWait(100 * time.Millisecond),
	}, kafka...)...)
	if err != nil {
		return nil, err
	}
	f.admin = kadm.NewClient(f.client)
	var follow context.Context
	follow, f.stop = context.WithCancel(context.Background())
	f.done.Go(func() { f.follow(follow) })
	return f, nil
}

func (f *Follower) follow(ctx context.Context) {
	for {
		fetches := f.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			f.log.Debug("cannot read for the status", "topic", topic, "partition", partition, "error", err)
		})
		f.mu.Lock()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, rec := range p.Records {
				f.count(rec)
			}
		})
		close(f.mu.moved)
		f.mu.moved = make(chan struct{})
		f.mu.Unlock()
	}
}

// count counts one record. f.mu is held.
func (f *Follower) count(rec *kgo.Record) {
	f.mu.position[rec.Topic][rec.Partition] = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return
	}
	f.mu.next[rec.Topic][rec.Partition] = rec.Offset + 1
	if rec.Offset < f.mu.begin[rec.Topic][rec.Partition] {
		return
	}
	var function string
	for i := range rec.Headers {
		switch rec.Headers[i].Key {
		case "ce_source":
			if name, ok := strings.CutPrefix(string(rec.Headers[i].Value), sourcePrefix); ok {
				function = name
			}
		case "ce_type":
			if string(rec.Headers[i].Value) == events.TypeWatermark {
				return // goes with the events, and is none
			}
		}
	}
	f.mu.records[rec.Topic]++
	if function != "" {
		f.mu.outputs[function]++
	}
	if rec.Topic == events.TopicAnomalies {
		a := Anomaly{Seen: time.Now()}
		// Anything else that stands in this topic is not for us to judge.
		if events.ParseAnomaly(rec.Value, &a.Anomaly) == nil {
			if len(f.mu.anomalies) == keepAnomalies {
				f.mu.anomalies = append(f.mu.anomalies[:0], f.mu.anomalies[1:]...)
			}
			f.mu.anomalies = append(f.mu.anomalies, a)
		}
	}
}

// Records returns how many records have come since the start, by topic.
func (f *Follower) Records() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.mu.records)
}

// Outputs returns how many records each function has written since the start.
func (f *Follower) Outputs() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.mu.outputs)
}

// Anomalies returns the latest n anomalies, the newest last.
func (f *Follower) Anomalies(n int) []Anomaly {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.mu.anomalies
	return append([]Anomaly(nil), a[max(0, len(a)-n):]...)
}

// Lag returns how many offsets with records lie before the end of a topic and
// not before the positions of one that reads it. Markers of transactions at the
// end do not count, those in between do. A partition without a position, of which
// nothing has been read yet, does not count: where its reader will begin is not
// known.
func (f *Follower) Lag(topic string, positions map[int32]int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lag int64
	for p, position := range positions {
		lag += max(0, f.mu.next[topic][p]-position)
	}
	return lag
}

// CatchUp waits until everything that is committed now has been counted, or ctx
// is done.
func (f *Follower) CatchUp(ctx context.Context) error {
	ends, err := offsets.Ends(ctx, f.admin, f.topics...)
	if err != nil {
		return err
	}
	for {
		f.mu.Lock()
		behind := f.behind(ends)
		moved := f.mu.moved
		f.mu.Unlock()
		if !behind {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// behind reports whether an end has not been reached. f.mu is held.
func (f *Follower) behind(ends map[string]map[int32]int64) bool {
	for topic, partitions := range ends {
		for p, end := range partitions {
			// A partition in which nothing has come is not behind.
			if end > f.mu.begin[topic][p] && end > f.mu.position[topic][p] {
				return true
			}
		}
	}
	return false
}

// Close ends the reading.
func (f *Follower) Close() {
	f.stop()
	f.done.Wait()
	f.client.Close()
}
