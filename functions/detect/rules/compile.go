package rules

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/cost"
)

// Compiler turns documents into rules that can be evaluated. It may be used by
// several goroutines.
type Compiler struct {
	schema Schema
	limits Limits
	env    *cel.Env
	index  map[string]int // variable name to position in schema.Variables
	kinds  []Kind
}

// Compiled is a rule that passed every check.
type Compiled struct {
	Rule
	// Cost is the worst-case cost of one evaluation in CEL's units.
	Cost uint64
	// Metered says that evaluations are cut off at Limits.RunCost.
	Metered bool

	program cel.Program
	reason  []reasonPart
}

// NewCompiler returns a compiler for rules over schema.
func NewCompiler(schema Schema, limits Limits) (*Compiler, error) {
	c := &Compiler{schema: schema, limits: limits, index: map[string]int{}}
	options := []cel.EnvOption{
		// amount > 100000 has a double on the left and an int on the right.
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(limits.DocumentBytes),
		cel.ParserRecursionLimit(50),
		cel.ExpressionNodeLimit(2000),
		cel.RegexProgramSizeLimit(500),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(2)),
		cel.EagerlyValidateDeclarations(true),
	}
	for i, v := range schema.Variables {
		if _, twice := c.index[v.Name]; twice {
			return nil, fmt.Errorf("rules: variable %s is declared twice", v.Name)
		}
		c.index[v.Name] = i
		c.kinds = append(c.kinds, v.Kind)
		options = append(options, cel.Variable(v.Name, celType(v.Kind)))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("rules: build the CEL environment: %w", err)
	}
	c.env = env
	return c, nil
}

func celType(k Kind) *cel.Type {
	switch k {
	case Number:
		return cel.DoubleType
	case Integer:
		return cel.IntType
	case Bool:
		return cel.BoolType
	}
	return cel.StringType
}

// Compile reads one document, YAML or JSON, and checks it. The error is an
// [*InvalidError].
func (c *Compiler) Compile(data []byte) (*Compiled, error) {
	if err := c.checkSize("", data); err != nil {
		return nil, err
	}
	src, err := parseOne(data)
	if err != nil {
		return nil, err
	}
	return c.compile(src)
}

// CompileAll reads a YAML file of several documents. It returns the rules that
// are good and one [*InvalidError] for each that is not; when the file cannot be
// read as YAML, that alone.
func (c *Compiler) CompileAll(data []byte) ([]*Compiled, []error) {
	documents, err := parseYAML(data)
	if err != nil {
		return nil, []error{err}
	}
	var good []*Compiled
	var refused []error
	for _, src := range documents {
		rule, err := c.compile(src)
		switch {
		case err != nil:
			refused = append(refused, err)
		case slices.ContainsFunc(good, func(g *Compiled) bool { return g.ID == rule.ID }):
			refused = append(refused, invalid(rule.ID, "id: used twice"))
		default:
			good = append(good, rule)
		}
	}
	return good, refused
}

func (c *Compiler) checkSize(id string, data []byte) error {
	if len(data) > c.limits.DocumentBytes {
		return invalid(id, "the document has %d bytes, the limit is %d", len(data), c.limits.DocumentBytes)
	}
	return nil
}

func (c *Compiler) compile(src source) (*Compiled, error) {
	r := &Compiled{Rule: src.rule}
	bad := &InvalidError{ID: r.ID}
	for _, text := range r.problems(&c.schema) {
		bad.Problems = append(bad.Problems, Problem{Text: text})
	}
	reason, err := c.parseReason(r)
	if err != nil {
		bad.Problems = append(bad.Problems, Problem{Text: err.Error()})
	}
	r.reason = reason
	if strings.TrimSpace(r.When) != "" {
		bad.Problems = append(bad.Problems, c.plan(r, src.place)...)
	}
	if len(bad.Problems) > 0 {
		return nil, bad
	}
	return r, nil
}

// plan type-checks and costs the condition and builds its program.
func (c *Compiler) plan(r *Compiled, at place) []Problem {
	checked, issues := c.env.Compile(r.When)
	if issues.Err() != nil {
		return issueProblems(issues, at)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return []Problem{at.problem(1, 0, fmt.Sprintf("the condition is of type %s, want bool", cel.FormatCELType(t)))}
	}
	estimate, err := c.env.EstimateCost(checked, sizes{text: c.limits.TextBytes})
	if err != nil {
		return []Problem{at.problem(1, 0, fmt.Sprintf("the cost cannot be estimated: %v", err))}
	}
	r.Cost = estimate.Max
	if r.Cost > c.limits.StaticCost {
		return []Problem{at.problem(1, 0, fmt.Sprintf("the condition may cost %d, the limit is %d", r.Cost, c.limits.StaticCost))}
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if r.Cost > c.limits.RunCost {
		// The meter costs several allocations an evaluation, so only rules
		// that can reach the limit carry it.
		r.Metered = true
		options = append(options, cel.CostLimit(c.limits.RunCost))
	} else {
		options = append(options, cel.CustomDecoratorV2(c.compareDirectly))
	}
	if r.program, err = c.env.Program(checked, options...); err != nil {
		return []Problem{at.problem(1, 0, err.Error())}
	}
	return nil
}

func issueProblems(issues *cel.Issues, at place) []Problem {
	const most = 5
	var found []Problem
	for i, e := range issues.Errors() {
		if i == most {
			found = append(found, Problem{Text: fmt.Sprintf("%d more", len(issues.Errors())-most)})
			break
		}
		text := clipMessage(e.Message)
		if strings.Contains(text, "(int, double)") || strings.Contains(text, "(double, int)") {
			text += " (write whole numbers as 3.0 when they are added to or multiplied with a number that has decimals)"
		}
		where := e.Location
		if where == nil {
			where = common.NoLocation
		}
		found = append(found, at.problem(where.Line(), where.Column(), text))
	}
	return found
}

// clipMessage keeps CEL's messages, which may quote the input, to one line of
// bounded length.
func clipMessage(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

// sizes tells the cost estimate how large variables can be.
type sizes struct{ text uint64 }

func (s sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if len(node.Path()) == 1 && node.Type().IsExactType(cel.StringType) {
		size := cost.RangedSizeEstimate(0, s.text)
		return &size
	}
	return nil
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// reasonPart is literal text, or a variable when variable >= 0.
type reasonPart struct {
	text     string
	variable int
}

func (c *Compiler) parseReason(r *Compiled) ([]reasonPart, error) {
	rest := r.Reason
	if rest == "" {
		return []reasonPart{{text: strings.TrimRight(r.Description, ". \n"), variable: -1}}, nil
	}
	var parts []reasonPart
	for rest != "" {
		text, after, found := strings.Cut(rest, "{")
		if text != "" {
			parts = append(parts, reasonPart{text: text, variable: -1})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found {
			return nil, fmt.Errorf("reason: a { has no }")
		}
		i, known := c.index[name]
		if !known {
			return nil, fmt.Errorf("reason: unknown variable {%s}", clip(name))
		}
		parts = append(parts, reasonPart{variable: i})
		rest = after
	}
	return parts, nil
}

// AppendReason appends the rule's reason for the transaction in in.
func (r *Compiled) AppendReason(dst []byte, in *Input) []byte {
	for _, part := range r.reason {
		if part.variable < 0 {
			dst = append(dst, part.text...)
			continue
		}
		dst = in.source.AppendText(dst, part.variable)
	}
	return dst
}
