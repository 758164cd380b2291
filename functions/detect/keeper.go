package detect

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/packed"
	"datasurge/functions/step"
)

// Kinds of keys for the windows that rules ask for.
const (
	kindCustomerWindows = step.FirstKind + 0x10 + iota // user id
	kindMerchantWindows                                // merchant id
	kindWindowStart                                    // window id
	kindClock                                          // nothing
)

// keeper keeps the windows that the rules of a set ask for.
//
// Those of customers are kept by the task that has the customer. Of a merchant,
// each task keeps what its own customers bought there and publishes it, at most
// once a second, to the table of windows; what the others have published is
// added to what this task knows itself.
//
// A window begins when a task first sees a set that asks for it. It is exact for
// a transaction all of whose window lies after that. A task that has not seen any
// transaction yet has missed none.
type keeper struct {
	task   int
	set    *rules.Set // that everything below is about
	byUser []kept
	byShop []kept
	exact  []int64 // by slot: event time from which this task misses nothing, 0: always
	values []float64

	// Whether there may be records of customers and merchants in the state.
	hasUsers, hasShops bool

	starts  map[windowID]*windowStart
	clock   *clock
	changed map[string]struct{} // merchants to be published

	record  askedWindows // scratch memory
	other   askedWindows
	totals  []total // of byUser or byShop
	key     []byte
	encoded []byte
}

// kept is a window of the set.
type kept struct {
	rules.SetWindow
	id    windowID
	slot  int
	width int64 // ms
}

// clock is the state value of the largest event time that the task has seen.
type clock struct{ ms int64 }

// windowStart is the state value of since when the task keeps a window.
type windowStart struct{ exactFrom int64 }

func newKeeper(task step.Task) *keeper {
	k := &keeper{task: task.Partition, starts: map[windowID]*windowStart{}, changed: map[string]struct{}{}}
	if task.State == nil {
		return k
	}
	for key, value := range task.State {
		switch key[0] {
		case kindWindowStart:
			k.starts[windowID(key[1:])] = value.(*windowStart)
		case kindClock:
			k.clock = value.(*clock)
		case kindCustomerWindows:
			k.hasUsers = true
		case kindMerchantWindows:
			k.hasShops = true
			if value.(*askedRecord).data[askedUnpublished] != 0 {
				k.changed[string(key[1:])] = struct{}{}
			}
		}
	}
	return k
}

// adopt begins to keep the windows that set asks for, and no others.
func (k *keeper) adopt(tx step.Tx, set *rules.Set) {
	if k.set == set {
		return
	}
	k.set, k.byUser, k.byShop, k.exact = set, k.byUser[:0], k.byShop[:0], k.exact[:0]
	asked := map[windowID]bool{}
	for slot, w := range set.Windows() {
		one := kept{SetWindow: w, id: parseWindowID(w.ID), slot: slot, width: w.Width().Milliseconds()}
		asked[one.id] = true
		if w.Key == rules.Merchant {
			k.byShop = append(k.byShop, one)
		} else {
			k.byUser = append(k.byUser, one)
		}
		start := k.starts[one.id]
		if start == nil {
			start = &windowStart{}
			if k.clock != nil {
				start.exactFrom = k.clock.ms + w.Warming().Milliseconds() + 1
			}
			k.starts[one.id] = start
			tx.Put(k.startKey(one.id), start)
			e := events.NewWindowStart(&events.WindowStart{Window: w.ID, Task: k.task, ExactFrom: start.exactFrom})
			tx.Emit(events.TopicWindows, &e)
		}
		k.exact = append(k.exact, start.exactFrom)
	}
	k.hasUsers, k.hasShops = k.hasUsers || len(k.byUser) > 0, k.hasShops || len(k.byShop) > 0
	k.values = slices.Grow(k.values[:0], len(k.exact))[:len(k.exact)]
	for _, id := range slices.SortedFunc(maps.Keys(k.starts), func(a, b windowID) int { return strings.Compare(a.String(), b.String()) }) {
		if !asked[id] {
			delete(k.starts, id)
			tx.Delete(k.startKey(id))
			e := events.Deleted(events.NewWindowStart(&events.WindowStart{Window: id.String(), Task: k.task}))
			tx.Emit(events.TopicWindows, &e)
		}
	}
}

func (k *keeper) startKey(id windowID) []byte {
	k.key = append(append(k.key[:0], kindWindowStart), id[:]...)
	return k.key
}

