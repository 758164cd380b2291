// Package watch tells when files have changed, by looking at them again and
// again. That finds what editors do (write beside and rename), works on every
// file system, and costs a stat for each file.
package watch

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// Every is the pause between two looks.
const Every = 200 * time.Millisecond

// Groups returns the files to look at, by a name for what they belong to. It is
// called for each look, since there may be new files.
type Groups func() map[string][]string

// stamp is what is compared of a file.
type stamp struct {
	size     int64
	modified time.Time
	mode     fs.FileMode
}

// Watcher remembers what the files looked like.
type Watcher struct {
	groups Groups
	known  map[string]map[string]stamp
}

// New remembers what the files look like now.
func New(groups Groups) *Watcher { return &Watcher{groups: groups, known: look(groups)} }

// Next waits until files have changed, appeared or gone, and then until they have
// been still for one look: what is being written is not worth reading yet. It
// returns the names of the groups, sorted, or the error of ctx.
func (w *Watcher) Next(ctx context.Context) ([]string, error) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	last := w.known
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		now := look(w.groups)
		changed := differences(w.known, now)
		if len(changed) > 0 && len(differences(last, now)) == 0 {
			w.known = now
			return changed, nil
		}
		last = now
	}
}

func look(groups Groups) map[string]map[string]stamp {
	seen := make(map[string]map[string]stamp)
	for name, files := range groups() {
		seen[name] = make(map[string]stamp, len(files))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				seen[name][f] = stamp{info.Size(), info.ModTime(), info.Mode()}
			}
		}
	}
	return seen
}

// differences returns the names of the groups that are not the same, sorted. A
// group that is new is not a difference.
func differences(before, after map[string]map[string]stamp) []string {
	var names []string
	for name, files := range after {
		if old, ok := before[name]; ok && !maps.Equal(old, files) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
