package learn

import (
	"maps"
	"slices"
	"strconv"

	"datasurge/events"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
)

// merchants is the second phase: what became of the transactions of the merchants
// whose key this task owns.
type merchants struct {
	unsent map[string]*merchant
	all    map[string]*merchant
	oldest int64 // outcomes before say nothing any more
	key    []byte
}

type merchant struct {
	outcome.History
	unsent bool // it has changed since it was last published
}

func newMerchants() merchants {
	return merchants{unsent: map[string]*merchant{}, all: map[string]*merchant{}, oldest: step.MinWatermark}
}

func (m *merchants) restore(one *merchant) {
	m.all[one.MerchantID] = one
	if one.unsent {
		m.unsent[one.MerchantID] = one
	}
}

func (m *merchants) keyOf(id string) []byte {
	m.key = append(append(m.key[:0], kindMerchant), id...)
	return m.key
}

// take takes what became of one transaction.
func (m *merchants) take(tx step.Tx, e *events.Event) error {
	o, err := parseOutcome(e.Data)
	if err != nil {
		return err
	}
	one := m.all[o.MerchantID]
	if one == nil {
		one = &merchant{History: outcome.History{MerchantID: o.MerchantID}}
		m.all[o.MerchantID] = one
	}
	one.Add(outcome.Outcome{Time: o.Time, Known: o.Known, Kind: outcome.Kind(o.Kind)})
	one.unsent = true
	m.unsent[o.MerchantID] = one
	tx.Put(m.keyOf(o.MerchantID), one)
	return nil
}

// publish publishes the merchants that have changed, and forgets those of whom
// nothing was heard for long; their last record is one without outcomes.
func (m *merchants) publish(tx step.Tx) {
	if mark := tx.Watermark(); mark != step.MinWatermark && floorDay(mark)-memory > m.oldest {
		m.oldest = floorDay(mark) - memory
		for id, one := range m.all {
			if n := len(one.Outcomes); n > 0 && one.Outcomes[n-1].Time < m.oldest {
				one.Outcomes, one.unsent = nil, true
				m.unsent[id] = one
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.unsent)) {
		one := m.unsent[id]
		at, kind := int64(0), 0
		if n := len(one.Outcomes); n > 0 {
			at, kind = one.Outcomes[n-1].Known, n
		}
		emitData(tx, events.TopicOutcomes, events.TypeOutcomes, id+"/outcomes/"+strconv.FormatInt(at, 10)+"/"+strconv.Itoa(kind), id, at, one.Append(nil))
		if len(one.Outcomes) == 0 {
			delete(m.all, id)
			tx.Delete(m.keyOf(id))
			continue
		}
		one.unsent = false
		tx.Put(m.keyOf(id), one)
	}
	clear(m.unsent)
}