// observe adds the transaction in in to the windows that count it, and returns
// the value of each window of the set.
func (k *keeper) observe(tx step.Tx, t *events.Enriched, in *rules.Input, counted []bool) ([]float64, error) {
	k.tell(tx, t.Time)
	if err := k.customer(tx, t, in, counted); err != nil {
		return nil, err
	}
	return k.values, k.merchant(tx, t, in, counted)
}

// tell moves the clock.
func (k *keeper) tell(tx step.Tx, ms int64) {
	switch {
	case k.clock == nil:
		k.clock = &clock{ms}
	case ms > k.clock.ms:
		k.clock.ms = ms
	default:
		return
	}
	k.key = append(k.key[:0], kindClock)
	tx.Put(k.key, k.clock)
}

func (k *keeper) customer(tx step.Tx, t *events.Enriched, in *rules.Input, counted []bool) error {
	if !k.hasUsers {
		return nil
	}
	k.key = append(append(k.key[:0], kindCustomerWindows), t.UserID...)
	value, _ := tx.Get(k.key).(*askedRecord)
	if len(k.byUser) == 0 {
		if value != nil {
			tx.Delete(k.key)
		}
		return nil
	}
	_, err := k.update(tx, t, in, counted, k.byUser, value)
	if err != nil {
		return fmt.Errorf("windows of customer %q: %w", t.UserID, err)
	}
	k.resetTotals(k.byUser)
	k.settle(t, in, k.byUser, counted)
	return nil
}

func (k *keeper) resetTotals(list []kept) {
	k.totals = slices.Grow(k.totals[:0], len(list))[:len(list)]
	for i := range list {
		k.totals[i].reset(list[i].Aggregate)
	}
}

func (k *keeper) merchant(tx step.Tx, t *events.Enriched, in *rules.Input, counted []bool) error {
	if !k.hasShops {
		return nil
	}
	k.key = append(append(k.key[:0], kindMerchantWindows), t.MerchantID...)
	value, _ := tx.Get(k.key).(*askedRecord)
	if len(k.byShop) == 0 {
		if value != nil {
			tx.Delete(k.key)
			delete(k.changed, t.MerchantID)
			e := events.Deleted(events.NewWindowPanes(&events.WindowPanes{MerchantID: t.MerchantID, Task: k.task}))
			tx.Emit(events.TopicWindows, &e)
		}
		return nil
	}
	changed, err := k.update(tx, t, in, counted, k.byShop, value)
	if err != nil {
		return fmt.Errorf("windows of merchant %q: %w", t.MerchantID, err)
	}
	if changed {
		if _, known := k.changed[t.MerchantID]; !known {
			k.changed[strings.Clone(t.MerchantID)] = struct{}{} // which is a piece of a record
		}
	}
	k.resetTotals(k.byShop)
	for _, p := range tx.Table(events.TopicWindows).(*windowTable).merchants[t.MerchantID] {
		if p.task == k.task {
			continue
		}
		if err := k.other.decode(p.panes); err != nil {
			return fmt.Errorf("windows of merchant %q of task %d: %w", t.MerchantID, p.task, err)
		}
		if string(k.other.currency[:]) != t.BaseCurrency {
			continue
		}
		for i := range k.byShop {
			w := &k.byShop[i]
			if s := k.other.find(w.id); s != nil && s.aggregate == w.Aggregate {
				k.totals[i].merge(s, floorTo(t.Time, w.width))
			}
		}
	}
	k.settle(t, in, k.byShop, counted)
	return nil
}

// update brings the record of k.key up to date with t: windows that are no longer
// asked for go. It leaves the windows in k.record, in the order of list.
func (k *keeper) update(tx step.Tx, t *events.Enriched, in *rules.Input, counted []bool, list []kept, value *askedRecord) (changed bool, err error) {
	k.other.list = k.other.list[:0]
	if value != nil {
		if err := k.other.decode(value.data); err != nil {
			return false, err
		}
		if string(k.other.currency[:]) != t.BaseCurrency { // amounts in another currency mean nothing
			k.other.list = k.other.list[:0]
		}
	}
	k.record.list = k.record.list[:0]
	k.encoded = append(k.encoded[:0], askedVersion, 0)
	k.encoded = append(k.encoded, t.BaseCurrency[:3]...)
	changed = value == nil
	for i := range list {
		w, s := &list[i], k.record.next()
		if old := k.other.find(w.id); old != nil && old.aggregate == w.Aggregate {
			*s, *old = *old, *s // each keeps memory
		} else {
			s.reset(w.id, w.Aggregate)
		}
		if counted[w.slot] {
			changed = true
			number, hash := measure(w, in)
			s.add(floorTo(t.Time, w.width), number, hash)
		}
		if !s.empty() {
			k.encoded = s.append(k.encoded)
		}
	}
	if !changed {
		return false, nil
	}
	if list[0].Key == rules.Merchant {
		k.encoded[askedUnpublished] = 1
	}
	if value == nil {
		value = &askedRecord{}
	}
	if cap(value.data) < len(k.encoded) {
		value.data = nil // append would double it
	}
	value.data = append(value.data[:0], k.encoded...)
	tx.Put(k.key, value)
	return true, nil
}

