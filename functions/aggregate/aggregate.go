package aggregate

import (
	"encoding/binary"
	"fmt"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/window"
)

// Name is the function's name.
const Name = "aggregate"

// tickEvery is how often results are looked at. It is a part of how often they
// are published, so that one that is due is not late by as much again.
const tickEvery = 250 * time.Millisecond

// Definition returns the function for cfg, or what is wrong with cfg.
func Definition(cfg Config) (step.Definition, error) {
	if err := cfg.validate(); err != nil {
		return step.Definition{}, err
	}
	p, bins := newPlan(cfg), window.NewBins()
	return step.Definition{
		Name: Name,
		Inputs: []step.Input{
			{Topic: events.TopicScored, Types: []string{events.TypeScored}, Upstream: true},
			{Topic: events.TopicPartials, Types: []string{events.TypePartial}, Upstream: true},
			{Topic: events.TopicLabels, Types: []string{events.TypeLabel}},
		},
		Outputs: []step.Output{
			{Topic: events.TopicPartials, Watermarks: true},
			{Topic: events.TopicAggregates},
			{Topic: events.TopicRisk},
		},
		Settings: cfg.settings(),
		Codecs:   codecs(p),
		// Results wait for the ends of windows.
		CommitPause: 100 * time.Millisecond,
		TickEvery:   tickEvery,
		New:         func(task step.Task) step.Function { return newFunction(p, bins, task) },
	}, nil
}

// function is one task of aggregate.
type function struct {
	collector *collector
	merger    *merger
	risks     *risks
	partial   events.Partial // the one being stepped, reused
}

// newFunction builds the task from its state. The codecs have checked the
// values, so that only a programming error makes it fail, which panics.
func newFunction(p *plan, bins *window.Bins, task step.Task) *function {
	partitions := task.Inputs[events.TopicScored]
	f := &function{
		collector: newCollector(p, bins, task.Partition),
		merger:    newMerger(p, bins, partitions),
		risks:     newRisks(p, partitions),
	}
	if err := f.restore(task); err != nil {
		panic(fmt.Sprintf("aggregate: restore task %d: %v", task.Partition, err))
	}
	return f
}

func (f *function) restore(task step.Task) error {
	journal := map[uint32]*journalEntry{}
	results := map[string][]byte{}
	for key, value := range task.State {
		var err error
		switch key[0] {
		case kindPart:
			err = f.collector.restorePart(key, value.([]byte))
		case kindJournal:
			journal[binary.BigEndian.Uint32(key[1:])] = value.(*journalEntry)
		case kindDays:
			err = f.collector.days.restore(key, value.([]byte))
		case kindSlot:
			err = f.merger.restoreSlot(key, value.([]byte))
		case kindResult:
			results[string(key)] = value.([]byte)
		case kindClosed:
			f.merger.closed, err = parseClosed(value.([]byte))
		case kindRisk:
			err = f.risks.restore(key, value.([]byte))
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
	}
	if err := f.collector.replay(journal); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	f.collector.settle()
	return f.merger.settle(results)
}

// Step implements step.Function.
func (f *function) Step(tx step.Tx, e *events.Event) error {
	switch e.Type {
	case events.TypeScored:
		return f.collector.collect(tx, e)
	case events.TypeLabel:
		return f.collector.collectLabel(tx, e)
	}
	p := &f.partial
	if err := events.ParsePartial(e.Data, p); err != nil {
		return err
	}
	if p.Dimension == dimMerchantDay {
		return f.risks.take(tx, p)
	}
	return f.merger.take(tx, p)
}

// Tick implements step.Function.
func (f *function) Tick(tx step.Tx, now time.Time) error {
	ms := now.UnixMilli()
	f.collector.tick(tx, ms)
	if err := f.merger.tick(tx, ms); err != nil {
		return err
	}
	f.risks.tick(tx, ms)
	return nil
}
