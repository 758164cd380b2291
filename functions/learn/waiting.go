package learn

import (
	"github.com/cespare/xxhash/v2"

	"datasurge/functions/step"
)

// waiting is the keys of the transactions that wait for their labels, and of the
// labels that wait for their transactions. It is bounded: when they become too
// many, half of all transactions, chosen by their ids, is left out from then on,
// and so on. What is learnt from the others is as true, only from fewer.
type waiting struct {
	most   int
	count  int
	days   map[int64]map[string]struct{} // by day of the transaction
	oldest int64                         // of transactions before, nothing is waited for
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
	return waiting{
		most: most, days: map[int64]map[string]struct{}{}, oldest: step.MinWatermark, thin: thinning{relaxed: step.MinWatermark},
	}
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

// add notes that key waits, and leaves out half when too many do.
func (w *waiting) add(tx step.Tx, key []byte) {
	w.restore(key)
	if w.count <= w.most || w.thin.level == mostThinning {
		return
	}
	w.thin.level++
	tx.Put([]byte{kindThinning}, w.thin)
	for d, keys := range w.days {
		for key := range keys {
			if w.leftOut(key[9:], step.KeyTime([]byte(key[:9]))) {
				tx.Delete([]byte(key))
				w.remove(d, key)
			}
		}
	}
}

func (w *waiting) restore(key []byte) {
	d := floorDay(step.KeyTime(key[:9]))
	if w.days[d] == nil {
		w.days[d] = map[string]struct{}{}
	}
	w.days[d][string(key)] = struct{}{}
	w.count++
}

// end deletes key, which waits no longer.
func (w *waiting) end(tx step.Tx, key []byte) {
	tx.Delete(key)
	w.remove(floorDay(step.KeyTime(key[:9])), string(key))
}

func (w *waiting) remove(d int64, key string) {
	delete(w.days[d], key)
	if len(w.days[d]) == 0 {
		delete(w.days, d)
	}
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
	for d, keys := range w.days {
		if d >= w.oldest {
			continue
		}
		for key := range keys {
			tx.Delete([]byte(key))
			w.remove(d, key)
		}
	}
	if w.thin.level > 0 && w.count < w.most/4 && w.thin.relaxed <= w.oldest {
		w.thin = thinning{w.thin.level - 1, mark}
		tx.Put([]byte{kindThinning}, w.thin)
	}
}
