package detect

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
)

// merchants is the view of the table merchant_outcomes. It is never modified; it
// is in parts so that a change copies only a part.
type merchants [256]map[string]*outcome.History

func (m *merchants) part(id string) int { return int(xxhash.Sum64String(id) % uint64(len(m))) }

func (m *merchants) get(id string) *outcome.History { return m[m.part(id)][id] }

func outcomeTable() step.Table {
	return step.Table{Topic: events.TopicOutcomes, Initial: &merchants{}, Apply: applyOutcomes}
}

// applyOutcomes keeps the table's view. The error names the records that were
// refused; the others are applied, and a merchant whose record was refused keeps
// the last good one.
func applyOutcomes(old any, changes []step.Change) (any, error) {
	view := *old.(*merchants)
	var copied [len(view)]bool
	var refused []error
	for _, change := range changes {
		var history *outcome.History
		if change.Value != nil {
			h, err := outcome.Parse(change.Value)
			if err == nil && h.MerchantID != change.Key {
				err = fmt.Errorf("the record's key is %q, but it is of merchant %q", change.Key, h.MerchantID)
			}
			if err != nil {
				refused = append(refused, err)
				continue
			}
			if len(h.Outcomes) > 0 { // without any it has been forgotten
				history = h
			}
		}
		part := view.part(change.Key)
		if !copied[part] {
			copied[part] = true
			view[part] = maps.Clone(view[part])
			if view[part] == nil {
				view[part] = map[string]*outcome.History{}
			}
		}
		if history == nil {
			delete(view[part], change.Key)
		} else {
			view[part][change.Key] = history
		}
	}
	return &view, errors.Join(refused...)
}
