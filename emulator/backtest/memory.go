package backtest

import (
	"bytes"
	"fmt"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// memory is a step.Tx in memory for one task of a function: nothing is written
// anywhere, and event time is set from outside.
type memory struct {
	def     step.Definition
	fn      step.Function
	state   map[string]any
	tables  map[string]any
	mark    int64
	emitted []emitted
}

type emitted struct {
	topic string
	event events.Event
}

func newMemory(def step.Definition) *memory {
	m := &memory{def: def, state: map[string]any{}, tables: map[string]any{}, mark: step.MinWatermark}
	inputs := map[string]int{}
	for _, in := range def.Inputs {
		inputs[in.Topic] = 1
	}
	for _, table := range def.Tables {
		m.tables[table.Topic] = table.Initial
	}
	m.fn = def.New(step.Task{
		Function: def.Name, Partitions: 1, Inputs: inputs,
		State: func(func([]byte, any) bool) {},
	})
	return m
}

// step hands the function an event, and those that it writes to its own inputs.
func (m *memory) step(e *events.Event) error {
	if err := m.fn.Step(m, e); err != nil {
		return fmt.Errorf("%s: event %s: %w", m.def.Name, e.ID, err)
	}
	return m.loop()
}

// tick hands the function the time, then what it writes to its own inputs.
func (m *memory) tick() error {
	if err := m.fn.Tick(m, time.UnixMilli(m.mark).UTC()); err != nil {
		return fmt.Errorf("%s: %w", m.def.Name, err)
	}
	return m.loop()
}

func (m *memory) loop() error {
	for i := 0; i < len(m.emitted); i++ {
		if !m.reads(m.emitted[i].topic) {
			continue
		}
		e := m.emitted[i].event
		m.emitted = append(m.emitted[:i], m.emitted[i+1:]...)
		i--
		if err := m.fn.Step(m, &e); err != nil {
			return fmt.Errorf("%s: event %s: %w", m.def.Name, e.ID, err)
		}
	}
	return nil
}

func (m *memory) reads(topic string) bool {
	for _, in := range m.def.Inputs {
		if in.Topic == topic {
			return true
		}
	}
	return false
}

// take returns the events that were emitted to topic and forgets all.
func (m *memory) take() []emitted {
	taken := m.emitted
	m.emitted = nil
	return taken
}

// follow applies what another function has written to the function's tables.
func (m *memory) follow(all []emitted) error {
	for _, table := range m.def.Tables {
		var changes []step.Change
		for i := range all {
			if all[i].topic == table.Topic {
				changes = append(changes, step.Change{Key: all[i].event.Key, Value: all[i].event.Data})
			}
		}
		if len(changes) == 0 {
			continue
		}
		view, err := table.Apply(m.tables[table.Topic], changes)
		if err != nil {
			return fmt.Errorf("%s: table %s: %w", m.def.Name, table.Topic, err)
		}
		m.tables[table.Topic] = view
	}
	return nil
}

// Get implements step.Tx.
func (m *memory) Get(key []byte) any { return m.state[string(key)] }

// Put implements step.Tx.
func (m *memory) Put(key []byte, value any) { m.state[string(key)] = value }

// Delete implements step.Tx.
func (m *memory) Delete(key []byte) { delete(m.state, string(key)) }

// Emit implements step.Tx.
func (m *memory) Emit(topic string, e *events.Event) {
	copied := *e
	copied.Data = bytes.Clone(e.Data)
	m.emitted = append(m.emitted, emitted{topic, copied})
}

// Observe implements step.Tx.
func (m *memory) Observe(int64) error { return nil }

// Watermark implements step.Tx.
func (m *memory) Watermark() int64 { return m.mark }

// InputWatermark implements step.Tx.
func (m *memory) InputWatermark(string) int64 { return m.mark }

// Now implements step.Tx.
func (m *memory) Now() time.Time { return time.UnixMilli(m.mark).UTC() }

// Commit implements step.Tx.
func (m *memory) Commit() uint64 { return 1 }

// Table implements step.Tx.
func (m *memory) Table(topic string) any { return m.tables[topic] }

var _ step.Tx = (*memory)(nil)
