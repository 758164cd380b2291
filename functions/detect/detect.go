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
		Name:   Name,
		Inputs: []step.Input{{Topic: events.TopicEnriched, Types: []string{events.TypeEnriched}, Upstream: true}},
		Outputs: []step.Output{
			{Topic: events.TopicScored, Watermarks: true},
			{Topic: events.TopicAnomalies},
		},
		Tables: []step.Table{{Topic: events.TopicRules, Initial: initial, Apply: applyRules(config.Observer)}},
		// What gives a profile its meaning is fixed by its version.
		Settings: "profile " + strconv.Itoa(profileVersion),
		Codecs:   map[byte]step.Codec{kindProfile: profileCodec()},
		New: func(task step.Task) step.Function {
			return newFunction(config, initial, config.Observer.Task(task.Partition))
		},
	}, nil
}

// applyRules keeps the table's view, a *rules.Set. Refused records are reported
// to the observer and not returned as an error, which would drop the good
// records that came with them.
func applyRules(observer Observer) func(any, []step.Change) (any, error) {
	return func(old any, records []step.Change) (any, error) {
		set := old.(*rules.Set)
		changes := make([]rules.Change, len(records))
		for i, r := range records {
			changes[i] = rules.Change{ID: r.Key, Document: r.Value}
		}
		next, refused := set.With(changes)
		for _, err := range refused {
			observer.RuleRefused(err)
		}
		if next.Version() != set.Version() {
			observer.RulesChanged(next)
		}
		return next, nil
	}
}

// function is detect for one task. Everything in it but config is scratch
// memory of one Step.
type function struct {
	config   Config
	observer TaskObserver
	key      []byte
	profile  profile
	encoded  []byte
	subject  subject
	input    *rules.Input
	outcome  rules.Outcome
	weights  []float64
	text     []byte
	arena    events.Arena
	scored   events.Event
	anomaly  events.Event
	// decision's Features always hold the names of all features.
	decision events.Anomaly
}

func newFunction(config Config, set *rules.Set, observer TaskObserver) *function {
	f := &function{config: config, observer: observer}
	f.input = set.NewInput(&f.subject)
	for _, name := range featureNames {
		f.decision.Features = append(f.decision.Features, events.Feature{Name: name})
	}
	return f
}

// Step implements step.Function.
func (f *function) Step(tx step.Tx, e *events.Event) error {
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
	set := tx.Table(events.TopicRules).(*rules.Set)
	f.subject.modelScore = baseline(&f.subject.features)
	f.input.Next()
	set.Evaluate(f.input, &f.outcome)

	f.decide(set)
	f.arena.Reset()
	f.scored = f.arena.NewScored(&f.decision.Scored)
	tx.Emit(events.TopicScored, &f.scored)
	if f.decision.Flagged {
		f.explain()
		f.anomaly = f.arena.AnomalyOf(&f.scored, f.decision.Reasons)
		tx.Emit(events.TopicAnomalies, &f.anomaly)
	}
	f.report(set)
	return nil
}

// Tick implements step.Function: nothing depends on the wall clock.
func (f *function) Tick(step.Tx, time.Time) error { return nil }

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

// decide makes the verdict from the features, the model's score and the outcome
// of the rules.
func (f *function) decide(set *rules.Set) {
	d := &f.decision
	d.Enriched = f.subject.transaction
	d.RuleSet, d.ModelVersion = set.Version(), modelVersion
	d.Rules, f.weights = d.Rules[:0], f.weights[:0]
	severity := ""
	for _, r := range f.outcome.Active {
		f.weights = append(f.weights, r.Weight)
		d.Rules = append(d.Rules, events.FiredRule{ID: r.ID, Version: r.Version})
		severity = moreSevere(severity, r.Severity)
	}
	d.Score = combine(f.subject.modelScore, f.weights...)
	d.Flagged = len(d.Rules) > 0 || f.flaggedByScore()
	d.Severity = ""
	if d.Flagged {
		d.Severity = moreSevere(severity, f.config.severityOf(d.Score))
	}
	for i, x := range f.subject.features {
		d.Features[i].Value = x
	}
}

func (f *function) flaggedByScore() bool { return f.subject.modelScore >= f.config.FlagScore }

func moreSevere(a, b string) string {
	if rules.SeverityRank(a) >= rules.SeverityRank(b) {
		return a
	}
	return b
}

// explain gives one reason for each active rule that fired, by id, and one for
// the score when it alone would have flagged.
func (f *function) explain() {
	d := &f.decision
	d.Reasons = d.Reasons[:0]
	for _, r := range f.outcome.Active {
		d.Reasons = append(d.Reasons, events.Reason{Rule: r.ID, Text: f.reason(r)})
	}
	if f.flaggedByScore() {
		f.text = append(f.text[:0], "score "...)
		f.text = strconv.AppendFloat(f.text, f.subject.modelScore, 'f', 3, 64)
		f.text = append(f.text, " is "...)
		f.text = strconv.AppendFloat(f.text, f.config.FlagScore, 'g', -1, 64)
		f.text = append(f.text, " or more: "...)
		f.text = appendExplanation(f.text, &f.subject.features)
		d.Reasons = append(d.Reasons, events.Reason{Rule: "score", Text: string(f.text)})
	}
}

// reason is the reason of r, and its id. A reason that has become too long by
// the values in it is cut; one whose values happen to look like a card number,
// which no event may hold, gives way to the description.
func (f *function) reason(r *rules.Compiled) string {
	const most = 900 // with the id below what an anomaly may have
	f.text = r.AppendReason(f.text[:0], f.input)
	if len(f.text) > most {
		f.text = append(bytes.ToValidUTF8(f.text[:most], nil), "..."...)
	}
	end := len(f.text)
	f.text = append(f.text, " ("...)
	f.text = append(f.text, r.ID...)
	text := string(append(f.text, ')'))
	if events.HasCardNumber(text[:end]) {
		return r.Description + text[end:]
	}
	return text
}

func (f *function) report(set *rules.Set) {
	observer := f.observer
	for _, r := range f.outcome.Active {
		observer.RuleFired(r.ID, r.Severity, false)
	}
	for _, r := range f.outcome.Shadow {
		observer.RuleFired(r.ID, r.Severity, true)
	}
	for _, failure := range f.outcome.Failed {
		observer.RuleFailed(failure.Rule.ID, failure.Err)
	}
	observer.Scored(&f.decision.Scored, set)
}
