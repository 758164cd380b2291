package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Compiler turns documents into rules that can be evaluated. It may be used by
// several goroutines.
type Compiler struct {
	schema Schema
	limits Limits
	env    *cel.Env
	index  map[string]int // name to its position among all names
	// All names: the variables of the schema, the lists, and for each variable
	// that can be unknown whether it is known.
	kinds []Kind
	of    []int // of kindPresent: the variable; of kindList: the list
}

// Compiled is a rule that passed every check.
type Compiled struct {
	Rule
	// Cost is the worst-case cost of one evaluation in CEL's units, those of
	// the filters of its windows included.
	Cost uint64
	// Metered says that evaluations are cut off at Limits.RunCost.
	Metered bool
	// Own are the windows of the rule's own.
	Own []NamedWindow
	// Text is the document.
	Text []byte

	program cel.Program
	reason  []reasonPart
}

// report collects the problems of one document.
type report struct {
	InvalidError
	src *source
}

func (b *report) add(field, format string, args ...any) {
	b.Problems = append(b.Problems, b.src.problem(field, fmt.Sprintf(format, args...)))
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
		cel.Function(operators.In, cel.Overload("in_named_list", []*cel.Type{cel.StringType, listType}, cel.BoolType)),
		cel.Macros(hasMacro(c.present)),
	}
	for _, v := range schema.Variables {
		if _, twice := c.index[v.Name]; twice {
			return nil, fmt.Errorf("rules: variable %s is declared twice", v.Name)
		}
		options = append(options, c.declare(v.Name, v.Kind, 0))
	}
	for i, name := range listNames {
		options = append(options, c.declare("lists."+name, kindList, i))
	}
	for i, v := range schema.Variables {
		if v.Unknown != nil {
			options = append(options, c.declare(presentPrefix+v.Name, kindPresent, i))
		}
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("rules: build the CEL environment: %w", err)
	}
	c.env = env
	return c, nil
}

func (c *Compiler) declare(name string, k Kind, of int) cel.EnvOption {
	c.index[name] = len(c.kinds)
	c.kinds, c.of = append(c.kinds, k), append(c.of, of)
	return cel.Variable(name, celType(k))
}

func celType(k Kind) *cel.Type {
	switch k {
	case Number:
		return cel.DoubleType
	case Integer:
		return cel.IntType
	case Bool, kindPresent:
		return cel.BoolType
	case kindList:
		return listType
	}
	return cel.StringType
}

// presentPrefix begins the names that has(name) stands for.
const presentPrefix = "known."

// present is the name that says whether the variable name is known, "" when it
// always is; ok is false when there is no such variable.
func (c *Compiler) present(name string) (present string, ok bool) {
	if _, ok := c.index[name]; !ok {
		return "", false
	}
	if _, ok := c.index[presentPrefix+name]; ok {
		return name, true
	}
	return "", true
}

// hasMacro is CEL's has, which takes a.b, for plain variables as well.
func hasMacro(present func(name string) (string, bool)) cel.Macro {
	return cel.GlobalMacro("has", 1, func(mef cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind {
			return cel.HasMacro.Expander()(mef, target, args)
		}
		name, ok := present(args[0].AsIdent())
		switch {
		case !ok:
			return nil, mef.NewError(args[0].ID(), fmt.Sprintf("undeclared reference to '%s'", args[0].AsIdent()))
		case name == "":
			return mef.NewLiteral(types.True), nil
		}
		return mef.NewSelect(mef.NewIdent(strings.TrimSuffix(presentPrefix, ".")), name), nil
	})
}

// Compile reads one document, YAML or JSON, and checks it. The error is an
// [*InvalidError].
func (c *Compiler) Compile(data []byte) (*Compiled, error) { return c.compile(data, 0) }

