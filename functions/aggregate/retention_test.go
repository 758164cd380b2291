package aggregate

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"datasurge/events"
)

// What is kept of an event is not the event: strings of an event are parts of
// one copy of all its data, which here is large.
func TestEventsAreNotRetained(t *testing.T) {
	const n, size = 500, 64 << 10
	padding := append([]byte(`,"padding":"`), bytes.Repeat([]byte("x"), size)...)
	padded := func(e events.Event) *events.Event {
		e.Data = append(append(e.Data[:len(e.Data)-1:len(e.Data)-1], padding...), `"}`...)
		return &e
	}
	tx := newBenchTx()
	tx.keep = true // the partials
	f := benchFunction(t, tx, 4)
	step := func(e events.Event) {
		t.Helper()
		if err := f.Step(tx, padded(e)); err != nil {
			t.Fatal(err)
		}
	}
	before := heapBytes()
	for i := range n {
		name := fmt.Sprint("name-", i)
		s := transaction(name, int64(i))
		s.MerchantID, s.Category, s.RuleSet = name, name, name
		s.Flagged, s.Rules = true, []events.FiredRule{{ID: name, Version: 1}}
		step(events.NewScored(&s))
		step(events.NewLabel(&events.Label{
			TransactionID: name, UserID: name, MerchantID: name + "-label",
			TransactionTime: s.Time, LabelTime: s.Time, Fraud: true,
		}))
	}
	for range 10 { // until everything is published
		tick(t, f, tx)
	}
	for _, e := range tx.partials {
		step(e)
	}
	tx.partials = nil
	if grown := int64(heapBytes()) - int64(before); grown > n*size/2 {
		t.Errorf("%d events of %d bytes left %d bytes behind", 2*n, size, grown)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(tx)
}
