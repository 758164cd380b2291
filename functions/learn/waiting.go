package learn

import (
	"github.com/cespare/xxhash/v2"

	"datasurge/functions/step"
)

// waiting counts the transactions that wait for their labels, and the labels that
// wait for their transactions. They are bounded: when they become too many, half of
// all transactions, chosen by their ids, is left out from then on, and so on. What
// is learnt from the others is as true, only from fewer.
type waiting struct {
	most   int
	count  int
	oldest int64 // of transactions before, nothing is waited for
	thin   thinning
}

// thinning says that one transaction in 2^level is waited for, and of those before
// relaxed, when the level was last lowered, one in 2^(level+1): labels of what was
// left out then would wait in vain.
type thinning struct {
	level   uint
	relaxed int64
}

// mostThinning leaves one in a million.
const mostThinning = 20

func newWaiting(most int) waiting {
	return waiting{most: most, oldest: step.MinWatermark, thin: thinning{relaxed: step.MinWatermark}}
}

// leftOut reports whether the transaction of that time is not waited for. It looks
// at other bits of the hash than the choice of examples does.
func (w *waiting) leftOut(id string, time int64) bool {
	level := w.thin.level
	if time < w.thin.relaxed {
		level++
	}
	return xxhash.Sum64String(id)>>(64-level) != 0
}

// waits reports whether key is of something that waits, and of which time and id.
func waits(key []byte) (time int64, id string, ok bool) {
	if key[0] != kindPending && key[0] != kindEarly {
		return 0, "", false
	}
	return step.KeyTime(key[:9]), string(key[9:]), true
}

// add lets v wait at key, and leaves out half when too many do.
func (w *waiting) add(tx step.Tx, key []byte, v any) {
	tx.Put(key, v)
	w.count++
	if w.count <= w.most || w.thin.level == mostThinning {
		return
	}
	w.thin.level++
	tx.Put([]byte{kindThinning}, w.thin)
	for key := range tx.All() {
		if time, id, ok := waits(key); ok && w.leftOut(id, time) {
			w.end(tx, key)
		}
	}
}

// end deletes key, which waits no longer.
func (w *waiting) end(tx step.Tx, key []byte) {
	tx.Delete(key)
	w.count--
}

// forget deletes what has waited too long, and when there is much room leaves out
// less from now on.
func (w *waiting) forget(tx step.Tx) {
	mark := tx.Watermark()
	if mark == step.MinWatermark || floorDay(mark-memory) <= w.oldest {
		return
	}
	w.oldest = floorDay(mark - memory)
	for key := range tx.All() {
		if time, _, ok := waits(key); ok && time < w.oldest {
			w.end(tx, key)
		}
	}
	if w.thin.level > 0 && w.count < w.most/4 && w.thin.relaxed <= w.oldest {
		w.thin = thinning{w.thin.level - 1, mark}
		tx.Put([]byte{kindThinning}, w.thin)
	}
}
