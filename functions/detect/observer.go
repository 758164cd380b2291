package detect

// Observer is told what detect does, for metrics and logs. Its methods are
// called on the goroutine of a task or of a table, several of them at once, and
// must return quickly. What a transaction did is reported when it is stepped: it
// is reported again if the commit fails and the transaction comes again.
type Observer interface {
	// Scored: one transaction was decided. severity is "" when not flagged.
	Scored(score float64, flagged bool, severity string)
	// RuleFired: an active or a shadow rule fired.
	RuleFired(id, severity string, shadow bool)
	// RuleFailed: the evaluation of a rule failed; it counted as not fired.
	RuleFailed(id string, err error)
	// RuleRefused: a record of the rules table was not accepted; the rule of
	// that id stays as it was. err is an *rules.InvalidError.
	RuleRefused(err error)
	// RulesChanged: a new rule set is in force.
	RulesChanged(version string, rules int)
}

// unobserved is the Observer when there is none.
type unobserved struct{}

func (unobserved) Scored(float64, bool, string)   {}
func (unobserved) RuleFired(string, string, bool) {}
func (unobserved) RuleFailed(string, error)       {}
func (unobserved) RuleRefused(error)              {}
func (unobserved) RulesChanged(string, int)       {}
