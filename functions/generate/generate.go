// Package generate is the function generate: it makes a stream of labelled
// transactions, with frauds of several kinds among them.
//
// Nothing is remembered of a transaction that was made. Transaction n follows from
// its number, and so does its label, which is made from the number again when its
// time has come. The state is two numbers and the schedule: a restart goes on
// where the stream was, with the same transactions that would have come without
// it, and no label is lost or repeated.
package generate

import (
	"fmt"
	"slices"
	"time"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
)

// Definition declares generate to the engine. An error says what is wrong in cfg.
func Definition(cfg Config) (step.Definition, error) {
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if err := cfg.validate(); err != nil {
		return step.Definition{}, fmt.Errorf("configuration of generate: %w", err)
	}
	// The world is the same for all tasks, and is not changed.
	current, err := newWorld(cfg.model())
	if err != nil {
		return step.Definition{}, err
	}
	create := func(task step.Task) step.Function { return newGenerator(cfg, current, task) }
	if cfg.Profile == ProfileHandbook {
		create = func(task step.Task) step.Function { return newReplay(cfg, task) }
	}
	return step.Definition{
		Name: "generate",
		Outputs: []step.Output{
			{Topic: events.TopicTransactions},
			{Topic: events.TopicLabels},
			{Topic: reference.TopicMerchants},
		},
		Tasks: cfg.Tasks,
		// Segments carry the configuration that they were made under.
		Settings: fmt.Sprintf("generate/1 %s", cfg.Profile),
		Codecs: map[byte]step.Codec{
			kindPosition: {Append: appendPosition, Parse: parsePosition},
			kindSegment:  {Append: appendSegment, Parse: parseSegment},
		},
		TickEvery: 20 * time.Millisecond,
		New:       create,
	}, nil
}

// generator is the instance of one task.
type generator struct {
	cfg      Config
	task     int
	rate     uint64
	world    *world // of the configuration
	former   *world // of an earlier one, nil until needed
	position position
	// segments are in the order of their numbers. The first is that of the next
	// label, the last that of the next transaction; there is none before the
	// first Tick.
	segments []segment
	making   profile // of the last segment
	labeling profile // of the first segment
}

func newGenerator(cfg Config, current *world, task step.Task) *generator {
	g := &generator{cfg: cfg, task: task.Partition, rate: cfg.taskRate(task.Partition), world: current}
	for key, value := range task.State {
		switch key[0] {
		case kindPosition:
			g.position = value.(position)
		case kindSegment:
			g.segments = append(g.segments, value.(segment))
		}
	}
	slices.SortFunc(g.segments, func(a, b segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return g
}

// Step implements step.Function. generate has no input.
func (g *generator) Step(_ step.Tx, e *events.Event) error { return refuse(e) }

// refuse says that generate has no input.
func refuse(e *events.Event) error {
	return &events.InvalidError{Path: "type", Reason: fmt.Sprintf("is %q, but generate takes no events", e.Type)}
}

// Tick implements step.Function: it makes the transactions and the labels that
// are due at now and have not been made. With the same now it makes nothing new.
func (g *generator) Tick(tx step.Tx, now time.Time) error {
	at := now.UnixNano()
	if err := g.schedule(tx, at); err != nil {
		return err
	}
	before := g.position
	g.emitTransactions(tx, at)
	if err := g.emitLabels(tx, at); err != nil {
		return err
	}
	if g.position != before {
		tx.Put([]byte{kindPosition}, g.position)
	}
	return nil
}

// schedule begins a new segment where the stream cannot go on as it did.
func (g *generator) schedule(tx step.Tx, now int64) error {
	model := g.cfg.model()
	if len(g.segments) == 0 {
		return g.begin(tx, segment{origin: now, rate: g.rate, model: model})
	}
	if g.making == nil {
		var err error
		if g.making, err = g.profile(g.segments[len(g.segments)-1]); err != nil {
			return err
		}
	}
	last, next := g.segments[len(g.segments)-1], g.position.next
	fresh := segment{first: next, origin: now, rate: g.rate, model: model}
	catchUp := g.cfg.CatchUp.Nanoseconds()
	reached := last.origin // the stream is complete up to here
	if next > last.first {
		reached = last.time(next - 1)
	}
	switch {
	case now-last.time(next) > catchUp:
		// A long pause. What was due in it is not made.
		g.cfg.Observer.Skipped(last.due(now) - next)
		return g.begin(tx, fresh)
	case reached-now > catchUp:
		// The clock was set back. Waiting until it is there again could take hours.
		return g.begin(tx, fresh)
	case last.rate != g.rate || last.model != model:
		fresh.origin = reached
		return g.begin(tx, fresh)
	}
	return nil
}

// begin appends a segment, in place of the last one if that made no transaction,
// and announces its merchants if they are others than before.
func (g *generator) begin(tx step.Tx, s segment) error {
	p, err := g.profile(s)
	if err != nil {
		return err
	}
	known := false
	if count := len(g.segments); count > 0 {
		last := g.segments[count-1]
		known = last.model.seed == s.model.seed && last.model.merchants == s.model.merchants
		if last.first == s.first {
			g.segments = g.segments[:count-1]
		}
	}
	if len(g.segments) == 0 {
		g.labeling = nil
	}
	g.segments = append(g.segments, s)
	g.making = p
	tx.Put(segmentKey(s.first), s)
	if known {
		return nil
	}
	for _, m := range p.merchants() {
		e, err := reference.NewMerchant(m)
		if err != nil {
			return err
		}
		tx.Emit(reference.TopicMerchants, &e)
	}
	return nil
}

// profile returns the stream of a segment.
func (g *generator) profile(s segment) (profile, error) {
	if s.model == g.world.model {
		return newLive(s, g.task, g.world), nil
	}
	if g.former == nil || g.former.model != s.model {
		var err error
		if g.former, err = newWorld(s.model); err != nil {
			return nil, err
		}
	}
	return newLive(s, g.task, g.former), nil
}

func (g *generator) emitTransactions(tx step.Tx, now int64) {
	due := min(g.making.due(now), g.position.next+uint64(g.cfg.MaxBatch))
	for ; g.position.next < due; g.position.next++ {
		var t events.Transaction
		g.making.transaction(g.position.next, &t)
		e := events.NewTransaction(&t)
		tx.Emit(events.TopicTransactions, &e)
	}
}

// emitLabels makes the labels that are due. They come in the order of their
// transactions; where the clock was set back in between, a label may wait for the
// one before it.
func (g *generator) emitLabels(tx step.Tx, now int64) error {
	delay := g.cfg.LabelDelay.Nanoseconds()
	for end := g.position.label + uint64(g.cfg.MaxBatch); g.position.label < min(end, g.position.next); g.position.label++ {
		n := g.position.label
		for len(g.segments) > 1 && n >= g.segments[1].first {
			tx.Delete(segmentKey(g.segments[0].first))
			g.segments = g.segments[1:]
			g.labeling = nil
		}
		if g.labeling == nil {
			if len(g.segments) == 1 {
				g.labeling = g.making
			} else {
				var err error
				if g.labeling, err = g.profile(g.segments[0]); err != nil {
					return err
				}
			}
		}
		if g.labeling.time(n)+delay > now {
			return nil
		}
		var label events.Label
		g.labeling.label(n, &label)
		label.LabelTime = label.TransactionTime + g.cfg.LabelDelay.Milliseconds()
		e := events.NewLabel(&label)
		tx.Emit(events.TopicLabels, &e)
	}
	return nil
}
