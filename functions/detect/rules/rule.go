package rules

import (
	"fmt"
	"strings"
	"time"

	"datasurge/events"
)

// Mode says what a rule that fires does.
type Mode string

// Modes.
const (
	Active Mode = "active" // flags the transaction
	Shadow Mode = "shadow" // is counted only
	Off    Mode = "off"    // is not evaluated
)

// Reasons for an anomaly that are no rules, whose ids rules may not have.
const (
	ScoreReason = "score"
	DenyReason  = "deny-list"
)

// Severities from the least to the most severe.
const (
	Low      = "low"
	Medium   = "medium"
	High     = "high"
	Critical = "critical"
)

// SeverityRank orders severities: 1 for low to 4 for critical, 0 for anything
// else.
func SeverityRank(severity string) int {
	switch severity {
	case Low:
		return 1
	case Medium:
		return 2
	case High:
		return 3
	case Critical:
		return 4
	}
	return 0
}

// Rule is the content of one rule document. Its JSON form is canonical: two
// rules that mean the same have the same bytes.
type Rule struct {
	ID          string         `json:"id"`
	Version     int            `json:"version"`
	Description string         `json:"description"`
	Reason      string         `json:"reason,omitempty"`
	Severity    string         `json:"severity"`
	Weight      float64        `json:"weight"`
	When        string         `json:"when"`
	Windows     []WindowClause `json:"windows,omitempty"`
	Mode        Mode           `json:"mode"`
}

// WindowClause is a rule's statement that it relies on a window: a fixed one, of
// which the name alone is enough and what else is given must agree, or one of
// the rule's own.
type WindowClause struct {
	Name      string `json:"name" yaml:"name"`
	Key       string `json:"key,omitempty" yaml:"key"`
	Aggregate string `json:"aggregate,omitempty" yaml:"aggregate"`
	Of        string `json:"of,omitempty" yaml:"of"`
	Duration  string `json:"duration,omitempty" yaml:"duration"` // 90s, 10m, 24h or 30d
	Filter    string `json:"filter,omitempty" yaml:"filter"`
}

const (
	maxID          = 64
	maxDescription = 900
	maxVersion     = 1<<31 - 1
	maxReason      = 500
	maxWindows     = 16
)

// check adds to bad what is wrong with the fields, without looking into When and
// Windows.
func (r *Rule) check(bad *report) {
	if !validID(r.ID) {
		bad.add("id", "id %q: want 1 to %d lower case letters, digits, '-', '_' or '.', beginning with a letter or digit", clip(r.ID), maxID)
	}
	if r.ID == ScoreReason || r.ID == DenyReason {
		bad.add("id", "id %q: it names another reason for an anomaly", r.ID)
	}
	if r.Version < 1 || r.Version > maxVersion {
		bad.add("version", "version %d: want 1 or more, at most %d", r.Version, maxVersion)
	}
	if r.Description == "" || len(r.Description) > maxDescription {
		bad.add("description", "description: want 1 to %d bytes, have %d", maxDescription, len(r.Description))
	}
	if len(r.Reason) > maxReason {
		bad.add("reason", "reason: want at most %d bytes, have %d", maxReason, len(r.Reason))
	}
	if events.HasCardNumber(r.ID) || events.HasCardNumber(r.Description) || events.HasCardNumber(r.Reason) {
		bad.add("", "id, description and reason must not hold what looks like a card number: they are written into events")
	}
	if SeverityRank(r.Severity) == 0 {
		bad.add("severity", "severity %q: want low, medium, high or critical", clip(r.Severity))
	}
	if !(r.Weight >= 0 && r.Weight <= 1) {
		bad.add("weight", "weight %v: want 0 to 1", r.Weight)
	}
	if strings.TrimSpace(r.When) == "" {
		bad.add("when", "when: missing; it is the condition, for example: amount > 100000")
	}
	switch r.Mode {
	case Active, Shadow, Off:
	default:
		bad.add("mode", "mode %q: want active, shadow or off", clip(string(r.Mode)))
	}
	if len(r.Windows) > maxWindows {
		bad.add("windows", "windows: want at most %d, have %d", maxWindows, len(r.Windows))
	}
}

// ParseDuration is time.ParseDuration that knows days.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		if err != nil || d > 365*time.Hour {
			return 0, fmt.Errorf("duration %q: want a number and s, m, h or d, for example 30d", clip(s))
		}
		return d * 24, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("duration %q: want a number and s, m, h or d, for example 10m", clip(s))
	}
	return d, nil
}

func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return false
		}
	}
	return true
}

// clip shortens text from outside for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
