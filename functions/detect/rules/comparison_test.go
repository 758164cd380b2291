package rules

import (
	"fmt"
	"math"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/interpreter"
)

// conditions returns every comparison with every kind of constant, and ones that
// look like those but are not.
func conditions() []string {
	list := []string{
		"count1m > 1.0 * amount", "3 < amount", "amount > count1m", "amount == 3.0", "transactionTime > 3",
		// A name of the condition's own hides the variable.
		"[1.0, 7.0].exists(amount, amount > 5)", "[1.0].all(amount, amount < 5) && amount > 5",
		"!(amount > 3)", "amount > 3 ? count1m >= 2 : count1m < 2", "amount > 3 || 1 / 0 > 1", "amount > -3",
	}
	for _, op := range []string{"<", "<=", ">", ">="} {
		for _, bound := range []string{"3", "3.0", "0", "0.0", "2.5", "-1", "1e300", "9007199254740993", "9223372036854775807", "3u"} {
			list = append(list, "amount "+op+" "+bound)
		}
	}
	return list
}

// A condition gives the same answer or error as without direct comparisons.
func TestComparisonIsThatOfCEL(t *testing.T) {
	c := newCompiler(t)
	numbers := []float64{
		0, math.Copysign(0, -1), 1, 2, 2.5, 3, math.Nextafter(3, 4), -1, 1e300, 1 << 53, 1<<53 + 2, 1 << 63, -1 << 63,
		math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
	}
	for _, when := range conditions() {
		rule, err := c.Compile([]byte(ruleWhen(fmt.Sprintf("%q", when))))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		checked, issues := c.env.Compile(when)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := c.env.Program(checked)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range numbers {
			in := c.NewInput(&values{amount: x, count: 2, time: 4})
			want, got := answer(program, in), answer(rule.program, in)
			if got != want {
				t.Errorf("%s with %v: %s, CEL says %s", when, x, got, want)
			}
		}
	}
}

func answer(program cel.Program, in *Input) string {
	frame, err := interpreter.NewExecutionFrame(in)
	if err != nil {
		return err.Error()
	}
	defer frame.Close()
	value, _, err := program.Eval(frame)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(value.Value())
}

// Comparisons allocate nothing, whatever the values are.
func TestComparisonAllocatesNothing(t *testing.T) {
	set := newSet(t, ruleWhen("amount > 100000 && count1m >= 5"))
	v := &values{count: 7}
	in := set.NewInput(v)
	var out Outcome
	allocated := testing.AllocsPerRun(100, func() {
		v.amount += 10_000.5
		in.Next()
		set.Evaluate(in, &out)
	})
	if allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}
