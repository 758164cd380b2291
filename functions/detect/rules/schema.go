// Package rules holds detection rules: a rule is a small document with a
// condition in CEL, a [Compiler] checks it against the variables that a
// transaction offers, and an immutable [Set] evaluates all rules against one
// transaction.
//
// # A rule
//
//	id: velocity-1m              lower case letters, digits, "-", "_" and "."
//	version: 3                   1 or more; every decision names it
//	description: Many payments within a minute.
//	reason: "{count1m} transactions within a minute"   optional, see below
//	severity: high               low, medium, high or critical
//	weight: 0.5                  0 to 1: what the rule adds to the score
//	when: count1m >= 5           CEL, must yield a boolean
//	windows:                     optional: the windows that the rule relies on
//	  - {name: count1m, key: userId, aggregate: count, duration: 1m}
//	mode: active                 active (default), shadow or off
//
// The document is YAML or JSON; unknown fields and repeated fields are refused.
// In reason, {name} stands for the value of a variable; without a reason the
// description is given.
//
// # What is checked before a rule counts
//
// The size of the document, every field, the types of the condition (an int and
// a double may be compared but not added or multiplied: write 3.0), the names in
// the reason, the windows, and the worst-case cost of the condition. A condition
// whose worst case is within [Limits].RunCost is evaluated without a meter,
// because it cannot exceed it; a dearer one is metered and cut off there; one
// above [Limits].StaticCost is refused.
//
// The package is pure: no I/O, no clock.
package rules

import "time"

// Kind is the type of a variable.
type Kind uint8

// Kinds of variables and the CEL types they appear as.
const (
	Number  Kind = iota // double
	Integer             // int
	Text                // string
	Bool                // bool
)

// Variable is one name that conditions and reasons may use.
type Variable struct {
	Name string
	Kind Kind
}

// Window is a window over the events of a key that the features are made from.
type Window struct {
	Name      string
	Key       string // field that the window is kept by, "userId"
	Aggregate string // "count" or "mean"
	Duration  time.Duration
}

// Schema is everything that a rule may refer to.
type Schema struct {
	Variables []Variable
	Windows   []Window
}

// Limits bound what a rule may cost.
type Limits struct {
	// DocumentBytes is the largest document, default 16 KiB.
	DocumentBytes int
	// Rules is the largest number of rules in a set, default 250.
	Rules int
	// StaticCost is the worst-case cost, as CEL estimates it, above which a
	// rule is refused, default 10000. A comparison costs about 2, and a unit
	// takes 20 to 50 ns.
	StaticCost uint64
	// RunCost is the cost at which one evaluation is cut off, default 1000.
	RunCost uint64
	// TextBytes is the longest text value that the worst case assumes,
	// default 256.
	TextBytes uint64
}

// DefaultLimits returns the documented defaults.
func DefaultLimits() Limits {
	return Limits{DocumentBytes: 16 << 10, Rules: 250, StaticCost: 10_000, RunCost: 1_000, TextBytes: 256}
}
