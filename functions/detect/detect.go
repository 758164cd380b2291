package detect

import (
	"bytes"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
)

// Name is the function's name.
const Name = "detect"

//go:embed rules.yaml
var builtInRules []byte

// BuiltInRules returns the file of the rules that detect starts with.
func BuiltInRules() []byte { return bytes.Clone(builtInRules) }

// Definition declares detect to the engine.
func Definition(config Config) (step.Definition, error) {
	if err := config.validate(); err != nil {
		return step.Definition{}, fmt.Errorf("detect: %w", err)
	}
	if config.Observer == nil {
		config.Observer = unobserved{}
	}
	compiler, err := rules.NewCompiler(Schema(), config.Limits)
	if err != nil {
		return step.Definition{}, fmt.Errorf("detect: %w", err)
	}
	initial, err := rules.NewSet(compiler, builtInRules)
	if err != nil {
		return step.Definition{}, fmt.Errorf("detect: %w", err)
	}
	config.Observer.RulesChanged(initial)
	return step.Definition{
		Name: Name,
		Inputs: []step.Input{
			{Topic: events.TopicEnriched, Types: []string{events.TypeEnriched}, Upstream: true},
			{Topic: events.TopicLabels, Types: []string{events.TypeLabel}},
		},
		Outputs: []step.Output{
			{Topic: events.TopicScored, Watermarks: true},
			{Topic: events.TopicAnomalies},
			{Topic: events.TopicWindows},
			{Topic: events.TopicLate},
		},
		Tables: []step.Table{
			{Topic: events.TopicRules, Initial: initial, Apply: applyRules(config.Observer)},
			{Topic: events.TopicLists, Initial: &rules.Lists{}, Apply: applyLists(config.Observer)},
			{Topic: events.TopicWindows, Initial: &windowTable{}, Apply: applyWindows},
			outcomeTable(),
			modelTable(),
		},
		// What gives a profile its meaning is fixed by its version.
		Settings: "profile " + strconv.Itoa(profileVersion),
		Codecs: map[byte]step.Codec{
			kindProfile: profileCodec(), kindCustomerWindows: askedCodec(), kindMerchantWindows: askedCodec(),
			kindWindowStart: windowStartCodec(), kindClock: clockCodec(),
			kindVerdicts: verdictCodec(), kindHeldLabel: heldLabelCodec(),
		},
		New: func(task step.Task) step.Function {
			return newFunction(config, initial, task)
		},
	}, nil
}

// applyRules keeps the table's view, a *rules.Set. Refused records are reported
// to the observer and not returned as an error, which would drop the good
// records that came with them.
func applyRules(observer Observer) func(any, []step.Change) (any, error) {
	return func(old any, records []step.Change) (any, error) {
		set := old.(*rules.Set)
		next, refused := set.With(changesOf(records))
		for _, err := range refused {
			observer.RuleRefused(err)
		}
		if next.Version() != set.Version() {
			observer.RulesChanged(next)
		}
		return next, nil
	}
}

// applyLists keeps the table's view, a *rules.Lists, as applyRules does.
func applyLists(observer Observer) func(any, []step.Change) (any, error) {
	return func(old any, records []step.Change) (any, error) {
		next, refused := old.(*rules.Lists).With(changesOf(records))
		for _, err := range refused {
			observer.RuleRefused(err)
		}
		return next, nil
	}
}

func changesOf(records []step.Change) []rules.Change {
	changes := make([]rules.Change, len(records))
	for i, r := range records {
		changes[i] = rules.Change{ID: r.Key, Document: r.Value}
	}
	return changes
}

// function is detect for one task. Everything in it but config is scratch
// memory of one Step.
type function struct {
	config   Config
	observer TaskObserver
	key      []byte
	profile  profile
	keeper   *keeper
	labels   *labels
	encoded  []byte
	subject  subject
	scorer   *scorer   // what modelScore is from; nil: the baseline
	values   []float32 // of the features that scorer asks for
	input    *rules.Input
	outcome  rules.Outcome
	weights  []float64
	flagging []*rules.Compiled // active rules that fired and are not suppressed
	denied   bool              // the customer or the merchant is on the deny list
	text     []byte
	arena    events.Arena
	scored   events.Event
	anomaly  events.Event
	// decision's Features always begin with the names of all features; windows
	// that rules ask for follow.
	decision events.Anomaly
}

func newFunction(config Config, set *rules.Set, task step.Task) *function {
	f := &function{config: config, observer: config.Observer.Task(task.Partition), keeper: newKeeper(task), labels: newLabels(task)}
	f.input = set.NewInput(&f.subject)
	for _, name := range featureNames {
		f.decision.Features = append(f.decision.Features, events.Feature{Name: name})
	}
	return f
}

