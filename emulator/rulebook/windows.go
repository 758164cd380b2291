package rulebook

import (
	"context"
	"fmt"
	"time"

	"datasurge/events"
)

// Windows says from when the tasks of detect know the windows that rules ask
// for exactly: window id to task to ms since the epoch, 0 for always.
type Windows map[string]map[int]int64

// Windows reads what the tasks of detect say about the windows that rules ask
// for.
func (b *Book) Windows(ctx context.Context) (Windows, error) {
	list, err := b.table(ctx, events.TopicWindows)
	if err != nil {
		return nil, err
	}
	w := Windows{}
	for _, rec := range list {
		var start events.WindowStart
		if _, _, ok := events.ParseWindowStartKey(rec.key); !ok {
			continue
		}
		if err := events.ParseWindowStart(rec.value, &start); err != nil {
			return nil, fmt.Errorf("record %q of %s: %w", rec.key, events.TopicWindows, err)
		}
		if w[start.Window] == nil {
			w[start.Window] = map[int]int64{}
		}
		w[start.Window][start.Task] = start.ExactFrom
	}
	return w, nil
}

// exact says in words from when a window is exact, by the clock now: event time
// may be another.
func (w Windows) exact(id string, now time.Time) string {
	tasks := w[id]
	if len(tasks) == 0 {
		return "warming: no task has begun to keep it"
	}
	last := int64(0)
	for _, from := range tasks {
		last = max(last, from)
	}
	if last == 0 {
		return "exact"
	}
	at := time.UnixMilli(last).UTC()
	if at.After(now) {
		return fmt.Sprintf("warming: exact from %s on, in %s", at.Format(time.RFC3339), at.Sub(now).Round(time.Second))
	}
	return fmt.Sprintf("exact since %s", at.Format(time.RFC3339))
}