// CompileAll reads a YAML file of several documents. It returns the rules that
// are good and one [*InvalidError] for each that is not, with places in the file.
func (c *Compiler) CompileAll(file []byte) ([]*Compiled, []error) {
	var good []*Compiled
	var refused []error
	for _, document := range Split(file) {
		rule, err := c.compile(document.Text, document.Line-1)
		switch {
		case err != nil:
			refused = append(refused, err)
		case slices.ContainsFunc(good, func(g *Compiled) bool { return g.ID == rule.ID }):
			refused = append(refused, &InvalidError{ID: rule.ID, Problems: []Problem{{Line: document.Line, Text: "id: another rule of the file has it"}}})
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

func (c *Compiler) compile(data []byte, offset int) (*Compiled, error) {
	if err := c.checkSize("", data); err != nil {
		return nil, err
	}
	if n := len(Split(data)); n != 1 {
		return nil, invalid("", "want one document, have %d", n)
	}
	src, err := parse(data, offset)
	if err != nil {
		return nil, err
	}
	r := &Compiled{Rule: src.rule, Text: bytes.Clone(data)} // data may be a piece of much more
	bad := &report{InvalidError{ID: r.ID}, &src}
	for _, field := range src.missing {
		bad.add(field, "%s: missing; it is what the rule adds to the score, 0 to 1", field)
	}
	r.check(bad)
	c.windows(r, &src, bad)
	if err := c.parseReason(r); err != nil {
		bad.add("reason", "%v", err)
	}
	if strings.TrimSpace(r.When) != "" {
		bad.Problems = append(bad.Problems, c.plan(r, src.expression("when"))...)
	}
	if len(bad.Problems) > 0 {
		return nil, &bad.InvalidError
	}
	return r, nil
}

// plan type-checks and costs the condition and builds its program.
func (c *Compiler) plan(r *Compiled, at place) []Problem {
	env := c.env
	if len(r.Windows) > 0 { // those that are wrong as well, whose names are no second problem
		options := []cel.EnvOption{cel.Macros(hasMacro(func(name string) (string, bool) {
			if r.window(name) >= 0 {
				return "", true
			}
			return c.present(name)
		}))}
		for i := range r.Windows {
			if _, taken := c.index[r.Windows[i].Name]; !taken && validName(r.Windows[i].Name) {
				options = append(options, cel.Variable(r.Windows[i].Name, cel.DoubleType))
			}
		}
		extended, err := env.Extend(options...)
		if err != nil {
			return []Problem{at.problem(1, 0, clipMessage(err.Error()))}
		}
		env = extended
	}
	checked, estimate, problems := c.check(env, r.When, at)
	if problems != nil {
		return problems
	}
	for i := range r.Own {
		estimate += r.Own[i].cost
	}
	r.Cost = estimate
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
		options = append(options, cel.CustomDecoratorV2(direct{c, r}.decorate))
	}
	var err error
	if r.program, err = env.Program(checked, options...); err != nil {
		return []Problem{at.problem(1, 0, clipMessage(err.Error()))}
	}
	return nil
}

// planFilter type-checks and costs the filter of a window and builds its
// program. It carries no meter, so its worst case has to be within the limit.
func (c *Compiler) planFilter(w *Window, at place) []Problem {
	checked, estimate, problems := c.check(c.env, w.Filter, at)
	if problems != nil {
		return problems
	}
	if w.cost = estimate; w.cost > c.limits.RunCost {
		return []Problem{at.problem(1, 0, fmt.Sprintf("the filter may cost %d, the limit is %d", w.cost, c.limits.RunCost))}
	}
	var err error
	w.filter, err = c.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CustomDecoratorV2(direct{c, nil}.decorate))
	if err != nil {
		return []Problem{at.problem(1, 0, clipMessage(err.Error()))}
	}
	return nil
}

// check type-checks an expression, which must yield a boolean, and returns its
// worst-case cost.
func (c *Compiler) check(env *cel.Env, text string, at place) (*cel.Ast, uint64, []Problem) {
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, 0, issueProblems(issues, at)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, 0, []Problem{at.problem(1, 0, fmt.Sprintf("the condition is of type %s, want bool", cel.FormatCELType(t)))}
	}
	estimate, err := env.EstimateCost(checked, sizes{text: c.limits.TextBytes})
	if err != nil {
		return nil, 0, []Problem{at.problem(1, 0, fmt.Sprintf("the cost cannot be estimated: %v", err))}
	}
	return checked, estimate.Max, nil
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

// window is the place of a window of the rule's own, -1 when it has none of that
// name.
func (r *Compiled) window(name string) int {
	for i := range r.Own {
		if r.Own[i].Name == name {
			return i
		}
	}
	return -1
}

// reasonPart is literal text, a variable when variable >= 0, or a window of the
// rule's own when window >= 0.
type reasonPart struct {
	text             string
	variable, window int
}

func (c *Compiler) parseReason(r *Compiled) error {
	rest := r.Reason
	if rest == "" {
		r.reason = []reasonPart{{strings.TrimRight(r.Description, ". \n"), -1, -1}}
		return nil
	}
	for rest != "" {
		text, after, found := strings.Cut(rest, "{")
		if text != "" {
			r.reason = append(r.reason, reasonPart{text, -1, -1})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found {
			return fmt.Errorf("reason: a { has no }")
		}
		part := reasonPart{"", -1, r.window(name)}
		if part.window < 0 {
			i, known := c.index[name]
			if !known || i >= len(c.schema.Variables) {
				return fmt.Errorf("reason: unknown variable {%s}", clip(name))
			}
			part.variable = i
		}
		r.reason = append(r.reason, part)
		rest = after
	}
	return nil
}

// AppendReason appends the rule's reason for the transaction in in, on which in's
// set has been evaluated.
func (r *Compiled) AppendReason(dst []byte, in *Input) []byte {
	for _, part := range r.reason {
		switch {
		case part.variable >= 0:
			dst = in.source.AppendText(dst, part.variable)
		case part.window >= 0:
			decimals := 2
			x := in.value(r, part.window)
			if wholeNumber(x) {
				decimals = 0
			}
			dst = strconv.AppendFloat(dst, x, 'f', decimals, 64)
		default:
			dst = append(dst, part.text...)
		}
	}
	return dst
}
