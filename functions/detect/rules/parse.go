package rules

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

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
	// Line and Column point into the file, both from 1; into the condition
	// when the document is JSON. 0 when the place is not known.
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

// Document is one document of a file of rules.
type Document struct {
	Line int    // number of its first line in the file, from 1
	Text []byte // without the separators
}

// Split divides a YAML file at its "---" lines. Documents of nothing but
// comments are left out, and so is the comment at the head of the file: one
// before the first document with a blank line after it.
func Split(file []byte) []Document {
	var all []Document
	first, start, line := 1, 0, 0
	add := func(end int) {
		text, line := file[start:end], first
		if isBlank(text) {
			return
		}
		if len(all) == 0 {
			head := headOf(text)
			line += bytes.Count(text[:head], []byte("\n"))
			text = text[head:]
		}
		all = append(all, Document{Line: line, Text: text})
	}
	for at := 0; at < len(file); {
		next := len(file)
		if i := bytes.IndexByte(file[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line++
		if string(bytes.TrimRight(file[at:next], " \t\r\n")) == "---" {
			add(at)
			first, start = line+1, next
		}
		at = next
	}
	add(len(file))
	return all
}

// headOf returns the length of the head of a file that begins with text: up to the
// last blank line before what is neither blank nor a comment.
func headOf(text []byte) int {
	head, at := 0, 0
	for line := range bytes.Lines(text) {
		at += len(line)
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			break
		}
		if len(line) == 0 {
			head = at
		}
	}
	return head
}

func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// source is a parsed document: the rule and where things stand in it.
type source struct {
	rule    Rule
	lines   [][]byte
	offset  int                   // lines of the file before the document
	nodes   map[string]*yaml.Node // the values of fields, "windows[0].filter"; nil for JSON
	missing []string              // required fields that are not there
}

// at is where the value of a field begins; of one that is missing, where what it
// is missing in begins; 0 and 0 when that is not known.
func (s *source) at(field string) (line, column int) {
	outer, _, _ := strings.Cut(field, ".")
	for _, name := range [...]string{field, outer, ""} {
		if node := s.nodes[name]; node != nil {
			return node.Line + s.offset, node.Column
		}
	}
	return 0, 0
}

// problem places text at a field.
func (s *source) problem(field, text string) Problem {
	line, column := s.at(field)
	return Problem{Line: line, Column: column, Text: text}
}

// expression is where the text of an expression stands.
func (s *source) expression(field string) place {
	node := s.nodes[field]
	if node == nil {
		return place{field: field}
	}
	return place{field: field, node: node, offset: s.offset, pieces: piecesOf(node, s.lines)}
}

// place maps a position in an expression to one in its file.
type place struct {
	field  string
	node   *yaml.Node // nil when the document is JSON
	offset int        // lines of the file before the document
	pieces []piece    // of the expression, in its order
}

// piece is a part of an expression that stands on one line of the document.
type piece struct {
	start, end   int // in the text of the expression, bytes
	line, column int // where it begins, from 1
}

// document is the wire form of a rule.
type document struct {
	ID          string         `json:"id" yaml:"id"`
	Version     int            `json:"version" yaml:"version"`
	Description string         `json:"description" yaml:"description"`
	Reason      string         `json:"reason" yaml:"reason"`
	Severity    string         `json:"severity" yaml:"severity"`
	Weight      *float64       `json:"weight" yaml:"weight"`
	When        string         `json:"when" yaml:"when"`
	Windows     []WindowClause `json:"windows" yaml:"windows"`
	Mode        Mode           `json:"mode" yaml:"mode"`
}

func (d *document) rule() (r Rule, missing []string) {
	r = Rule{
		ID: d.ID, Version: d.Version, Description: d.Description, Reason: d.Reason, Severity: d.Severity,
		When: strings.TrimRight(d.When, "\n"), Windows: d.Windows, Mode: d.Mode,
	}
	for i := range r.Windows {
		r.Windows[i].Filter = strings.TrimSpace(r.Windows[i].Filter)
	}
	if r.Mode == "" {
		r.Mode = Active
	}
	if d.Weight == nil {
		return r, []string{"weight"}
	}
	r.Weight = *d.Weight
	return r, nil
}

// parse reads one document, which begins after offset lines of its file.
func parse(data []byte, offset int) (source, error) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseJSON(data)
	}
	return parseYAML(data, offset)
}

