package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

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
	table    map[string]*Compiled
	all      []*Compiled // in force, by id, the ones that are off too
	run      []*Compiled // the ones that are evaluated, by id
	version  string
}

// NewSet returns the set of the rules in builtIn, a YAML file of rule documents.
func NewSet(c *Compiler, builtIn []byte) (*Set, error) {
	compiled, refused := c.CompileAll(builtIn)
	if len(refused) > 0 {
		return nil, fmt.Errorf("built-in rules: %w", errors.Join(refused...))
	}
	s := &Set{compiler: c, builtIn: map[string]*Compiled{}, table: map[string]*Compiled{}}
	for _, r := range compiled {
		s.builtIn[r.ID] = r
	}
	return s.seal()
}

// Change is one record of the rules table: Document is nil when the rule of
// that id was deleted, which brings a built-in rule of the id back.
type Change struct {
	ID       string
	Document []byte
}

// With returns the set after changes, and an [*InvalidError] for each change
// that was refused; the rule of that id stays as it was. The outcome does not
// depend on how changes are divided among calls.
func (s *Set) With(changes []Change) (*Set, []error) {
	next := &Set{compiler: s.compiler, builtIn: s.builtIn, table: maps.Clone(s.table)}
	var refused []error
	for _, change := range changes {
		if change.Document == nil {
			delete(next.table, change.ID)
			continue
		}
		rule, err := next.admit(change)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		next.table[rule.ID] = rule
	}
	sealed, err := next.seal()
	if err != nil {
		return s, append(refused, err)
	}
	return sealed, refused
}

func (s *Set) admit(change Change) (*Compiled, error) {
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
	_, have := s.table[rule.ID]
	if _, replaces := s.builtIn[rule.ID]; !have && !replaces && len(s.table)+len(s.builtIn) >= s.compiler.limits.Rules {
		return nil, invalid(rule.ID, "there are %d rules already, the limit; delete one first", s.compiler.limits.Rules)
	}
	return rule, nil
}

// seal orders the rules and computes the version.
func (s *Set) seal() (*Set, error) {
	inForce := maps.Clone(s.builtIn)
	maps.Copy(inForce, s.table)
	s.all = slices.SortedFunc(maps.Values(inForce), func(a, b *Compiled) int { return cmp.Compare(a.ID, b.ID) })
	hash := sha256.New()
	for _, r := range s.all {
		if err := json.MarshalWrite(hash, &r.Rule); err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.ID, err)
		}
		if r.Mode != Off {
			s.run = append(s.run, r)
		}
	}
	s.version = hex.EncodeToString(hash.Sum(nil)[:6])
	return s, nil
}

// Version is a hash of the rules in force: equal sets have equal versions.
func (s *Set) Version() string { return s.version }

// Rules returns the rules in force by id, those that are off included. The
// slice must not be changed.
func (s *Set) Rules() []*Compiled { return s.all }

// NewInput returns an input for Evaluate.
func (s *Set) NewInput(source Source) *Input { return s.compiler.NewInput(source) }

// Outcome is what the rules of a set say of one transaction, each list by id.
type Outcome struct {
	Active []*Compiled // fired, and flag the transaction
	Shadow []*Compiled // fired, and are only counted
	Failed []Failure
}

// Failure is a rule whose evaluation failed; it counts as not fired.
type Failure struct {
	Rule *Compiled
	Err  error
}

func (o *Outcome) fail(r *Compiled, err error) {
	o.Failed = append(o.Failed, Failure{Rule: r, Err: fmt.Errorf("evaluate rule %q: %w", r.ID, err)})
}

// Evaluate evaluates every rule once and puts the outcome into out, whose memory
// it reuses.
func (s *Set) Evaluate(in *Input, out *Outcome) {
	out.Active, out.Shadow, out.Failed = out.Active[:0], out.Shadow[:0], out.Failed[:0]
	// One frame serves all rules without a meter; one with a meter needs its
	// own, because the frame carries the cost so far.
	frame, err := interpreter.NewExecutionFrame(in)
	if err != nil {
		for _, r := range s.run {
			out.fail(r, err)
		}
		return
	}
	defer frame.Close()
	for _, r := range s.run {
		var vars any = frame
		if r.Metered {
			vars = in
		}
		value, _, err := r.program.Eval(vars)
		if err != nil {
			out.fail(r, err)
			continue
		}
		if value != types.True {
			continue
		}
		if r.Mode == Shadow {
			out.Shadow = append(out.Shadow, r)
		} else {
			out.Active = append(out.Active, r)
		}
	}
}