// Step implements step.Function.
func (f *function) Step(tx step.Tx, e *events.Event) error {
	if e.Type == events.TypeLabel {
		return f.labels.take(tx, e, tx.Table(events.TopicRules).(*rules.Set), f.observer)
	}
	t := &f.subject.transaction
	if err := events.ParseEnriched(e.Data, t); err != nil {
		return err
	}
	if err := tx.Observe(t.Time); err != nil {
		return err
	}
	if err := f.updateProfile(tx, t); err != nil {
		return err
	}
	set, lists := tx.Table(events.TopicRules).(*rules.Set), tx.Table(events.TopicLists).(*rules.Lists)
	f.subject.features.observeMerchant(tx.Table(events.TopicOutcomes).(*merchants).get(t.MerchantID).At(t.Time))
	f.score(tx.Table(events.TopicModels).(models).at(t.Time))
	f.input.Next()
	f.input.Lists(lists, t.Time)
	if err := f.updateWindows(tx, t, set); err != nil {
		return err
	}
	set.EvaluateTimed(f.input, &f.outcome, f.observer.Timer())

	f.decide(tx, set, lists)
	if err := f.labels.remember(tx, &f.decision); err != nil {
		return err
	}
	f.arena.Reset()
	f.scored = f.arena.NewScored(&f.decision.Scored)
	tx.Emit(events.TopicScored, &f.scored)
	if f.decision.Flagged {
		f.explain(lists)
		f.anomaly = f.arena.AnomalyOf(&f.scored, f.decision.Reasons)
		tx.Emit(events.TopicAnomalies, &f.anomaly)
	}
	f.report(set)
	return nil
}

// score computes the model's score: that of s, or the baseline's without one.
func (f *function) score(s *scorer) {
	f.scorer = s
	if s == nil {
		f.subject.modelScore = baseline(&f.subject.features)
		return
	}
	f.values = s.values(&f.subject.features, f.values)
	f.subject.modelScore = roundScore(s.Score(f.values))
}

// modelVersion names the model that modelScore is from.
func (f *function) modelVersion() string {
	if f.scorer == nil {
		return baselineVersion
	}
	return f.scorer.Version
}

// appendExplanation says what raised modelScore most.
func (f *function) appendExplanation(dst []byte) []byte {
	if f.scorer == nil {
		return appendExplanation(dst, &f.subject.features)
	}
	return f.scorer.appendExplanation(dst, &f.subject.features)
}

// Tick implements step.Function: it begins to keep the windows that new rules ask
// for, tells the other tasks about merchants, and judges the labels that were
// held. Decisions do not depend on it.
func (f *function) Tick(tx step.Tx, _ time.Time) error {
	set := tx.Table(events.TopicRules).(*rules.Set)
	f.keeper.adopt(tx, set)
	f.keeper.publish(tx)
	return f.labels.release(tx, set, f.observer)
}

// updateWindows adds t to the windows that rules ask for, and hands their values
// to the rules.
func (f *function) updateWindows(tx step.Tx, t *events.Enriched, set *rules.Set) error {
	f.keeper.adopt(tx, set)
	set.Filter(f.input, &f.outcome)
	values, err := f.keeper.observe(tx, t, f.input, f.outcome.Counted)
	if err != nil {
		return err
	}
	f.input.Windows(values)
	f.decision.Features = f.decision.Features[:featureCount]
	for slot, w := range set.Windows() {
		f.decision.Features = append(f.decision.Features, events.Feature{Name: w.Feature, Value: values[slot]})
	}
	return nil
}

// updateProfile computes the features of t and adds t to its customer's profile.
func (f *function) updateProfile(tx step.Tx, t *events.Enriched) error {
	f.key = append(append(f.key[:0], kindProfile), t.UserID...)
	value, _ := tx.Get(f.key).(*stored)
	if value == nil {
		value = &stored{}
		f.profile = profile{}
	} else if err := f.profile.decode(value.data); err != nil {
		return fmt.Errorf("profile of customer %q: %w", t.UserID, err)
	}
	f.subject.previousCountry = f.profile.observe(t, &f.subject.features)
	f.encoded = f.profile.append(f.encoded[:0])
	if cap(value.data) < len(f.encoded) {
		value.data = nil // append would double it, and there is one for each customer
	}
	value.data = append(value.data[:0], f.encoded...)
	tx.Put(f.key, value)
	return nil
}
