package stream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/step"
)

// tables follows the compacted topics of a function's tables into memory. One
// follower serves all tasks of the process; they see immutable views.
type tables struct {
	defs  []step.Table
	views map[string]*atomic.Pointer[any]
	log   *slog.Logger

	mu struct {
		sync.Mutex
		reading
	}
}

// quietAfter is how long a table has to be quiet to count as read to its end.
const quietAfter = 2 * time.Second

func newTables(defs []step.Table, log *slog.Logger) *tables {
	t := &tables{defs: defs, views: map[string]*atomic.Pointer[any]{}, log: log}
	t.mu.reading = reading{map[place]int64{}, make(chan struct{})}
	for _, def := range defs {
		view := &atomic.Pointer[any]{}
		view.Store(new(def.Initial))
		t.views[def.Topic] = view
	}
	return t
}

// fix copies the present views to into.
func (t *tables) fix(into map[string]any) {
	for topic, view := range t.views {
		into[topic] = *view.Load()
	}
}

// follow reads the tables until ctx ends and closes loaded when it has read all
// that stood in them at the start.
func (t *tables) follow(ctx context.Context, kafka []kgo.Opt, loaded chan<- struct{}) error {
	if len(t.defs) == 0 {
		close(loaded)
		<-ctx.Done()
		return nil
	}
	var topics []string
	for _, def := range t.defs {
		topics = append(topics, def.Topic)
	}
	client, err := kgo.NewClient(append(slices.Clone(kafka),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // compaction may move the start
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list the end of the tables %v: %w", topics, err)
	}
	missing := map[place]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing[place{o.Topic, o.Partition}] = o.Offset
		}
	})
	lastRecord := time.Now()
	for {
		// What compaction or an abort left out at the end of a table never
		// comes: some time without a record ends the loading too.
		if loaded != nil && (len(missing) == 0 || time.Since(lastRecord) > quietAfter) {
			close(loaded)
			loaded = nil
		}
		pollCtx, cancel := ctx, context.CancelFunc(func() {})
		if loaded != nil {
			pollCtx, cancel = context.WithTimeout(ctx, time.Second)
		}
		fetches := client.PollRecords(pollCtx, 10_000)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		for _, failure := range fetches.Errors() {
			if failure.Err != context.DeadlineExceeded {
				t.log.Warn("reading a table failed", slog.String("topic", failure.Topic), slog.Any("error", failure.Err))
			}
		}
		changes, next := map[string][]step.Change{}, map[place]int64{}
		for rec := range fetches.RecordsAll() {
			lastRecord = time.Now()
			at := place{rec.Topic, rec.Partition}
			next[at] = rec.Offset + 1
			if missing[at] > 0 && rec.Offset+1 >= missing[at] {
				delete(missing, at)
			}
			if !rec.Attrs.IsControl() {
				changes[rec.Topic] = append(changes[rec.Topic], step.Change{Key: string(rec.Key), Value: rec.Value})
			}
		}
		for topic, list := range changes {
			t.apply(topic, list)
		}
		t.read(next)
	}
}

func (t *tables) apply(topic string, changes []step.Change) {
	i := slices.IndexFunc(t.defs, func(def step.Table) bool { return def.Topic == topic })
	view := t.views[topic]
	next, err := t.defs[i].Apply(*view.Load(), changes)
	if err != nil {
		t.log.Error("a table record was refused and the last good one stays in force", slog.String("topic", topic), slog.Any("error", err))
	}
	if next != nil {
		view.Store(&next)
	}
}
