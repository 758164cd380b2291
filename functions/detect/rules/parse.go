package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
)

// InvalidError says why a rule was refused.
type InvalidError struct {
	ID       string // the rule's id, or the record's key, "" when neither is known
	Problems []Problem
}

// Problem is one thing that is wrong with a rule.
type Problem struct {
	// Line and Column point into the document, both from 1; into the
	// condition when the document is JSON. 0 when the place is not known.
	Line, Column int
	Text         string
}

func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("rule")
	if e.ID != "" {
		fmt.Fprintf(&b, " %q", clip(e.ID))
	}
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte(';')
		} else {
			b.WriteByte(':')
		}
		b.WriteByte(' ')
		b.WriteString(p.String())
	}
	return b.String()
}

func (p Problem) String() string {
	switch {
	case p.Line > 0 && p.Column > 0:
		return fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, p.Text)
	case p.Line > 0:
		return fmt.Sprintf("line %d: %s", p.Line, p.Text)
	}
	return p.Text
}

func invalid(id, format string, args ...any) *InvalidError {
	return &InvalidError{ID: id, Problems: []Problem{{Text: fmt.Sprintf(format, args...)}}}
}

// source is a parsed document: the rule and where its condition stands.
type source struct {
	rule  Rule
	place place
}

// place maps a position in a condition to one in its document.
type place struct {
	line, column int  // added to the position in the condition
	exact        bool // whether the document's layout allows that
}

// document is the wire form of a rule, in YAML and in JSON.
type document[Expr any] struct {
	ID          string         `json:"id" yaml:"id"`
	Version     int            `json:"version" yaml:"version"`
	Description string         `json:"description" yaml:"description"`
	Reason      string         `json:"reason" yaml:"reason"`
	Severity    string         `json:"severity" yaml:"severity"`
	Weight      *float64       `json:"weight" yaml:"weight"`
	When        Expr           `json:"when" yaml:"when"`
	Windows     []WindowClause `json:"windows" yaml:"windows"`
	Mode        Mode           `json:"mode" yaml:"mode"`
}

func (d *document[Expr]) rule(when string) (Rule, error) {
	r := Rule{
		ID: d.ID, Version: d.Version, Description: d.Description, Reason: d.Reason, Severity: d.Severity,
		When: strings.TrimRight(when, "\n"), Windows: d.Windows, Mode: d.Mode,
	}
	if r.Mode == "" {
		r.Mode = Active
	}
	if d.Weight == nil {
		return r, invalid(d.ID, "weight: missing; it is what the rule adds to the score, 0 to 1")
	}
	r.Weight = *d.Weight
	return r, nil
}

// parseOne reads a record of the rules table: exactly one document.
func parseOne(data []byte) (source, error) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseJSON(data)
	}
	all, err := parseYAML(data)
	if err != nil {
		return source{}, err
	}
	if len(all) != 1 {
		return source{}, invalid("", "want one document, have %d", len(all))
	}
	return all[0], nil
}

func parseJSON(data []byte) (source, error) {
	var d document[string]
	if err := json.Unmarshal(data, &d, json.RejectUnknownMembers(true)); err != nil {
		if bytes.Contains(data, []byte(`"specversion"`)) {
			return source{}, invalid("", "this is a whole CloudEvent, want its data alone: send it in binary mode")
		}
		return source{}, invalid(d.ID, "%v", err)
	}
	r, err := d.rule(d.When)
	return source{rule: r}, err
}

// parseYAML reads a stream of documents separated by "---".
func parseYAML(data []byte) ([]source, error) {
	var all []source
	lines := bytes.Split(data, []byte("\n"))
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	for {
		var d document[yaml.Node]
		err := decoder.Decode(&d)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, invalid(d.ID, "%s", strings.Join(strings.Fields(err.Error()), " "))
		}
		if d.When.Kind != 0 && (d.When.Kind != yaml.ScalarNode || d.When.Tag == "!!null") {
			return nil, &InvalidError{ID: d.ID, Problems: []Problem{{Line: d.When.Line, Column: d.When.Column, Text: "when: want a text"}}}
		}
		r, err := d.rule(d.When.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, source{rule: r, place: placeOf(&d.When, lines)})
	}
}

// placeOf works out where the text of a scalar begins. Folded and multi-line
// plain scalars lose their line breaks, so positions in them are not exact.
func placeOf(node *yaml.Node, lines [][]byte) place {
	if node.Line == 0 || node.Line > len(lines) {
		return place{}
	}
	switch node.Style {
	case yaml.LiteralStyle:
		if node.Line >= len(lines) {
			return place{}
		}
		first := lines[node.Line] // the line after the indicator
		indent := len(first) - len(bytes.TrimLeft(first, " "))
		return place{line: node.Line, column: indent, exact: true}
	case 0:
		rest := lines[node.Line-1][min(node.Column-1, len(lines[node.Line-1])):]
		return place{line: node.Line - 1, column: node.Column - 1, exact: bytes.HasPrefix(rest, []byte(node.Value))}
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		rest := lines[node.Line-1][min(node.Column, len(lines[node.Line-1])):]
		return place{line: node.Line - 1, column: node.Column, exact: bytes.HasPrefix(rest, []byte(node.Value))}
	}
	return place{line: node.Line}
}

// problem places text at a position (line from 1, column from 0) of the
// condition.
func (p place) problem(line, column int, text string) Problem {
	switch {
	case line < 1 || column < 0:
		return Problem{Line: p.line, Text: "when: " + text}
	case p.exact:
		return Problem{Line: p.line + line, Column: p.column + column + 1, Text: "when: " + text}
	case p.line > 0: // the layout is lost: the condition's place, and the position in it
		return Problem{Line: p.line, Text: fmt.Sprintf("when, %d:%d: %s", line, column+1, text)}
	}
	return Problem{Line: line, Column: column + 1, Text: "when: " + text}
}
