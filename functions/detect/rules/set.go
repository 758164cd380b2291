package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
	"github.com/go-json-experiment/json"
)

// Set is an immutable set of rules: the built-in ones and those of the table,
// which replace built-in ones of the same id. It may be used by several
// goroutines.
type Set struct {
	compiler *Compiler
	builtIn  map[string]*Compiled
	table    map[string]admitted
	history  map[string]Change // by rule: the last record of its history
	next     uint64            // number of the next record
	over     map[string]bool   // rules of the table beyond a limit

	all     []*Compiled // in force, by id, the ones that are off too
	run     []running   // the ones that are evaluated, by id
	windows []SetWindow
	slots   map[string]int // window ID to its place in windows
	version string
}

// admitted is a good rule of the table.
type admitted struct {
	*Compiled
	number uint64 // of its record: limits are used up in this order
}

// running is a rule that is evaluated.
type running struct {
	*Compiled
	slots []int // of its own windows, in Set.windows
}

// SetWindow is a window that active and shadow rules of a set ask for.
type SetWindow struct {
	*Window
	// Feature names its value in decisions: the first rule that asks for it, a
	// dot, and the rule's name for it.
	Feature string
	Rules   []*Compiled // that ask for it, by id
}

// NewSet returns the set of the rules in builtIn, a YAML file of rule documents.
func NewSet(c *Compiler, builtIn []byte) (*Set, error) {
	compiled, refused := c.CompileAll(builtIn)
	if len(refused) > 0 {
		return nil, fmt.Errorf("built-in rules: %w", errors.Join(refused...))
	}
	s := &Set{compiler: c, builtIn: map[string]*Compiled{}, table: map[string]admitted{}, history: map[string]Change{}}
	for _, r := range compiled {
		s.builtIn[r.ID] = r
	}
	refused, err := s.seal(nil)
	return s, errors.Join(append(refused, err)...)
}

// Change is one record of the rules table. Under the id of a rule stands the
// rule in force; Document is nil when it was deleted, which brings a built-in
// rule of the id back. Under [HistoryKey] stands one of its versions, for
// good: a record under the id that is not a good rule leaves the last good one
// in force, and who was not there to see that one finds it in the history.
type Change struct {
	ID       string
	Document []byte
}

// HistoryKey is the key of a version of a rule in the rules table.
func HistoryKey(id string, version int) string { return id + "@" + strconv.Itoa(version) }

// ParseHistoryKey takes a [HistoryKey] apart.
func ParseHistoryKey(key string) (id string, version int, ok bool) {
	id, number, ok := strings.Cut(key, "@")
	if !ok {
		return "", 0, false
	}
	version, err := strconv.Atoi(number)
	return id, version, err == nil && version > 0 && validID(id) && HistoryKey(id, version) == key
}

// With returns the set after changes, and an [*InvalidError] for each change
// that was refused; the rule of that id stays as it was. The outcome does not
// depend on how changes are divided among calls.
func (s *Set) With(changes []Change) (*Set, []error) {
	next := &Set{
		compiler: s.compiler, builtIn: s.builtIn, table: maps.Clone(s.table), history: maps.Clone(s.history), next: s.next,
	}
	var refused []error
	for _, change := range changes {
		if err := next.take(change); err != nil {
			refused = append(refused, err)
		}
	}
	beyond, err := next.seal(s.over)
	refused = append(refused, beyond...)
	if err != nil {
		return s, append(refused, err)
	}
	return next, refused
}

// take puts one record into the table.
func (s *Set) take(change Change) error {
	if strings.Contains(change.ID, "@") {
		id, _, ok := ParseHistoryKey(change.ID)
		switch {
		case !ok:
			return invalid(change.ID, "the record's key is neither the id of a rule nor of the form id@version")
		case change.Document != nil:
			s.history[id] = change
		case s.history[id].ID == change.ID:
			delete(s.history, id)
		}
		return nil
	}
	if change.Document == nil {
		delete(s.table, change.ID)
		return nil
	}
	s.next++
	rule, err := s.compile(change)
	if err == nil {
		s.table[rule.ID] = admitted{rule, s.next}
		return nil
	}
	if _, have := s.table[change.ID]; have {
		return err
	}
	last, have := s.history[change.ID]
	if !have {
		return err
	}
	if rule, old := s.compile(Change{change.ID, last.Document}); old == nil {
		s.table[rule.ID] = admitted{rule, s.next}
	}
	return err
}

