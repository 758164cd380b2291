package detect

import (
	"datasurge/events"
	"datasurge/functions/detect/rules"
)

// Observer is told what detect does, for metrics and logs. Its methods are
// called by several tasks and tables at once and must return quickly.
type Observer interface {
	// Task returns who is told what one task decides. It is called for each new
	// instance of the task; what was told of the one before and not committed
	// comes again.
	Task(task int) TaskObserver
	// RuleRefused: a record of the rules table or of the lists was not
	// accepted; what stood under its key stays in force. err is an
	// *rules.InvalidError or an *rules.ListError.
	RuleRefused(err error)
	// RulesChanged: a new rule set is in force.
	RulesChanged(set *rules.Set)
}

// TaskObserver is told what a task decides, on its goroutine and before it is
// committed. It keeps nothing of what it is handed but sets, which are immutable.
type TaskObserver interface {
	// Scored: t was decided by set.
	Scored(t *events.Scored, set *rules.Set)
	// RuleFired: an active rule flagged the transaction, or a shadow rule fired.
	// The id is rules.DenyReason when a list flagged it. It is told before
	// Scored.
	RuleFired(id, severity string, shadow bool)
	// RuleSuppressed: an active rule fired and did not flag, because it is
	// suppressed or the transaction is on the list allow.
	RuleSuppressed(id string)
	// RuleFailed: the evaluation of a rule failed; it counted as not fired.
	RuleFailed(id string, err error)
	// Labelled: a label said whether a transaction was a fraud, on which an
	// active or shadow rule had fired or not. The rule "" stands for all
	// together, and fired for flagged. It is told for every rule when a rule
	// fired or the transaction was a fraud.
	Labelled(rule string, fired, fraud bool)
	// Timer returns how to time the rules on the next transaction, nil for not at
	// all, which it is to be for most: reading the clock takes as long as a rule.
	Timer() *rules.Timer
}

// unobserved is the Observer when there is none.
type unobserved struct{}

func (unobserved) Task(int) TaskObserver             { return unobserved{} }
func (unobserved) Scored(*events.Scored, *rules.Set) {}
func (unobserved) RuleFired(string, string, bool)    {}
func (unobserved) RuleSuppressed(string)             {}
func (unobserved) RuleFailed(string, error)          {}
func (unobserved) Labelled(string, bool, bool)       {}
func (unobserved) Timer() *rules.Timer               { return nil }
func (unobserved) RuleRefused(error)                 {}
func (unobserved) RulesChanged(*rules.Set)           {}
