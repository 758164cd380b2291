// Package steptest runs a function without an engine: state in a map, emitted
// events in a slice, time set by the test. Every value goes through its codec at
// Commit, so that a codec that loses something is found.
package steptest

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// Emitted is one event that a function emitted and the topic it went to.
type Emitted struct {
	Topic string
	Event events.Event
}

// Tx is a step.Tx for tests.
type Tx struct {
	Time      time.Time        // what Now returns
	Mark      int64            // what Watermark returns; Observe raises it to Observed-Lag
	Marks     map[string]int64 // what InputWatermark returns by topic; Mark for other topics
	Lag       time.Duration    // out-of-orderness
	MaxAhead  time.Duration    // Observe returns ErrFuture beyond Time+MaxAhead; 0 is off
	Tables    map[string]any
	Emitted   []Emitted
	Changelog map[string][]byte // what the changelog would hold after compaction

	t       testing.TB
	def     step.Definition
	state   map[string]any
	dirty   map[string]bool
	commits uint64
}

// New returns a Tx for the function that def declares, with the tables' initial
// views and no state.
func New(t testing.TB, def step.Definition) *Tx {
	tx := &Tx{
		t: t, def: def, Mark: step.MinWatermark,
		Marks: map[string]int64{}, Tables: map[string]any{}, Changelog: map[string][]byte{},
		state: map[string]any{}, dirty: map[string]bool{}, commits: 1,
	}
	for _, table := range def.Tables {
		tx.Tables[table.Topic] = table.Initial
	}
	return tx
}

// Restart returns a Tx as a new process would have it: only what was committed.
func (tx *Tx) Restart() *Tx {
	tx.t.Helper()
	next := New(tx.t, tx.def)
	next.Time, next.Mark, next.Lag, next.MaxAhead = tx.Time, tx.Mark, tx.Lag, tx.MaxAhead
	next.Marks, next.Tables, next.commits = maps.Clone(tx.Marks), tx.Tables, tx.commits
	next.Changelog = maps.Clone(tx.Changelog)
	for key, data := range next.Changelog {
		next.state[key] = tx.parse(key, data)
	}
	return next
}

// Task returns what step.Definition.New needs.
func (tx *Tx) Task(partition, partitions int) step.Task {
	inputs := map[string]int{}
	for _, in := range tx.def.Inputs {
		inputs[in.Topic] = partitions
	}
	return step.Task{
		Function: tx.def.Name, Partition: partition, Partitions: partitions,
		Inputs: inputs, State: tx.All(),
	}
}

// All implements step.Tx, in the order of the keys.
func (tx *Tx) All() iter.Seq2[[]byte, any] {
	return func(yield func([]byte, any) bool) {
		for _, key := range slices.Sorted(maps.Keys(tx.state)) {
			if !yield([]byte(key), tx.state[key]) {
				return
			}
		}
	}
}

// Commit implements step.Tx.
func (tx *Tx) Commit() uint64 { return tx.commits }

// EndCommit encodes every dirty key into Changelog and begins the next commit.
func (tx *Tx) EndCommit() {
	tx.t.Helper()
	for key := range tx.dirty {
		value, ok := tx.state[key]
		if !ok {
			delete(tx.Changelog, key)
			continue
		}
		codec, ok := tx.def.Codecs[key[0]]
		if !ok {
			tx.t.Fatalf("no codec for the kind %#x of key %q", key[0], key)
		}
		data := codec.Append(nil, value)
		tx.Changelog[key] = data
		if again := codec.Append(nil, tx.parse(key, data)); !bytes.Equal(again, data) {
			tx.t.Fatalf("codec of kind %#x is not stable for key %q:\n  %x\n  %x", key[0], key, data, again)
		}
	}
	clear(tx.dirty)
	tx.commits++
}

func (tx *Tx) parse(key string, data []byte) any {
	tx.t.Helper()
	value, err := tx.def.Codecs[key[0]].Parse(data)
	if err != nil {
		tx.t.Fatalf("parse the value of key %q: %v", key, err)
	}
	return value
}

// Get implements step.Tx.
func (tx *Tx) Get(key []byte) any { return tx.state[string(key)] }

// Put implements step.Tx.
func (tx *Tx) Put(key []byte, value any) {
	if len(key) == 0 || key[0] < step.FirstKind {
		tx.t.Fatalf("key %q has a kind of the engine", key)
	}
	tx.state[string(key)] = value
	tx.dirty[string(key)] = true
}

// Delete implements step.Tx.
func (tx *Tx) Delete(key []byte) {
	delete(tx.state, string(key))
	tx.dirty[string(key)] = true
}

// Emit implements step.Tx.
func (tx *Tx) Emit(topic string, e *events.Event) {
	if !slices.ContainsFunc(tx.def.Outputs, func(o step.Output) bool { return o.Topic == topic }) {
		tx.t.Fatalf("emitted to %q, which the definition does not name", topic)
	}
	emitted := *e
	emitted.Data = bytes.Clone(e.Data)
	tx.Emitted = append(tx.Emitted, Emitted{topic, emitted})
}

// Take returns the events emitted to topic so far and forgets them.
func (tx *Tx) Take(topic string) []events.Event {
	var taken []events.Event
	tx.Emitted = slices.DeleteFunc(tx.Emitted, func(e Emitted) bool {
		if e.Topic == topic {
			taken = append(taken, e.Event)
		}
		return e.Topic == topic
	})
	return taken
}

// Observe implements step.Tx.
func (tx *Tx) Observe(ms int64) error {
	if tx.MaxAhead > 0 && ms > tx.Time.Add(tx.MaxAhead).UnixMilli() {
		return step.ErrFuture
	}
	tx.Mark = max(tx.Mark, ms-tx.Lag.Milliseconds())
	return nil
}

// Watermark implements step.Tx.
func (tx *Tx) Watermark() int64 { return tx.Mark }

// InputWatermark implements step.Tx.
func (tx *Tx) InputWatermark(topic string) int64 {
	if mark, ok := tx.Marks[topic]; ok {
		return mark
	}
	return tx.Mark
}

// Now implements step.Tx.
func (tx *Tx) Now() time.Time { return tx.Time }

// Table implements step.Tx.
func (tx *Tx) Table(topic string) any {
	view, ok := tx.Tables[topic]
	if !ok {
		panic(fmt.Sprintf("table %q is not declared", topic))
	}
	return view
}

var _ step.Tx = (*Tx)(nil)
