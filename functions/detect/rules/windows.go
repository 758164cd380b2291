package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"datasurge/events"
)

// Key says by what a window is kept.
type Key uint8

// Keys of windows.
const (
	Customer Key = iota // userId
	Merchant            // merchantId
)

// String is the field of the transaction.
func (k Key) String() string {
	if k == Merchant {
		return "merchantId"
	}
	return "userId"
}

// Aggregate is what a window tells of its transactions.
type Aggregate uint8

// Aggregates.
const (
	Count Aggregate = iota
	Sum
	Mean
	Min
	Max
	Distinct
)

//nolint:gochecknoglobals // a constant table
var aggregateNames = [...]string{Count: "count", Sum: "sum", Mean: "mean", Min: "min", Max: "max", Distinct: "distinct"}

// String is the name in a rule.
func (a Aggregate) String() string { return aggregateNames[a] }

// The shortest and the longest window.
const (
	shortestWindow = time.Second
	longestWindow  = 90 * 24 * time.Hour
)

// Window is a window that a rule asks for. Two rules that ask for the same have
// windows of the same ID.
type Window struct {
	ID        string // 16 hexadecimal digits: a hash of the other fields
	Key       Key
	Aggregate Aggregate
	Of        string // variable; "" for Count
	Duration  time.Duration
	Filter    string // "" counts every transaction

	of     int    // position of Of in the schema
	cost   uint64 // worst case of the filter
	filter cel.Program
}

// Panes is how many panes a window is kept in. One more is kept, since a window
// begins anywhere in a pane: all that is within the duration is counted, and up
// to one pane's width of what is older.
const Panes = 12

// Width is that of a pane.
func (w *Window) Width() time.Duration {
	ms := (w.Duration.Milliseconds() + Panes - 1) / Panes
	return time.Duration(ms) * time.Millisecond
}

// Warming is how long a window has to be kept until it misses nothing.
func (w *Window) Warming() time.Duration { return (Panes + 1) * w.Width() }

// String describes the window as a rule does.
func (w *Window) String() string {
	var b strings.Builder
	b.WriteString(w.Aggregate.String())
	if w.Of != "" {
		b.WriteString(" of " + w.Of)
	}
	fmt.Fprintf(&b, " by %s over %s", w.Key, FormatDuration(w.Duration))
	if w.Filter != "" {
		b.WriteString(" where " + strings.Join(strings.Fields(w.Filter), " "))
	}
	return b.String()
}

// counts reports whether the window counts the transaction of vars, an activation
// or a frame.
func (w *Window) counts(vars any) (bool, error) {
	if w.filter == nil {
		return true, nil
	}
	value, _, err := w.filter.Eval(vars)
	return value == types.True, err
}

// Number is what the window sums of the transaction in in.
func (w *Window) Number(in *Input) float64 { return in.number(w.of) }

// Text is what the window tells apart of the transaction in in.
func (w *Window) Text(in *Input) string { return in.source.Text(w.of) }

// NamedWindow is a window under the name that a rule gives it.
type NamedWindow struct {
	Name string
	*Window
}

// windows checks the windows of a rule, and compiles those of its own.
func (c *Compiler) windows(r *Compiled, src *source, bad *report) {
	seen := map[string]bool{}
	for i := range r.Windows[:min(len(r.Windows), maxWindows)] {
		clause, field := &r.Windows[i], fmt.Sprintf("windows[%d]", i)
		if seen[clause.Name] {
			bad.add(field+".name", "%s: the name %q is used twice", field, clip(clause.Name))
			continue
		}
		seen[clause.Name] = true
		if fixed := c.fixed(clause.Name); fixed != nil {
			if err := clause.agrees(fixed); err != nil {
				bad.add(field, "%s: %v", field, err)
			}
			continue
		}
		before := len(bad.Problems)
		w := c.window(clause, field, src, bad)
		if len(bad.Problems) == before {
			r.Own = append(r.Own, NamedWindow{clause.Name, w})
		}
	}
}

func (c *Compiler) fixed(name string) *FixedWindow {
	for i := range c.schema.Windows {
		if c.schema.Windows[i].Name == name {
			return &c.schema.Windows[i]
		}
	}
	return nil
}

