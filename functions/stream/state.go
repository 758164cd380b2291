package stream

import "iter"

// state is the keyed state of one task and what of it the next commit has to
// write. There is no undo: after a failed commit the task is built again from
// the changelog.
type state struct {
	entries map[string]*entry
	dirty   []dirtyEntry
}

type entry struct {
	value any // nil: deleted, a tombstone is to be written
	dirty bool
}

type dirtyEntry struct {
	key string
	*entry
}

func newState() state { return state{entries: map[string]*entry{}} }

func (s *state) get(key []byte) any {
	if e := s.entries[string(key)]; e != nil {
		return e.value
	}
	return nil
}

func (s *state) put(key []byte, value any) {
	e := s.entries[string(key)]
	if e != nil && e.dirty {
		e.value = value
		return
	}
	text := string(key)
	if e == nil {
		e = &entry{}
		s.entries[text] = e
	}
	e.value, e.dirty = value, true
	s.dirty = append(s.dirty, dirtyEntry{text, e})
}

func (s *state) delete(key []byte) {
	if e := s.entries[string(key)]; e != nil && e.value != nil {
		s.put(key, nil)
	}
}

// restored sets the value at key as the changelog has it; nil deletes.
func (s *state) restored(key []byte, value any) {
	if value == nil {
		delete(s.entries, string(key))
	} else if e := s.entries[string(key)]; e != nil {
		e.value = value
	} else {
		s.entries[string(key)] = &entry{value: value}
	}
}

// committed forgets what was dirty.
func (s *state) committed() {
	for _, d := range s.dirty {
		d.entry.dirty = false
		if d.entry.value == nil {
			delete(s.entries, d.key)
		}
	}
	clear(s.dirty) // let go of deleted values
	s.dirty = s.dirty[:0]
}

func (s *state) all() iter.Seq2[[]byte, any] {
	return func(yield func([]byte, any) bool) {
		for key, e := range s.entries {
			if e.value != nil && !yield([]byte(key), e.value) {
				return
			}
		}
	}
}
