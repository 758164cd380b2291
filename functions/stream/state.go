package stream

import "iter"

// state is the keyed state of one task and what of it the next commit has to
// write. There is no undo: after a failed commit the task is built again from
// the changelog.
type state struct {
	entries map[string]*entry
	dirty   []dirtyEntry
	bytes   int64 // of keys and values as the changelog has them
}

type entry struct {
	value any // nil: deleted, a tombstone is to be written
	dirty bool
	size  int32 // of key and value in the changelog, 0 before they are there
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
	// Some keys are put for each event.
	if last := len(s.dirty) - 1; last >= 0 && s.dirty[last].key == string(key) {
		s.dirty[last].value = value
		return
	}
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

// restored sets the value at key as the changelog has it, in size bytes; nil
// deletes.
func (s *state) restored(key []byte, value any, size int) {
	e := s.entries[string(key)]
	if value == nil {
		if e != nil {
			s.written(e, 0)
			delete(s.entries, string(key))
		}
		return
	}
	if e == nil {
		e = &entry{}
		s.entries[string(key)] = e
	}
	e.value = value
	s.written(e, len(key)+size)
}

// written notes that e takes size bytes of the changelog.
func (s *state) written(e *entry, size int) {
	s.bytes += int64(size) - int64(e.size)
	e.size = int32(size)
}

func (s *state) size() StateSize { return StateSize{Entries: len(s.entries), Bytes: s.bytes} }

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