func (s *Set) compile(change Change) (*Compiled, error) {
	if err := s.compiler.checkSize(change.ID, change.Document); err != nil {
		return nil, err
	}
	rule, err := s.compiler.Compile(change.Document)
	if err != nil {
		if bad, ok := errors.AsType[*InvalidError](err); ok && bad.ID == "" {
			bad.ID = change.ID
		}
		return nil, err
	}
	if rule.ID != change.ID {
		return nil, invalid(change.ID, "the record's key is %q, but the document's id is %q", clip(change.ID), rule.ID)
	}
	return rule, nil
}

// seal chooses the rules that are within the limits, orders them and computes
// the version. It returns an error for each rule beyond the limits that was not
// so before.
func (s *Set) seal(before map[string]bool) (beyond []error, err error) {
	s.over, s.slots = map[string]bool{}, map[string]int{}
	for id, r := range s.builtIn {
		if _, replaced := s.table[id]; !replaced {
			s.all = append(s.all, r)
		}
	}
	windows := map[string]bool{}
	for _, r := range s.all {
		for i := range r.Own {
			windows[r.Own[i].ID] = true
		}
	}
	for _, r := range slices.SortedFunc(maps.Values(s.table), func(a, b admitted) int { return cmp.Compare(a.number, b.number) }) {
		if err := s.fits(r.Compiled, windows); err != nil {
			if s.over[r.ID] = true; !before[r.ID] {
				beyond = append(beyond, err)
			}
			continue
		}
		for i := range r.Own {
			windows[r.Own[i].ID] = true
		}
		s.all = append(s.all, r.Compiled)
	}
	slices.SortFunc(s.all, func(a, b *Compiled) int { return cmp.Compare(a.ID, b.ID) })
	hash := sha256.New()
	for _, r := range s.all {
		if err := json.MarshalWrite(hash, &r.Rule); err != nil {
			return beyond, fmt.Errorf("rule %q: %w", r.ID, err)
		}
		if r.Mode != Off {
			s.run = append(s.run, running{r, s.place(r)})
		}
	}
	s.version = hex.EncodeToString(hash.Sum(nil)[:6])
	return beyond, nil
}

// fits reports whether there is room for r beside those chosen so far.
func (s *Set) fits(r *Compiled, windows map[string]bool) error {
	if len(s.all) >= s.compiler.limits.Rules {
		return invalid(r.ID, "there are %d rules already, the limit; delete one first", len(s.all))
	}
	more := 0
	for i := range r.Own {
		if !windows[r.Own[i].ID] {
			more++
		}
	}
	if len(windows)+more > s.compiler.limits.Windows {
		return invalid(r.ID, "it asks for %d more windows, and with the %d that rules ask for already that is over the limit of %d",
			more, len(windows), s.compiler.limits.Windows)
	}
	return nil
}

// place gives the windows of r places among those of the set.
func (s *Set) place(r *Compiled) []int {
	slots := make([]int, len(r.Own))
	for i, own := range r.Own {
		slot, known := s.slots[own.ID]
		if !known {
			slot = len(s.windows)
			s.slots[own.ID] = slot
			s.windows = append(s.windows, SetWindow{Window: own.Window, Feature: r.ID + "." + own.Name})
		}
		s.windows[slot].Rules = append(s.windows[slot].Rules, r)
		slots[i] = slot
	}
	return slots
}

// Version is a hash of the rules in force: equal sets have equal versions.
func (s *Set) Version() string { return s.version }

// Rules returns the rules in force by id, those that are off included. The
// slice must not be changed.
func (s *Set) Rules() []*Compiled { return s.all }

