package rulebook

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"datasurge/functions/detect/rules"
)

// Checked is what was found out about a file of rules.
type Checked struct {
	Rules   []*rules.Compiled
	Refused []error // one *rules.InvalidError for each document that is no good rule
}

// Check compiles the rules of a file.
func Check(compiler *rules.Compiler, file []byte) Checked {
	var checked Checked
	checked.Rules, checked.Refused = compiler.CompileAll(file)
	if len(checked.Rules)+len(checked.Refused) == 0 {
		checked.Refused = []error{errors.New("there is no rule in it")}
	}
	return checked
}

// Unique refuses the rules whose ids are in another file too. files has the file of
// each id so far, and gets those of the file name.
func (c *Checked) Unique(files map[string]string, name string) {
	c.Rules = slices.DeleteFunc(c.Rules, func(r *rules.Compiled) bool {
		other, ok := files[r.ID]
		if ok {
			c.Refused = append(c.Refused, &rules.InvalidError{ID: r.ID, Problems: []rules.Problem{{Text: "id: a rule of " + other + " has it"}}})
			return true
		}
		files[r.ID] = name
		return false
	})
}

// PrintRefused writes each problem as FILE:LINE:COLUMN.
func (c *Checked) PrintRefused(w io.Writer, name string) {
	for _, err := range c.Refused {
		bad, ok := errors.AsType[*rules.InvalidError](err)
		if !ok {
			fmt.Fprintf(w, "%s: %v\n", name, err)
			continue
		}
		for _, p := range bad.Problems {
			place := name
			if p.Line > 0 {
				place += fmt.Sprintf(":%d", p.Line)
			}
			if p.Column > 0 {
				place += fmt.Sprintf(":%d", p.Column)
			}
			if bad.ID != "" {
				place += fmt.Sprintf(": rule %q", bad.ID)
			}
			fmt.Fprintf(w, "%s: %s\n", place, p.Text)
		}
	}
}

// PrintGood writes what the good rules cost and add.
func (c *Checked) PrintGood(w io.Writer) {
	for _, r := range c.Rules {
		fmt.Fprintf(w, "%s version %d (%s): good; worst case costs %d", r.ID, r.Version, r.Mode, r.Cost)
		if r.Metered {
			fmt.Fprintf(w, ", and an evaluation that costs over %d is cut off", rules.DefaultLimits().RunCost)
		}
		fmt.Fprintln(w)
		printWindows(w, r)
	}
}

func printWindows(w io.Writer, r *rules.Compiled) {
	for _, own := range r.Own {
		fmt.Fprintf(w, "  adds the window %s: %s; exact %s after the rule is applied\n", own.Name, own.Window, rules.FormatDuration(own.Warming()))
	}
}

// Err is an error that counts the refused rules, nil when there are none.
func (c *Checked) Err(name string) error {
	if n := len(c.Refused); n > 0 {
		return fmt.Errorf("%s: %d of %d rules refused", name, n, n+len(c.Rules))
	}
	return nil
}
