package events

// Arena makes events whose data share one piece of memory, for a function that
// emits one after the other.
//
// The zero value is ready; a nil Arena gives each event memory of its own. An
// Arena belongs to one goroutine, and so do its events.
type Arena struct {
	all  []byte // the memory, of length 0
	free []byte // what is left of it, of length 0
}

// arenaSize is enough for what a function makes of one event, nearly always.
const arenaSize = 16 << 10

// Reset takes back the memory of all events that a has made: their data may no
// longer be used.
func (a *Arena) Reset() { a.free = a.all }

// data returns what write appends, probably at most size bytes.
func (a *Arena) data(size int, write func(dst []byte) []byte) []byte {
	if a == nil {
		return write(make([]byte, 0, size))
	}
	if cap(a.free) < size {
		a.all = make([]byte, 0, max(arenaSize, size))
		a.free = a.all
	}
	data := write(a.free)
	if len(data) > cap(a.free) {
		return data // it has outgrown the memory
	}
	a.free = data[len(data):]
	return data[:len(data):len(data)]
}