// BuiltIn reports whether the rule of this id that is in force is built in.
func (s *Set) BuiltIn(id string) bool {
	_, replaced := s.table[id]
	return !replaced && s.builtIn[id] != nil
}

// Windows returns the windows that the rules which are evaluated ask for. The
// slice must not be changed.
func (s *Set) Windows() []SetWindow { return s.windows }

// Slots returns the places in Windows of the windows of r's own, in their order.
func (s *Set) Slots(r *Compiled) []int {
	i, found := slices.BinarySearchFunc(s.run, r.ID, func(r running, id string) int { return cmp.Compare(r.ID, id) })
	if !found {
		return nil
	}
	return s.run[i].slots
}

// NewInput returns an input for Evaluate.
func (s *Set) NewInput(source Source) *Input { return s.compiler.NewInput(source) }

// Outcome is what the rules of a set say of one transaction, each list by id.
type Outcome struct {
	Active []*Compiled // fired, and flag the transaction
	Shadow []*Compiled // fired, and are only counted
	Failed []Failure

	// Counted says for each window of the set whether it counts the
	// transaction, Uncounted why one does not although its filter might.
	Counted   []bool
	Uncounted []Failure
}

// Failure is a rule whose evaluation failed; it counts as not fired. The filter
// of a window that failed is that of the first rule that asks for the window.
type Failure struct {
	Rule *Compiled
	Err  error
}

func (o *Outcome) fail(r *Compiled, err error) {
	o.Failed = append(o.Failed, Failure{Rule: r, Err: fmt.Errorf("evaluate rule %q: %w", r.ID, err)})
}

// Filter evaluates the filters of the windows and puts the outcome into
// out.Counted and out.Uncounted.
func (s *Set) Filter(in *Input, out *Outcome) {
	out.Counted, out.Uncounted = out.Counted[:0], out.Uncounted[:0]
	if len(s.windows) == 0 {
		return
	}
	in.set, in.rule = s, nil
	frame, err := interpreter.NewExecutionFrame(in)
	if err == nil {
		defer frame.Close()
	}
	for i := range s.windows {
		w, counts, failed := &s.windows[i], false, err
		if failed == nil {
			counts, failed = w.counts(frame)
		}
		if failed != nil {
			out.Uncounted = append(out.Uncounted, Failure{w.Rules[0], fmt.Errorf("evaluate the filter of window %s: %w", w.Feature, failed)})
		}
		out.Counted = append(out.Counted, counts)
	}
}

// Timer measures how long rules take.
type Timer struct {
	Now  func() time.Time
	Took func(r *Compiled, d time.Duration)
}

// Evaluate evaluates every rule once and puts the outcome into out, whose memory
// it reuses.
func (s *Set) Evaluate(in *Input, out *Outcome) { s.EvaluateTimed(in, out, nil) }

// EvaluateTimed is Evaluate that tells timer how long each rule took, unless
// timer is nil.
func (s *Set) EvaluateTimed(in *Input, out *Outcome, timer *Timer) {
	out.Active, out.Shadow, out.Failed = out.Active[:0], out.Shadow[:0], out.Failed[:0]
	in.set = s
	// One frame serves all rules without a meter; one with a meter needs its
	// own, because the frame carries the cost so far.
	frame, err := interpreter.NewExecutionFrame(in)
	if err != nil {
		for i := range s.run {
			out.fail(s.run[i].Compiled, err)
		}
		return
	}
	defer frame.Close()
	var last time.Time
	if timer != nil {
		last = timer.Now()
	}
	for i := range s.run {
		r := &s.run[i]
		in.rule = r
		var vars any = frame
		if r.Metered {
			vars = in
		}
		value, _, err := r.program.Eval(vars)
		if timer != nil {
			now := timer.Now()
			timer.Took(r.Compiled, now.Sub(last))
			last = now
		}
		if err != nil {
			out.fail(r.Compiled, err)
			continue
		}
		if value != types.True {
			continue
		}
		if r.Mode == Shadow {
			out.Shadow = append(out.Shadow, r.Compiled)
		} else {
			out.Active = append(out.Active, r.Compiled)
		}
	}
}
