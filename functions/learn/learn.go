package learn

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"datasurge/events"
	"datasurge/functions/model"
	"datasurge/functions/step"
)

// Name is the function's name.
const Name = "learn"

// Config is what can be set about learn. Start from DefaultConfig.
type Config struct {
	// Features are the names of the features that models ask for. The fewer they are,
	// the less is taken for a sign by chance.
	Features []string
	// Params are how a model is trained.
	Params model.Params
	// GenuineShare: of the genuine transactions one in so many is an example, and
	// stands for as many.
	GenuineShare int
	// LeastFrauds is how many frauds have to be known before a model is trained.
	LeastFrauds int
	// Growth is by how much the number of known frauds has to grow before the next
	// one is, above 1.
	Growth float64
	// MostExamples bounds the examples; the oldest are forgotten.
	MostExamples int
	// MostWaiting bounds the transactions that wait for their labels, in each
	// task: beyond, only a part of all transactions is learnt from.
	MostWaiting int
}

// DefaultConfig returns the documented defaults. They were chosen on the Fraud
// Detection Handbook's weeks before 2018-07-25.
func DefaultConfig() Config {
	return Config{
		Features: []string{
			"baseAmount", "usualRatio", "unusual14d", "merchantAbuse", "merchantCleanDays",
			"count10m", "newCountry1h", "distanceKm", "international",
		},
		Params:       model.DefaultParams(),
		GenuineShare: 20,
		LeastFrauds:  20,
		Growth:       1.1,
		MostExamples: 200_000,
		MostWaiting:  200_000,
	}
}

func (c *Config) validate() error {
	var faults []error
	if len(c.Features) == 0 || len(c.Features) > model.MaxFeatures {
		faults = append(faults, fmt.Errorf("%d features: want 1 to %d", len(c.Features), model.MaxFeatures))
	}
	if c.GenuineShare < 1 || c.LeastFrauds < 1 || !(c.Growth > 1) || c.MostExamples < 1000 || c.MostWaiting < 1000 {
		faults = append(faults, fmt.Errorf("one in %d genuine, %d frauds at least, growth %v, %d examples at most, %d waiting at most: want 1, 1, above 1, 1000 and 1000 or more",
			c.GenuineShare, c.LeastFrauds, c.Growth, c.MostExamples, c.MostWaiting))
	}
	return errors.Join(faults...)
}

// Definition declares learn to the engine.
func Definition(config Config) (step.Definition, error) {
	if err := config.validate(); err != nil {
		return step.Definition{}, fmt.Errorf("configuration of learn: %w", err)
	}
	return step.Definition{
		Name: Name,
		Inputs: []step.Input{
			{Topic: events.TopicScored, Types: []string{events.TypeScored}, Upstream: true},
			{Topic: events.TopicLabels, Types: []string{events.TypeLabel}},
			{Topic: events.TopicLearning, Types: []string{events.TypeExample, events.TypeOutcome}, Upstream: true},
		},
		Outputs: []step.Output{
			{Topic: events.TopicLearning, Watermarks: true},
			{Topic: events.TopicOutcomes},
			{Topic: events.TopicModels},
		},
		// Stored examples are values without names.
		Settings: "learn/1 " + strings.Join(config.Features, ","),
		Codecs:   codecs(len(config.Features)),
		// Training takes a second of CPU time, which may be many where it is scarce.
		TickWithin: 2 * time.Minute,
		New:        func(task step.Task) step.Function { return newFunction(config, task) },
	}, nil
}

// Kinds of state keys.
const (
	kindPending  = step.FirstKind + iota // *pending: time and id of the transaction
	kindEarly                            // *early: time and id of the transaction
	kindMerchant                         // *merchant: its id
	kindExample                          // *example: when it was known, and id of the transaction
	kindTrained                          // trained; no more key
	kindThinning                         // thinning; no more key
)

const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour

	// memory is how long a transaction waits for its label, and a label for its
	// transaction, in event time.
	memory = 42 * day
	// grace is how long after midnight labels that were known before may come.
	grace = hour
)

// function is one task of learn.
type function struct {
	config    Config
	joiner    joiner
	merchants merchants
	trainer   trainer
}

func newFunction(config Config, task step.Task) *function {
	f := &function{config: config, joiner: newJoiner(&config), merchants: newMerchants(), trainer: newTrainer(&config)}
	for key, value := range task.State {
		switch key[0] {
		case kindPending, kindEarly:
			f.joiner.count++
		case kindMerchant:
			f.merchants.restore(value.(*merchant))
		case kindExample:
			f.trainer.examples = append(f.trainer.examples, value.(*example))
		case kindTrained:
			f.trainer.last = value.(trained)
		case kindThinning:
			f.joiner.thin = value.(thinning)
		}
	}
	return f
}

// Step implements step.Function.
func (f *function) Step(tx step.Tx, e *events.Event) error {
	switch e.Type {
	case events.TypeScored:
		return f.joiner.scored(tx, e)
	case events.TypeLabel:
		return f.joiner.label(tx, e)
	case events.TypeOutcome:
		return f.merchants.take(tx, e)
	}
	return f.trainer.take(tx, e)
}

// Tick implements step.Function: it publishes what has changed, and forgets what is
// too old. What it publishes depends on event time only.
func (f *function) Tick(tx step.Tx, _ time.Time) error {
	f.joiner.forget(tx)
	f.merchants.publish(tx)
	return f.trainer.tick(tx)
}

func floorDay(ms int64) int64 {
	d := ms / day
	if ms%day < 0 {
		d--
	}
	return d * day
}