// measure is what a window keeps of the transaction in in.
func measure(w *kept, in *rules.Input) (number int64, hash uint32) {
	switch w.Aggregate {
	case rules.Count:
		return 0, 0
	case rules.Distinct:
		return 0, valueHash(w.Text(in))
	}
	return fixedPoint(w.Number(in)), 0
}

// settle adds this task's own part, which is in k.record, to the totals of the
// windows in list, and notes their values.
func (k *keeper) settle(t *events.Enriched, in *rules.Input, list []kept, counted []bool) {
	for i := range list {
		w, total := &list[i], &k.totals[i]
		total.merge(&k.record.list[i], floorTo(t.Time, w.width))
		if counted[w.slot] && total.holdsNothing() {
			total.count(measure(w, in))
		}
		k.values[w.slot] = total.value()
	}
}

// exactFrom is the event time from which all windows of r are exact, in ms since
// the epoch; 0 when they are for a transaction at t.
func (k *keeper) exactFrom(tx step.Tx, r *rules.Compiled, t int64) int64 {
	if len(r.Own) == 0 {
		return 0
	}
	last := int64(0)
	for i, slot := range k.set.Slots(r) {
		last = max(last, k.exact[slot])
		if r.Own[i].Key == rules.Merchant {
			others := tx.Table(events.TopicWindows).(*windowTable)
			for _, from := range others.starts[parseWindowID(r.Own[i].ID)] {
				last = max(last, from)
			}
		}
	}
	if last <= t {
		return 0
	}
	return last
}

// publish tells the other tasks about the merchants that have changed.
func (k *keeper) publish(tx step.Tx) {
	for _, id := range slices.Sorted(maps.Keys(k.changed)) {
		key := append([]byte{kindMerchantWindows}, id...)
		value, _ := tx.Get(key).(*askedRecord)
		if value == nil {
			continue // no longer asked for
		}
		value.data[askedUnpublished] = 0
		tx.Put(key, value)
		e := events.NewWindowPanes(&events.WindowPanes{MerchantID: id, Task: k.task, Panes: value.data})
		tx.Emit(events.TopicWindows, &e)
	}
	clear(k.changed)
}

// floorTo numbers intervals of width from the epoch on, and before it.
func floorTo(t, width int64) int64 {
	n := t / width
	if t%width < 0 {
		n--
	}
	return n
}

// The encodings of a clock and of a windowStart: a version byte and a varint.
const (
	clockVersion       = 1
	windowStartVersion = 1
)

func clockCodec() step.Codec {
	return numberCodec("clock", clockVersion, func(v any) int64 { return v.(*clock).ms }, func(n int64) any { return &clock{n} })
}

func windowStartCodec() step.Codec {
	return numberCodec("begin of a window", windowStartVersion,
		func(v any) int64 { return v.(*windowStart).exactFrom }, func(n int64) any { return &windowStart{n} })
}

func numberCodec(what string, version byte, get func(any) int64, make func(int64) any) step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte { return binary.AppendVarint(append(dst, version), get(v)) },
		Parse: func(data []byte) (any, error) {
			if len(data) > 0 && data[0] > version {
				return nil, fmt.Errorf("%s: version %d: %w", what, data[0], step.ErrNewerVersion)
			}
			if len(data) < 2 || data[0] != version {
				return nil, fmt.Errorf("%s: the encoding is broken", what)
			}
			r := packed.NewReader(data[1:])
			n := r.Varint()
			if !r.Done() {
				return nil, fmt.Errorf("%s: the encoding is broken", what)
			}
			return make(n), nil
		},
	}
}
