package backtest

import (
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// renamed is a function under another name, beside the one of its own name: it
// reads the same inputs, and all that it writes has the suffix, the tables that it
// writes itself included.
func renamed(def step.Definition, suffix string) step.Definition {
	names := map[string]string{}
	def.Name += suffix
	outputs := make([]step.Output, len(def.Outputs))
	for i, out := range def.Outputs {
		outputs[i] = out
		outputs[i].Topic += suffix
		names[out.Topic] = outputs[i].Topic
	}
	tables := make([]step.Table, len(def.Tables))
	for i, table := range def.Tables {
		tables[i] = table
		if name, ok := names[table.Topic]; ok {
			tables[i].Topic = name
		}
	}
	def.Outputs, def.Tables = outputs, tables
	build := def.New
	def.New = func(task step.Task) step.Function { return renamedFunction{build(task), names} }
	return def
}

type renamedFunction struct {
	step.Function
	names map[string]string
}

// Step implements step.Function.
func (f renamedFunction) Step(tx step.Tx, e *events.Event) error {
	return f.Function.Step(renamedTx{tx, f.names}, e)
}

// Tick implements step.Function.
func (f renamedFunction) Tick(tx step.Tx, now time.Time) error {
	return f.Function.Tick(renamedTx{tx, f.names}, now)
}

type renamedTx struct {
	step.Tx
	names map[string]string
}

// Emit implements step.Tx.
func (tx renamedTx) Emit(topic string, e *events.Event) { tx.Tx.Emit(tx.name(topic), e) }

// Table implements step.Tx.
func (tx renamedTx) Table(topic string) any { return tx.Tx.Table(tx.name(topic)) }

func (tx renamedTx) name(topic string) string {
	if name, ok := tx.names[topic]; ok {
		return name
	}
	return topic
}
