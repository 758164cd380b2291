package stream

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// What a doneOffsets says must equal a plain set, through marks in any order,
// repeats, encoding and forgetting.
func TestDoneOffsetsEqualsASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		d, reference := doneOffsets{}, map[int64]bool{}
		now := start
		for range 3000 {
			now = now.Add(time.Millisecond)
			offset := rng.Int64N(3 * blockSize)
			if round%2 == 0 && offset%7 == 0 {
				continue // a gap that never fills
			}
			d.mark(offset, now)
			reference[offset] = true
			if rng.IntN(500) == 0 {
				for n, b := range d.blocks {
					again, err := parseBlock(appendBlock(nil, b))
					if err != nil {
						t.Fatal(err)
					}
					d.blocks[n] = again
				}
				d.forget(now, time.Hour)
			}
		}
		for offset := range int64(3 * blockSize) {
			if d.isDone(offset) != reference[offset] {
				t.Fatalf("round %d: isDone(%d) = %v, want %v", round, offset, d.isDone(offset), reference[offset])
			}
		}
	}
}

func TestDoneOffsetsLateRetryIntoAnOldGap(t *testing.T) {
	var d doneOffsets
	for offset := range int64(3 * blockSize) {
		if offset != 17 {
			d.mark(offset, start)
		}
	}
	if gone := d.forget(start.Add(10*time.Minute), time.Hour); gone != nil {
		t.Fatalf("blocks %v were forgotten although the gap below them may still fill", gone)
	}
	if d.isDone(17) {
		t.Fatal("offset 17 never came and counts as done")
	}
	d.mark(17, start.Add(10*time.Minute))
	if d.low != 3*blockSize {
		t.Fatalf("low = %d after the gap filled, want %d", d.low, 3*blockSize)
	}
	if gone := d.forget(start.Add(10*time.Minute), time.Hour); len(gone) != 3 {
		t.Fatalf("forgot blocks %v, want all three", gone)
	}
	if !d.isDone(5000) {
		t.Fatal("a duplicate into a full, forgotten block counts as new")
	}
}

func TestDoneOffsetsForgetsGapsAfterTheHorizon(t *testing.T) {
	var d doneOffsets
	// Transactions of ten events and a marker that never arrives.
	now := start
	for offset := range int64(100_000) {
		if offset%11 != 10 {
			d.mark(offset, now)
		}
		now = now.Add(100 * time.Millisecond)
		if offset%1000 == 0 {
			d.forget(now, time.Hour)
		}
	}
	// An hour is 36,000 offsets, so nine or ten blocks.
	if n := len(d.blocks); n > 11 {
		t.Fatalf("%d blocks are kept, want at most 11", n)
	}
	if !d.isDone(10) {
		t.Fatal("the gap at offset 10 is older than the horizon and still open")
	}
}

func TestParseBlockRefuses(t *testing.T) {
	good := appendBlock(nil, &block{touched: start})
	for name, data := range map[string][]byte{
		"empty":         {},
		"cut short":     good[:len(good)-1],
		"too long":      append(good[:len(good):len(good)], 0),
		"newer version": append([]byte{blockVersion + 1}, good[1:]...),
	} {
		if _, err := parseBlock(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
