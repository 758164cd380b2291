package stream

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// blockSize is the number of offsets in one block of doneOffsets, and so in one
// record of the changelog.
const blockSize = 4096

// doneOffsets is how far one input partition has been processed, for events that
// arrive in any order: every offset below low is done, and above it those whose
// bit is set.
//
// Input topics are written in transactions, so offsets of commit markers and
// aborted records never arrive: low alone would stand still and the set above it
// would grow for ever. The set is kept in blocks, of which only the touched ones
// are written, and a block is forgotten when it is full and all below it are, or
// when nothing in it changed for longer than a source can take to deliver.
type doneOffsets struct {
	low    int64
	blocks map[int64]*block // by offset / blockSize
}

type block struct {
	bits    [blockSize / 64]uint64
	done    int       // number of bits set
	touched time.Time // wall clock of the last change
	dirty   bool      // not yet in the changelog
}

// isDone reports whether offset has been processed.
func (d *doneOffsets) isDone(offset int64) bool {
	if offset < d.low {
		return true
	}
	b := d.blocks[offset/blockSize]
	if b == nil {
		return false
	}
	i := offset % blockSize
	return b.bits[i/64]&(1<<(i%64)) != 0
}

// snapshot returns a copy that is safe to look at while d changes.
func (d *doneOffsets) snapshot() doneOffsets {
	c := doneOffsets{low: d.low, blocks: make(map[int64]*block, len(d.blocks))}
	for n, b := range d.blocks {
		clone := *b
		c.blocks[n] = &clone
	}
	return c
}

// mark marks offset as processed at the wall clock time now.
func (d *doneOffsets) mark(offset int64, now time.Time) {
	if offset < d.low {
		return
	}
	n := offset / blockSize
	b := d.blocks[n]
	if b == nil {
		if d.blocks == nil {
			d.blocks = map[int64]*block{}
		}
		b = &block{}
		d.blocks[n] = b
	}
	i := offset % blockSize
	if mask := uint64(1) << (i % 64); b.bits[i/64]&mask == 0 {
		b.bits[i/64] |= mask
		b.done++
	}
	b.touched, b.dirty = now, true
	for d.isDone(d.low) {
		d.low++
	}
}

// markThrough marks every offset below next as processed: what a reader that
// sees the partition in order does.
func (d *doneOffsets) markThrough(next int64) { d.low = max(d.low, next) }

// forget drops the blocks that are wholly below low, and those that nothing has
// changed since horizon before now, moving low over their gaps. It returns the
// numbers of the blocks to delete from the changelog, ascending.
func (d *doneOffsets) forget(now time.Time, horizon time.Duration) []int64 {
	if len(d.blocks) == 0 {
		return nil
	}
	var gone []int64
	numbers := make([]int64, 0, len(d.blocks))
	for n := range d.blocks {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if end := (n + 1) * blockSize; end > d.low {
			if now.Sub(d.blocks[n].touched) < horizon {
				break // a later block may not be forgotten before this one
			}
			d.low = end
		}
		delete(d.blocks, n)
		gone = append(gone, n)
	}
	for d.isDone(d.low) {
		d.low++
	}
	return gone
}

const blockVersion = 1

// appendBlock encodes b: version, time of the last change, bitmap.
func appendBlock(dst []byte, b *block) []byte {
	dst = append(dst, blockVersion)
	dst = binary.AppendVarint(dst, b.touched.UnixMilli())
	for _, word := range b.bits {
		dst = binary.LittleEndian.AppendUint64(dst, word)
	}
	return dst
}

func parseBlock(data []byte) (*block, error) {
	r := newReader(data)
	r.version("block of offsets", blockVersion)
	b := &block{touched: time.UnixMilli(r.Varint())}
	if err := r.problem(); err != nil {
		return nil, err
	}
	if r.Left() != blockSize/8 {
		return nil, fmt.Errorf("block of offsets: bitmap has %d bytes instead of %d", r.Left(), blockSize/8)
	}
	for i := range b.bits {
		b.bits[i] = r.Uint64()
		b.done += bits.OnesCount64(b.bits[i])
	}
	return b, nil
}
