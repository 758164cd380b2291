package backtest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
	"datasurge/functions/enrich"
	"datasurge/functions/learn"
)

// pipeline is enrich, detect and learn over memory, in event time, a day at a time:
//
//	transactions of the day ─▶ enrich ─▶ detect ─▶ learn
//	labels of the day ────────────────────────────▶  │ before the transactions
//	                              tables ◀───────────┘
//
// What is learnt from the labels of a day stands in the tables before the first
// transaction of that day. That is earlier than it would be live for all labels but
// the first; detect passes over what was not known at a transaction's time, by the
// times that records carry. So each transaction sees exactly what was known, and
// the result does not depend on how fast anything runs.
type pipeline struct {
	enrich, detect, learn *memory
	other                 *memory // detect with other rules, nil without
	scored                []emitted
}

func newPipeline(own, other []byte) (*pipeline, error) {
	p := &pipeline{}
	enrichment := enrich.DefaultConfig()
	def, err := enrich.Definition(enrichment)
	if err != nil {
		return nil, err
	}
	p.enrich = newMemory(def)
	if own == nil {
		own = DefaultRules()
	}
	if p.detect, err = newDetect(own); err != nil {
		return nil, err
	}
	if other != nil {
		if p.other, err = newDetect(other); err != nil {
			return nil, err
		}
	}
	if def, err = learn.Definition(learn.DefaultConfig()); err != nil {
		return nil, err
	}
	p.learn = newMemory(def)
	return p, nil
}

//go:embed handbook.yaml
var handbookRules []byte

// DefaultRules is the file of the built-in rules and those for the Handbook's data
// set.
func DefaultRules() []byte {
	return bytes.Join([][]byte{detect.BuiltInRules(), handbookRules}, []byte("---\n"))
}

// newDetect returns detect with the rules of a file.
func newDetect(file []byte) (*memory, error) {
	def, err := detect.Definition(detect.DefaultConfig())
	if err != nil {
		return nil, err
	}
	m := newMemory(def)
	compiler, err := rules.NewCompiler(detect.Schema(), rules.DefaultLimits())
	if err != nil {
		return nil, err
	}
	set, err := rules.NewSet(compiler, file)
	if err != nil {
		return nil, err
	}
	m.tables[events.TopicRules] = set
	return m, nil
}

func (m *memory) set() *rules.Set { return m.tables[events.TopicRules].(*rules.Set) }

// enriched hands transactions to enrich.
func (p *pipeline) enriched(transactions []events.Event) ([]events.Event, error) {
	var all []events.Event
	for i := range transactions {
		p.enrich.mark = transactions[i].Time.UnixMilli()
		if err := p.enrich.step(&transactions[i]); err != nil {
			return nil, err
		}
		for _, e := range p.enrich.take() {
			all = append(all, e.event)
		}
	}
	return all, p.enrich.tick()
}

// day runs a day that begins at midnight, ms since the epoch. It returns what
// detect, and detect with the other rules, emitted to scored_transactions.
func (p *pipeline) day(midnight int64, labels []events.Event, enriched []events.Event) (own, other []emitted, err error) {
	// What was known before midnight has been here since the day before, so that a
	// model of it is due.
	p.learn.mark = midnight + trainedAfter
	for i := range labels {
		if err := p.learn.step(&labels[i]); err != nil {
			if _, wrong := errors.AsType[*events.InvalidError](err); !wrong {
				return nil, nil, err
			}
		}
	}
	if err := p.learn.tick(); err != nil {
		return nil, nil, err
	}
	tables := p.learn.take()
	for _, m := range []*memory{p.detect, p.other} {
		if m == nil {
			continue
		}
		if err := m.follow(tables); err != nil {
			return nil, nil, err
		}
	}
	before := p.scored
	var group errgroup.Group
	group.Go(func() error {
		for i := range before {
			if err := p.learn.step(&before[i].event); err != nil {
				return err
			}
		}
		return nil
	})
	own, err = p.detect.decide(enriched)
	if err == nil && p.other != nil {
		other, err = p.other.decide(enriched)
	}
	if err := errors.Join(group.Wait(), err); err != nil {
		return nil, nil, err
	}
	p.scored = own
	return own, other, nil
}

// trainedAfter is when after midnight a model is due, ms: an hour.
const trainedAfter = 3_600_000

// decide hands enriched transactions to detect and returns what it scored.
func (m *memory) decide(enriched []events.Event) ([]emitted, error) {
	var scored []emitted
	for i := range enriched {
		m.mark = enriched[i].Time.UnixMilli()
		if err := m.step(&enriched[i]); err != nil {
			return nil, err
		}
		for _, e := range m.take() {
			if e.topic == events.TopicScored {
				scored = append(scored, e)
			}
		}
	}
	if err := m.tick(); err != nil {
		return nil, err
	}
	m.take()
	if len(scored) != len(enriched) {
		return nil, fmt.Errorf("%d of %d transactions were scored", len(scored), len(enriched))
	}
	return scored, nil
}
