package enrich

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"datasurge/events"
)

// What is kept of a transaction is not its record: strings of an event are parts
// of one copy of all its data, which here is large.
func TestEventsAreNotRetained(t *testing.T) {
	const n, size = 500, 64 << 10
	h := newHarness(t, nil)
	before := heapBytes()
	for i := range n {
		next := transaction(fmt.Sprint("id-", i), saturday.Add(time.Duration(i)*time.Millisecond))
		next.UserID = fmt.Sprint("user-", i)
		next.Location = []string{"Paris, FR", "US", "48.86,2.35"}[i%3]
		e := events.NewTransaction(&next)
		e.Data = append(e.Data[:len(e.Data)-1], `,"padding":"`...)
		e.Data = append(append(e.Data, bytes.Repeat([]byte("x"), size)...), `"}`...)
		if err := h.fn.Step(h.tx, &e); err != nil {
			t.Fatal(err)
		}
		h.take() // what is emitted refers to the record until it is sent
	}
	if grown := int64(heapBytes()) - int64(before); grown > n*size/4 {
		t.Errorf("%d events of %d bytes left %d bytes behind", n, size, grown)
	}
	runtime.KeepAlive(h)
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
