package rulebook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
)

// Rules is what stands in the table of rules.
type Rules struct {
	Set      *rules.Set
	Refused  []error // records that are no good rules
	compiler *rules.Compiler
	versions []Version // by id and version
	current  map[string]record
}

// Version is one version of a rule.
type Version struct {
	ID       string
	Version  int
	Document []byte
	Applied  time.Time
	InForce  bool
}

// Rules reads the table of rules.
func (b *Book) Rules(ctx context.Context) (*Rules, error) {
	compiler, err := NewCompiler()
	if err != nil {
		return nil, err
	}
	set, err := rules.NewSet(compiler, detect.BuiltInRules())
	if err != nil {
		return nil, err
	}
	list, err := b.table(ctx, events.TopicRules)
	if err != nil {
		return nil, err
	}
	r := &Rules{compiler: compiler, current: map[string]record{}}
	changes := make([]rules.Change, len(list))
	for i, rec := range list {
		changes[i] = rules.Change{ID: rec.key, Document: rec.value}
		if id, version, ok := rules.ParseHistoryKey(rec.key); ok {
			r.versions = append(r.versions, Version{ID: id, Version: version, Document: rec.value, Applied: rec.time})
		} else {
			r.current[rec.key] = rec
		}
	}
	r.Set, r.Refused = set.With(changes)
	for i := range r.versions {
		v := &r.versions[i]
		v.InForce = sameText(r.current[v.ID].value, v.Document)
	}
	slices.SortFunc(r.versions, func(a, b Version) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	return r, nil
}

func sameText(a, b []byte) bool {
	return a != nil && bytes.Equal(bytes.TrimSpace(a), bytes.TrimSpace(b))
}

// inForce is the rule of this id that is in force, nil when there is none.
func (r *Rules) inForce(id string) *rules.Compiled {
	for _, rule := range r.Set.Rules() {
		if rule.ID == id {
			return rule
		}
	}
	return nil
}

// History returns the versions of a rule, the oldest first. A rule that was put
// into the table by other means than Apply has none but the one in force.
func (r *Rules) History(id string) ([]Version, error) {
	var list []Version
	for _, v := range r.versions {
		if v.ID == id {
			list = append(list, v)
		}
	}
	if current, ok := r.current[id]; ok && !slices.ContainsFunc(list, func(v Version) bool { return v.InForce }) {
		v := Version{ID: id, Document: current.value, Applied: current.time, InForce: true}
		if rule := r.inForce(id); rule != nil {
			v.Version = rule.Version
		}
		list = append(list, v)
	}
	if len(list) > 0 {
		return list, nil
	}
	if r.Set.BuiltIn(id) {
		rule := r.inForce(id)
		return []Version{{ID: id, Version: rule.Version, Document: rule.Text, InForce: true}}, nil
	}
	return nil, fmt.Errorf("there is no rule %q; emulator rules list shows those that there are", id)
}

// Outcome is what Apply did with one rule.
type Outcome struct {
	Rule *rules.Compiled
	Was  *rules.Compiled // in force before; nil: none
	Text string          // in words

	write, record bool // as the rule in force, in the history
}

// Print writes what was done.
func (o *Outcome) Print(w io.Writer) {
	fmt.Fprintf(w, "%s version %d (%s) %s\n", o.Rule.ID, o.Rule.Version, o.Rule.Mode, o.Text)
	if o.write {
		printWindows(w, o.Rule)
	}
}

// Apply puts rules in force, all of them or none.
//
// A version names one text for ever: a rule that was changed needs a higher
// version than any of its id before. An older version that is the same as it was
// is put in force again.
func (b *Book) Apply(ctx context.Context, c *Checked) ([]Outcome, error) {
	var outcomes []Outcome
	err := b.update(ctx, func(t *tables) error {
		have, err := b.Rules(ctx)
		if err != nil {
			return err
		}
		var faults []error
		var changes []rules.Change
		for _, rule := range c.Rules {
			outcome, err := have.judge(rule)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			outcomes = append(outcomes, outcome)
			t.putRule(&outcome)
			if outcome.write {
				changes = append(changes, rules.Change{ID: rule.ID, Document: rule.Text})
			}
		}
		_, beyond := have.Set.With(changes)
		return errors.Join(append(faults, beyond...)...)
	})
	return outcomes, err
}

// judge says what it means to put rule in force, and whether anything has to be
// written for it.
func (r *Rules) judge(rule *rules.Compiled) (Outcome, error) {
	o := Outcome{Rule: rule, Was: r.inForce(rule.ID)}
	_, inTable := r.current[rule.ID]
	highest, recorded := 0, false
	for _, v := range r.versions {
		switch {
		case v.ID != rule.ID:
		case v.Version == rule.Version:
			old, err := r.compiler.Compile(v.Document)
			if err != nil || !reflect.DeepEqual(old.Rule, rule.Rule) {
				return o, taken(rule, "version %d was applied %s and says something else", v.Version, v.Applied.UTC().Format(time.DateTime))
			}
			recorded = true
		default:
			highest = max(highest, v.Version)
		}
	}
	same := o.Was != nil && reflect.DeepEqual(o.Was.Rule, rule.Rule)
	if o.Was != nil && !same {
		highest = max(highest, o.Was.Version)
	}
	if !recorded && !same && rule.Version <= highest {
		return o, taken(rule, "version %d is not above version %d, which is there already", rule.Version, highest)
	}
	o.write, o.record = !same || !inTable, !recorded
	switch {
	case o.Was == nil:
		o.Text = "is new"
	case same && !inTable:
		o.Text, o.write, o.record = "is built in, just so", false, false
	case same:
		o.Text = "is in force already"
	case recorded:
		o.Text = fmt.Sprintf("is in force again, instead of version %d", o.Was.Version)
	case !inTable:
		o.Text = fmt.Sprintf("replaces the built-in version %d", o.Was.Version)
	default:
		o.Text = fmt.Sprintf("replaces version %d", o.Was.Version)
	}
	return o, nil
}

// taken is the refusal of a rule that has the id and the version of another.
func taken(rule *rules.Compiled, format string, args ...any) error {
	return &rules.InvalidError{ID: rule.ID, Problems: []rules.Problem{{
		Text: fmt.Sprintf(format, args...) + ": a changed rule needs a higher version, and another rule another id",
	}}}
}

// putRule writes a rule to where it has to be.
func (t *tables) putRule(o *Outcome) {
	e := events.Event{
		ID: rules.HistoryKey(o.Rule.ID, o.Rule.Version), Type: events.TypeRule, Subject: o.Rule.ID,
		DataContentType: "application/yaml", Data: o.Rule.Text,
	}
	if bytes.HasPrefix(bytes.TrimSpace(o.Rule.Text), []byte("{")) {
		e.DataContentType = "application/json"
	}
	if o.record {
		t.put(events.TopicRules, e.ID, &e)
	}
	if o.write {
		t.put(events.TopicRules, o.Rule.ID, &e)
	}
}

// Remove takes a rule out of force; its history stays. A built-in rule of the id
// is in force again.
func (b *Book) Remove(ctx context.Context, id string) error {
	return b.update(ctx, func(t *tables) error {
		have, err := b.Rules(ctx)
		if err != nil {
			return err
		}
		if _, ok := have.current[id]; !ok {
			if have.Set.BuiltIn(id) {
				return fmt.Errorf("the rule %q is built in: to switch it off, apply a copy of it with a higher version and mode: off", id)
			}
			return fmt.Errorf("there is no rule %q; emulator rules list shows those that there are", id)
		}
		t.put(events.TopicRules, id, &events.Event{ID: id, Type: events.TypeRule, Subject: id})
		return nil
	})
}

// Print writes a table of the rules. now decides what is still warming.
func (r *Rules) Print(w io.Writer, windows Windows, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tVERSION\tMODE\tSEVERITY\tWEIGHT\tCOST\tFROM\tWHEN")
	for _, rule := range r.Set.Rules() {
		from := "table"
		if r.Set.BuiltIn(rule.ID) {
			from = "built in"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%v\t%d\t%s\t%s\n", rule.ID, rule.Version, rule.Mode, rule.Severity, rule.Weight, rule.Cost, from,
			clip(strings.Join(strings.Fields(rule.When), " "), 80))
	}
	t.Flush()
	for _, window := range r.Set.Windows() {
		fmt.Fprintf(w, "window %s: %s; %s\n", window.Feature, window.Window, windows.exact(window.ID, now))
	}
	fmt.Fprintf(w, "rule set %s\n", r.Set.Version())
	for _, err := range r.Refused {
		fmt.Fprintf(w, "refused: %v\n", err)
	}
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// PrintHistory writes the versions of a rule.
func PrintHistory(w io.Writer, versions []Version) {
	for i, v := range versions {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s version %d", v.ID, v.Version)
		if v.Applied.IsZero() {
			fmt.Fprint(w, ", built in")
		} else {
			fmt.Fprintf(w, ", applied %s", v.Applied.UTC().Format(time.RFC3339))
		}
		if v.InForce {
			fmt.Fprint(w, ", in force")
		}
		fmt.Fprintln(w)
		for line := range strings.Lines(strings.TrimSpace(string(v.Document))) {
			fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\r\n"))
		}
	}
}
