package detect

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"datasurge/events"
	"datasurge/functions/step"
)

// What is kept of a transaction is not its record: strings of an event are parts
// of one copy of all its data, which here is large.
func TestEventsAreNotRetained(t *testing.T) {
	const n, size = 500, 64 << 10
	def, err := Definition(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	tx := newBenchTx(def)
	f := def.New(step.Task{})
	before := heapBytes()
	for i := range n {
		next := in([]string{"DE", "FR"}[i%2], bought(day0+int64(i), 20_000_000))
		next.UserID = fmt.Sprint("user-", i)
		e := events.NewEnriched(&next)
		e.Data = append(e.Data[:len(e.Data)-1], `,"padding":"`...)
		e.Data = append(append(e.Data, bytes.Repeat([]byte("x"), size)...), `"}`...)
		if err := f.Step(tx, &e); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heapBytes()) - int64(before); grown > n*size/4 {
		t.Errorf("%d events of %d bytes left %d bytes behind", n, size, grown)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(tx)
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