// agrees checks what a clause says about a fixed window.
func (w *WindowClause) agrees(fixed *FixedWindow) error {
	const other = "; a window of the rule's own needs another name"
	if w.Key != "" && w.Key != fixed.Key {
		return fmt.Errorf("key %q: the window %s is kept by %s%s", clip(w.Key), fixed.Name, fixed.Key, other)
	}
	if w.Aggregate != "" && w.Aggregate != fixed.Aggregate {
		return fmt.Errorf("aggregate %q: the window %s is a %s%s", clip(w.Aggregate), fixed.Name, fixed.Aggregate, other)
	}
	if w.Filter != "" || w.Of != "" {
		return fmt.Errorf("the window %s has no filter and no of%s", fixed.Name, other)
	}
	if w.Duration == "" {
		return nil
	}
	d, err := ParseDuration(w.Duration)
	if err != nil {
		return err
	}
	if d != fixed.Duration {
		return fmt.Errorf("duration %s: the window %s is %s long%s", w.Duration, fixed.Name, FormatDuration(fixed.Duration), other)
	}
	return nil
}

// window compiles a window of a rule's own.
func (c *Compiler) window(clause *WindowClause, field string, src *source, bad *report) *Window {
	w := &Window{Filter: clause.Filter, Of: clause.Of}
	wrong := func(part, format string, args ...any) {
		bad.add(field+part, "%s", field+": "+fmt.Sprintf(format, args...))
	}
	if !validName(clause.Name) {
		wrong(".name", "name %q: want 1 to %d letters, digits and '_', beginning with a letter", clip(clause.Name), maxID)
		return w
	}
	if events.HasCardNumber(src.rule.ID + "." + clause.Name) {
		wrong(".name", "name %q: with the rule's id it must not look like a card number: both are written into events", clause.Name)
	}
	if _, taken := c.index[clause.Name]; taken {
		wrong(".name", "name %q: a variable has it; use another", clause.Name)
	}
	if clause.Aggregate == "" && clause.Duration == "" {
		wrong("", "there is no fixed window %q (there are %s), and a window of the rule's own needs aggregate and duration", clause.Name, c.fixedNames())
		return w
	}
	switch clause.Key {
	case "", Customer.String():
	case Merchant.String():
		w.Key = Merchant
	default:
		wrong(".key", "key %q: want userId or merchantId", clip(clause.Key))
	}
	c.checkAggregate(w, clause, wrong)
	d, err := ParseDuration(clause.Duration)
	switch {
	case err != nil:
		wrong(".duration", "%v", err)
	case d < shortestWindow || d > longestWindow || d%time.Millisecond != 0:
		wrong(".duration", "duration %s: want %s to %s", clip(clause.Duration), FormatDuration(shortestWindow), FormatDuration(longestWindow))
	}
	w.Duration = d
	if w.Filter != "" {
		bad.Problems = append(bad.Problems, c.planFilter(w, src.expression(field+".filter"))...)
	}
	hash := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d|%s", w.Key, w.Aggregate, w.Of, w.Duration.Milliseconds(), w.Filter))
	w.ID = hex.EncodeToString(hash[:8])
	return w
}

func (c *Compiler) checkAggregate(w *Window, clause *WindowClause, wrong func(part, format string, args ...any)) {
	found := false
	for i, name := range aggregateNames {
		if name == clause.Aggregate {
			w.Aggregate, found = Aggregate(i), true
		}
	}
	if !found {
		wrong(".aggregate", "aggregate %q: want one of %s", clip(clause.Aggregate), strings.Join(aggregateNames[:], ", "))
		return
	}
	want := Number
	switch w.Aggregate {
	case Count:
		if w.Of != "" {
			wrong(".of", "of %q: a count has none", clip(w.Of))
		}
		return
	case Distinct:
		want = Text
		if w.Of == "" {
			wrong("", "of is missing: it is the text whose different values are counted, for example merchantId")
			return
		}
	default:
		if w.Of == "" {
			w.Of = "baseAmount"
		}
	}
	i, known := c.index[w.Of]
	switch {
	case !known || i >= len(c.schema.Variables):
		wrong(".of", "of %q: there is no such variable", clip(w.Of))
	case c.kinds[i] != want:
		wrong(".of", "of %q: want a variable of type %s, it is of type %s", w.Of, want, c.kinds[i])
	}
	w.of = i
}

func (c *Compiler) fixedNames() string {
	names := make([]string, len(c.schema.Windows))
	for i := range c.schema.Windows {
		names[i] = c.schema.Windows[i].Name
	}
	return strings.Join(names, ", ")
}

func validName(s string) bool {
	if s == "" || len(s) > maxID || events.HasCardNumber(s) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && (c == '_' || '0' <= c && c <= '9'):
		default:
			return false
		}
	}
	return true
}

// FormatDuration writes whole days as days, and else as Go does, without the
// zeroes at the end.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// wholeNumber reports whether x is written without decimals.
func wholeNumber(x float64) bool { return x == math.Trunc(x) && math.Abs(x) < 1e15 }
