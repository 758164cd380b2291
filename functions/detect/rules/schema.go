// Package rules holds detection rules: a rule is a small document with a
// condition in CEL, a [Compiler] checks it against the variables that a
// transaction offers, and an immutable [Set] evaluates all rules against one
// transaction.
//
// # A rule
//
//	id: paypal-spree             lower case letters, digits, "-", "_" and "."
//	version: 3                   1 or more; every decision names it
//	description: Many payments by PayPal within an hour.
//	reason: "{paypal1h} payments by PayPal within an hour"   optional, see below
//	severity: high               low, medium, high or critical
//	weight: 0.5                  0 to 1: what the rule adds to the score
//	when: paypal1h >= 5          CEL, must yield a boolean
//	windows:                     optional: the windows that the rule relies on
//	  - {name: count1m}
//	  - {name: paypal1h, key: userId, aggregate: count, duration: 1h, filter: "paymentMethod == 'paypal'"}
//	mode: active                 active (default), shadow or off
//
// The document is YAML or JSON; unknown fields and repeated fields are refused.
// In reason, {name} stands for the value of a variable; without a reason the
// description is given.
//
// # Windows
//
// A window is one of the fixed ones, whose value is a variable anyway, or one
// that the rule asks for. Its name is then a double in when and reason of this
// rule alone, so that no rule can break another:
//
//	key        userId (default) or merchantId: whose transactions are counted
//	aggregate  count, sum, mean, min, max or distinct
//	of         for sum, mean, min and max a number of the transaction, by default
//	           baseAmount; for distinct a text, as merchantId
//	duration   1s to 90d
//	filter     CEL over the variables: which transactions are counted
//
// Rules that ask for the same window share it. A window without transactions
// is 0.
//
// # Lists and what is not known
//
// merchantId in lists.watch says whether a text is in a list; the lists are
// allow, deny and watch. No variable is ever absent: one whose value is not
// known has the default of the schema, and has(name) is false for it.
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

	// Of names that a compiler adds.
	kindList    // lists.watch
	kindPresent // has(name)
)

// String is the CEL type.
func (k Kind) String() string {
	switch k {
	case Number:
		return "double"
	case Integer:
		return "int"
	case Text:
		return "string"
	case Bool:
		return "bool"
	}
	return "list"
}

// Variable is one name that conditions and reasons may use.
type Variable struct {
	Name string
	Kind Kind
	// Unknown is the value that stands for "not known": a float64 for a Number,
	// a string for a Text. nil: the variable is always known. has(name) is false
	// when the variable has this value.
	Unknown any
}

// FixedWindow is a window over the events of a key that the features are made
// from, and whose value is a variable.
type FixedWindow struct {
	Name      string
	Key       string // field that the window is kept by, "userId"
	Aggregate string // "count" or "mean"
	Duration  time.Duration
}

// Schema is everything that a rule may refer to.
type Schema struct {
	Variables []Variable
	Windows   []FixedWindow
}

// Limits bound what a rule may cost.
type Limits struct {
	// DocumentBytes is the largest document, default 16 KiB.
	DocumentBytes int
	// Rules is the largest number of rules in a set, default 250.
	Rules int
	// Windows is the largest number of different windows that the rules of a
	// set may ask for, default 32.
	Windows int
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
	return Limits{DocumentBytes: 16 << 10, Rules: 250, Windows: 32, StaticCost: 10_000, RunCost: 1_000, TextBytes: 256}
}