func parseJSON(data []byte) (source, error) {
	var d document
	if err := json.Unmarshal(data, &d, json.RejectUnknownMembers(true)); err != nil {
		if bytes.Contains(data, []byte(`"specversion"`)) {
			return source{}, invalid("", "this is a whole CloudEvent, want its data alone: send it in binary mode")
		}
		return source{}, invalid(d.ID, "%v", err)
	}
	r, missing := d.rule()
	return source{rule: r, missing: missing}, nil
}

func parseYAML(data []byte, offset int) (source, error) {
	s := source{lines: bytes.Split(data, []byte("\n")), offset: offset, nodes: map[string]*yaml.Node{}}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return s, yamlError("", err, offset)
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return s, invalid("", "the document is empty")
	}
	top := root.Content[0]
	s.nodes[""] = top
	bad := &InvalidError{}
	if top.Kind != yaml.MappingNode {
		bad.Problems = []Problem{s.problem("", "want a mapping of id, version, description, severity, weight and when, not "+kindName(top))}
		return s, bad
	}
	s.readFields("", top, ruleFields[:], bad)
	if id := s.nodes["id"]; id != nil {
		bad.ID = id.Value
	}
	if windows := s.nodes["windows"]; windows != nil && windows.Kind == yaml.SequenceNode {
		for i, window := range windows.Content {
			name := fmt.Sprintf("windows[%d]", i)
			if window = resolve(window); window.Kind != yaml.MappingNode {
				bad.Problems = append(bad.Problems, Problem{window.Line + offset, window.Column, name + ": want {name: ..., ...}, not " + kindName(window)})
				continue
			}
			s.nodes[name] = window
			s.readFields(name+".", window, windowFields[:], bad)
		}
	}
	if len(bad.Problems) > 0 {
		return s, bad
	}
	var d document
	if err := top.Decode(&d); err != nil {
		return s, yamlError(bad.ID, err, offset)
	}
	s.rule, s.missing = d.rule()
	return s, nil
}

// fieldSpec is a field of a document and the kinds of values that it takes.
type fieldSpec struct {
	name string
	tags string // of scalars; "" is a list
}

const (
	textTags   = "!!str !!int !!float !!bool !!timestamp"
	numberTags = "!!int !!float"
)

//nolint:gochecknoglobals // constant tables
var (
	ruleFields = [...]fieldSpec{
		{"id", textTags}, {"version", "!!int"}, {"description", textTags}, {"reason", textTags}, {"severity", textTags},
		{"weight", numberTags}, {"when", textTags}, {"windows", ""}, {"mode", textTags},
	}
	windowFields = [...]fieldSpec{
		{"name", textTags}, {"key", textTags}, {"aggregate", textTags}, {"of", textTags}, {"duration", textTags}, {"filter", textTags},
	}
)

// readFields notes where the fields of a mapping stand, and what is wrong with
// their names and kinds.
func (s *source) readFields(prefix string, mapping *yaml.Node, specs []fieldSpec, bad *InvalidError) {
	add := func(node *yaml.Node, format string, args ...any) {
		bad.Problems = append(bad.Problems, Problem{node.Line + s.offset, node.Column, fmt.Sprintf(format, args...)})
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], resolve(mapping.Content[i+1])
		spec := find(specs, key.Value)
		switch {
		case spec == nil:
			add(key, "unknown field %q: a field is one of %s", clip(prefix+key.Value), fieldNames(specs))
		case s.nodes[prefix+key.Value] != nil:
			add(key, "the field %q is there twice", prefix+key.Value)
		case spec.tags == "" && value.Kind != yaml.SequenceNode:
			add(value, "%s: want a list, not %s", prefix+key.Value, kindName(value))
		case spec.tags != "" && (value.Kind != yaml.ScalarNode || !strings.Contains(spec.tags, value.ShortTag())):
			want := "a text"
			if spec.tags != textTags {
				want = "a number"
			}
			add(value, "%s: want %s, not %s", prefix+key.Value, want, kindName(value))
		default:
			s.nodes[prefix+key.Value] = value
		}
	}
}

