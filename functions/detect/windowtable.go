package detect

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"datasurge/events"
	"datasurge/functions/step"
)

// windowTable is the view of the table of windows: since when each task keeps
// which window, and what each has counted of which merchant. It is never
// modified.
type windowTable struct {
	starts    map[windowID]map[int]int64 // window to task to the event time from which it is exact there
	merchants map[string][]taskPanes
}

// taskPanes is what a task has published of a merchant: an askedRecord.
type taskPanes struct {
	task  int
	panes []byte
}

// applyWindows keeps a *windowTable. A record that is wrong leaves what stood
// under its key, and its error comes with the new view.
func applyWindows(old any, records []step.Change) (any, error) {
	before := old.(*windowTable)
	view := &windowTable{starts: maps.Clone(before.starts), merchants: maps.Clone(before.merchants)}
	if view.starts == nil {
		view.starts, view.merchants = map[windowID]map[int]int64{}, map[string][]taskPanes{}
	}
	var refused []error
	for _, record := range records {
		if err := view.take(record); err != nil {
			refused = append(refused, fmt.Errorf("record %q: %w", record.Key, err))
		}
	}
	return view, errors.Join(refused...)
}

func (v *windowTable) take(record step.Change) error {
	if id, task, ok := events.ParseWindowStartKey(record.Key); ok {
		return v.takeStart(id, task, record.Value)
	}
	merchant, task, ok := events.ParseWindowPanesKey(record.Key)
	if !ok {
		return errors.New("the key is neither that of a window nor of a merchant")
	}
	list := slices.DeleteFunc(slices.Clone(v.merchants[merchant]), func(p taskPanes) bool { return p.task == task })
	if record.Value != nil {
		var panes events.WindowPanes
		if err := events.ParseWindowPanes(record.Value, &panes); err != nil {
			return err
		}
		if err := new(askedWindows).decode(panes.Panes); err != nil {
			return err
		}
		list = append(list, taskPanes{task, panes.Panes})
	}
	if len(list) == 0 {
		delete(v.merchants, merchant)
	} else {
		v.merchants[merchant] = list
	}
	return nil
}

func (v *windowTable) takeStart(name string, task int, data []byte) error {
	if len(name) != 2*len(windowID{}) {
		return errors.New("the key has no id of a window")
	}
	id := parseWindowID(name)
	tasks := maps.Clone(v.starts[id])
	if data == nil {
		delete(tasks, task)
	} else {
		var start events.WindowStart
		if err := events.ParseWindowStart(data, &start); err != nil {
			return err
		}
		if tasks == nil {
			tasks = map[int]int64{}
		}
		tasks[task] = start.ExactFrom
	}
	if len(tasks) == 0 {
		delete(v.starts, id)
	} else {
		v.starts[id] = tasks
	}
	return nil
}
