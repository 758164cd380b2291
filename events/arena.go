package events

// Arena makes events whose data share chunks of memory, for a function that
// emits one after the other: that takes a thirtieth of the allocations. A chunk
// is freed with the last event in it, so it is for events that are soon sent.
//
// The zero value is ready; a nil Arena gives each event memory of its own. An
// Arena belongs to one goroutine, its events to anybody.
type Arena struct {
	free []byte // what is left of the chunk, of length 0
}

// arenaChunk is the size of a chunk, the largest for which Go's allocator keeps
// a list.
const arenaChunk = 32 << 10

// data returns what write appends, probably at most size bytes.
func (a *Arena) data(size int, write func(dst []byte) []byte) []byte {
	if a == nil {
		return write(make([]byte, 0, size))
	}
	if cap(a.free) < size {
		a.free = make([]byte, 0, max(arenaChunk, size))
	}
	data := write(a.free)
	if len(data) > cap(a.free) {
		return data // it has outgrown the chunk
	}
	a.free = data[len(data):]
	return data[:len(data):len(data)]
}