func find(specs []fieldSpec, name string) *fieldSpec {
	for i := range specs {
		if specs[i].name == name {
			return &specs[i]
		}
	}
	return nil
}

func fieldNames(specs []fieldSpec) string {
	var names []string
	for _, spec := range specs {
		names = append(names, spec.name)
	}
	return strings.Join(names, ", ")
}

func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if node.ShortTag() == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", clip(node.Value))
}

// yamlError is an error of the YAML library, whose line counts within the
// document.
func yamlError(id string, err error, offset int) error {
	text := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: ")
	p := Problem{Text: "yaml: " + text}
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, rest, _ := strings.Cut(text, ": ")
		p = Problem{Line: line + offset, Text: "yaml: " + rest}
	}
	return &InvalidError{ID: id, Problems: []Problem{p}}
}

// piecesOf works out where the text of a scalar stands: YAML joins the lines of
// most kinds of scalars. It ends at what it cannot follow, such as an escape.
func piecesOf(node *yaml.Node, lines [][]byte) []piece {
	line, column, indent := node.Line-1, node.Column-1, -1 // -1: whatever it is, it is no part of the text
	switch node.Style {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		if line++; line < len(lines) { // after the indicator
			indent = leadingSpaces(lines[line]) - leadingSpaces([]byte(node.Value))
			column = indent
		}
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		column++
	}
	var pieces []piece
	text := node.Value
	for at := 0; at < len(text) && line < len(lines); line, column = line+1, indent {
		row := lines[line]
		if column < 0 {
			column = leadingSpaces(row)
		}
		column = min(column, len(row))
		n := 0
		for column+n < len(row) && at+n < len(text) && row[column+n] == text[at+n] {
			n++
		}
		if n == 0 && len(bytes.TrimSpace(row)) > 0 {
			break
		}
		if n > 0 {
			pieces = append(pieces, piece{at, at + n, line + 1, column + 1})
		}
		if at += n; at < len(text) && (text[at] == ' ' || text[at] == '\n') {
			at++ // what the end of the line became
		}
	}
	return pieces
}

// problem places text at a position (line from 1, column from 0, in characters) of
// the expression.
func (p place) problem(line, column int, text string) Problem {
	if p.node == nil {
		return Problem{Line: line, Column: column + 1, Text: p.field + ": " + text}
	}
	if at, ok := offsetOf(p.node.Value, line, column); ok {
		for _, piece := range p.pieces {
			if piece.start <= at && (at < piece.end || at == len(p.node.Value)) && at <= piece.end {
				before := utf8.RuneCountInString(p.node.Value[piece.start:at])
				return Problem{Line: piece.line + p.offset, Column: piece.column + before, Text: p.field + ": " + text}
			}
		}
		text = fmt.Sprintf("%s (line %d, column %d of the text)", text, line, column+1)
	}
	return Problem{Line: p.node.Line + p.offset, Column: p.node.Column, Text: p.field + ": " + text}
}

// offsetOf is where a line, from 1, and a column, from 0, are in text.
func offsetOf(text string, line, column int) (int, bool) {
	if line < 1 || column < 0 {
		return 0, false
	}
	start := 0
	for range line - 1 {
		i := strings.IndexByte(text[start:], '\n')
		if i < 0 {
			return 0, false
		}
		start += i + 1
	}
	for i := range text[start:] {
		if column == 0 {
			return start + i, true
		}
		column--
	}
	return len(text), column == 0
}

func leadingSpaces(text []byte) int { return len(text) - len(bytes.TrimLeft(text, " ")) }
