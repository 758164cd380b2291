package rules

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// Source gives the values of variables by their position in Schema.Variables.
// Each method is called only for variables of its kind.
type Source interface {
	Number(i int) float64
	Integer(i int) int64
	Text(i int) string
	Bool(i int) bool
	// AppendText appends the variable, of any kind, as a person reads it.
	AppendText(dst []byte, i int) []byte
}

// Input is what the conditions of a set see of one transaction. It asks the
// source for a variable when the first rule needs it and keeps the answer for
// the others. It belongs to one goroutine.
type Input struct {
	source   Source
	compiler *Compiler
	values   []ref.Val
	loaded   []uint32 // the round in which values[i] was loaded
	numbers  []float64
	asked    []uint32 // the round in which numbers[i] was asked for
	round    uint32
}

var _ interpreter.Activation = (*Input)(nil)

// NewInput returns an input that reads from source.
func (c *Compiler) NewInput(source Source) *Input {
	return &Input{
		source: source, compiler: c, round: 1,
		values: make([]ref.Val, len(c.kinds)), loaded: make([]uint32, len(c.kinds)),
		numbers: make([]float64, len(c.kinds)), asked: make([]uint32, len(c.kinds)),
	}
}

// Next forgets the values: the source has another transaction now.
func (in *Input) Next() {
	in.round++
	if in.round == 0 { // wrapped: rounds of long ago would look current
		clear(in.loaded)
		clear(in.asked)
		in.round = 1
	}
}

// ResolveName implements interpreter.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	i, ok := in.compiler.index[name]
	if !ok {
		return nil, false
	}
	if in.loaded[i] != in.round {
		in.load(i)
	}
	return in.values[i], true
}

// load boxes the value of variable i. The box of the last transaction is used
// again when the value is the same, which spares most allocations.
func (in *Input) load(i int) {
	in.loaded[i] = in.round
	switch in.compiler.kinds[i] {
	case Number:
		x := types.Double(in.number(i))
		if old, ok := in.values[i].(types.Double); !ok || old != x {
			in.values[i] = x
		}
	case Integer:
		x := types.Int(in.source.Integer(i))
		if old, ok := in.values[i].(types.Int); !ok || old != x {
			in.values[i] = x
		}
	case Text:
		x := types.String(in.source.Text(i))
		if old, ok := in.values[i].(types.String); !ok || old != x {
			in.values[i] = x
		}
	case Bool:
		in.values[i] = types.Bool(in.source.Bool(i))
	}
}

// number is the value of variable i, a Number, without a box.
func (in *Input) number(i int) float64 {
	if in.asked[i] != in.round {
		in.asked[i] = in.round
		in.numbers[i] = in.source.Number(i)
	}
	return in.numbers[i]
}

// Parent implements interpreter.Activation.
func (in *Input) Parent() interpreter.Activation { return nil }
