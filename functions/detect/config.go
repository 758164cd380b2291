package detect

import (
	"errors"
	"fmt"

	"datasurge/events"
	"datasurge/functions/detect/rules"
)

// Config is what can be set about detect.
type Config struct {
	// FlagScore is the model's score from which a transaction is flagged
	// although no rule fired; 0 to 1, default 0.9. Above 1 the model alone
	// flags nothing.
	FlagScore float64
	// Medium, High and Critical are the scores from which a flagged
	// transaction has at least that severity; ascending, defaults 0.7, 0.9
	// and 0.97. Below Medium it has the severity of its rules, at least low.
	Medium, High, Critical float64
	// ReviewScore and DeclineScore are the scores from which a transaction is to
	// be reviewed and declined; ascending, defaults 0.5 and 0.95. A flagged
	// transaction is reviewed at least.
	ReviewScore, DeclineScore float64
	// Limits bound the rules.
	Limits rules.Limits
	// Observer is told what happens; nil is nobody.
	Observer Observer
}

// mostRules is how many rules and reasons a decision can have on the wire, less
// the reasons for the score and the deny list; mostWindows is how many windows
// can stand beside the features.
const (
	mostRules   = 254
	mostWindows = 128
)

// DefaultConfig returns the documented defaults.
func DefaultConfig() Config {
	return Config{FlagScore: 0.9, Medium: 0.7, High: 0.9, Critical: 0.97, ReviewScore: 0.5, DeclineScore: 0.95, Limits: rules.DefaultLimits()}
}

func (c *Config) validate() error {
	var faults []error
	if !(c.FlagScore > 0) {
		faults = append(faults, fmt.Errorf("flag score %v: want a number above 0", c.FlagScore))
	}
	if !(0 < c.Medium && c.Medium <= c.High && c.High <= c.Critical) {
		faults = append(faults, fmt.Errorf("severity scores medium %v, high %v, critical %v: want positive and ascending", c.Medium, c.High, c.Critical))
	}
	if !(0 < c.ReviewScore && c.ReviewScore <= c.DeclineScore) {
		faults = append(faults, fmt.Errorf("scores review %v, decline %v: want positive and ascending", c.ReviewScore, c.DeclineScore))
	}
	if c.Limits.Windows < 0 || c.Limits.Windows > mostWindows {
		faults = append(faults, fmt.Errorf("limit of %d windows: want 0 to %d", c.Limits.Windows, mostWindows))
	}
	if c.Limits.DocumentBytes <= 0 || c.Limits.Rules <= 0 || c.Limits.StaticCost == 0 || c.Limits.RunCost == 0 || c.Limits.TextBytes == 0 {
		faults = append(faults, fmt.Errorf("rule limits %+v: want all of them positive", c.Limits))
	}
	if c.Limits.Rules > mostRules {
		faults = append(faults, fmt.Errorf("limit of %d rules: want at most %d, which is what a decision can name", c.Limits.Rules, mostRules))
	}
	return errors.Join(faults...)
}

// decision returns what to do with a transaction.
func (c *Config) decision(score float64, flagged bool) string {
	switch {
	case score >= c.DeclineScore:
		return events.Decline
	case flagged || score >= c.ReviewScore:
		return events.Review
	}
	return events.Approve
}

// severityOf returns the severity of a flagged transaction by its score alone.
func (c *Config) severityOf(score float64) string {
	switch {
	case score >= c.Critical:
		return rules.Critical
	case score >= c.High:
		return rules.High
	case score >= c.Medium:
		return rules.Medium
	}
	return rules.Low
}
