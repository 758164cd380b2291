package enrich

import (
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"datasurge/functions/step"
)

// duplicates remembers the ids of the transactions of the last while, in event
// time, so that one that was written twice is enriched once.
//
// Ids are collected in chunks: one for each commit and minute of event time that
// the commit's transactions fall into. So a commit of a live stream writes one
// record to the changelog however many transactions it holds, and a minute is
// forgotten by deleting its chunks. In memory only the index holds ids: a chunk
// lets go of its own once they are in the changelog.
//
// Whether an id counts as known depends on event time alone, not on when Tick
// got round to deleting its chunk.
type duplicates struct {
	horizon time.Duration
	index   map[identity]minute // the newest minute that holds the id
	chunks  map[minute][]chunkKey
	fresh   []*chunk          // of the commit under way
	open    map[minute]*chunk // those of them to which ids are added
	commit  uint64            // that commit
	key     []byte            // scratch
}

// minute is a bucket of event time: minutes since the epoch.
type minute int32

func minuteOf(ms int64) minute {
	m := ms / 60_000
	if ms%60_000 < 0 {
		m-- // times before 1970 round down too
	}
	return minute(min(max(m, math.MinInt32), math.MaxInt32))
}

// end is the first ms after the minute.
func (m minute) end() int64 { return (int64(m) + 1) * 60_000 }

// chunkKey tells the chunks of one minute apart.
type chunkKey struct {
	commit uint64
	part   uint16
}

// chunk holds the ids that one commit saw of one minute, none after that commit.
type chunk struct {
	chunkKey
	ids []identity
}

// chunkIDs bounds a chunk to 512,001 bytes in the changelog; a commit with more
// ids of one minute goes on in a chunk of the next part.
const chunkIDs = 32_000

// newDuplicates rebuilds the index from the restored state.
func newDuplicates(horizon time.Duration, state iter.Seq2[[]byte, any]) *duplicates {
	d := &duplicates{
		horizon: horizon,
		index:   map[identity]minute{},
		chunks:  map[minute][]chunkKey{},
		open:    map[minute]*chunk{},
	}
	for key, value := range state {
		if key[0] != kindChunk {
			continue
		}
		m, at := parseChunkKey(key)
		d.chunks[m] = append(d.chunks[m], at)
		c := value.(*chunk)
		for _, id := range c.ids {
			if known, ok := d.index[id]; !ok || m > known {
				d.index[id] = m
			}
		}
		c.ids = nil
	}
	return d
}

// expired reports whether the ids of minute m are too old to be remembered.
func (d *duplicates) expired(m minute, watermark int64) bool {
	return watermark >= m.end()+d.horizon.Milliseconds()
}

// known reports whether id was seen within the horizon.
func (d *duplicates) known(id identity, watermark int64) bool {
	m, ok := d.index[id]
	return ok && !d.expired(m, watermark)
}

// remember adds the id of a transaction of the given event time. A transaction
// older than the horizon is not remembered.
func (d *duplicates) remember(tx step.Tx, id identity, ms int64) {
	m := minuteOf(ms)
	if d.expired(m, tx.Watermark()) {
		return
	}
	if commit := tx.Commit(); commit != d.commit {
		d.committed()
		d.commit = commit
	}
	c := d.open[m]
	if c == nil || len(c.ids) == chunkIDs {
		next := &chunk{chunkKey: chunkKey{commit: d.commit}}
		if c != nil {
			next.part = c.part + 1
		}
		c = next
		d.open[m] = c
		d.fresh = append(d.fresh, c)
		d.chunks[m] = append(d.chunks[m], c.chunkKey)
	}
	c.ids = append(c.ids, id)
	d.index[id] = m
	d.key = appendChunkKey(d.key[:0], m, c.chunkKey)
	tx.Put(d.key, c)
}

// committed lets go of what the commit under way before held.
func (d *duplicates) committed() {
	for _, c := range d.fresh {
		c.ids = nil
	}
	clear(d.open)
	clear(d.fresh)
	d.fresh = d.fresh[:0]
}

// forget deletes the minutes that the watermark has left behind by the horizon.
func (d *duplicates) forget(tx step.Tx) {
	watermark := tx.Watermark()
	var expired []minute
	for m := range d.chunks {
		if d.expired(m, watermark) {
			expired = append(expired, m)
		}
	}
	slices.Sort(expired) // so that the changelog does not depend on the order of a map
	for _, m := range expired {
		for _, at := range d.chunks[m] {
			d.key = appendChunkKey(d.key[:0], m, at)
			tx.Delete(d.key)
		}
		delete(d.chunks, m)
		delete(d.open, m)
	}
	if len(expired) > 0 {
		maps.DeleteFunc(d.index, func(_ identity, m minute) bool { return d.expired(m, watermark) })
	}
}

// appendChunkKey appends kind, start of the minute, commit and part.
func appendChunkKey(key []byte, m minute, at chunkKey) []byte {
	key = append(key, kindChunk)
	key = step.AppendTime(key, int64(m)*60_000)
	key = binary.BigEndian.AppendUint64(key, at.commit)
	return binary.BigEndian.AppendUint16(key, at.part)
}

func parseChunkKey(key []byte) (minute, chunkKey) {
	return minuteOf(step.KeyTime(key[:9])), chunkKey{
		commit: binary.BigEndian.Uint64(key[9:]),
		part:   binary.BigEndian.Uint16(key[17:]),
	}
}

// chunkVersion is the first byte of a chunk's encoding; the ids follow.
const chunkVersion = 1

func appendChunk(dst []byte, value any) []byte {
	dst = append(dst, chunkVersion)
	for _, id := range value.(*chunk).ids {
		dst = append(dst, id[:]...)
	}
	return dst
}

// parseChunk reads the ids. The rest of the chunk is in its key and is not
// needed: a restored chunk is never added to.
func parseChunk(data []byte) (any, error) {
	if len(data) == 0 || data[0] != chunkVersion {
		return nil, fmt.Errorf("ids of enrich: %w", versionError(data))
	}
	data = data[1:]
	if len(data)%16 != 0 {
		return nil, fmt.Errorf("ids of enrich: %d bytes are no whole number of ids", len(data))
	}
	ids := make([]identity, len(data)/16)
	for i := range ids {
		ids[i] = identity(data[i*16:])
	}
	return &chunk{ids: ids}, nil
}
