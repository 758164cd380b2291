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

	lists   [listCount]listValue
	set     *Set      // that is evaluated
	rule    *running  // of set, being evaluated; nil: a filter
	windows []float64 // values of the windows of set
}

var _ interpreter.Activation = (*Input)(nil)

// NewInput returns an input that reads from source.
func (c *Compiler) NewInput(source Source) *Input {
	in := &Input{
		source: source, compiler: c, round: 1,
		values: make([]ref.Val, len(c.kinds)), loaded: make([]uint32, len(c.kinds)),
		numbers: make([]float64, len(c.kinds)), asked: make([]uint32, len(c.kinds)),
	}
	in.Lists(&Lists{}, 0)
	return in
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

// Lists gives the lists and the time of the transaction, ms since the epoch, at
// which their entries are looked at.
func (in *Input) Lists(lists *Lists, now int64) {
	for i := range in.lists {
		in.lists[i] = listValue{lists.entries[i], now}
	}
}

// Windows gives the values of the windows of the set, in the order of
// [Set.Windows], before Evaluate.
func (in *Input) Windows(values []float64) { in.windows = values }

// ResolveName implements interpreter.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	i, ok := in.compiler.index[name]
	if !ok {
		if in.rule != nil {
			if i := in.rule.window(name); i >= 0 {
				return types.Double(in.value(in.rule.Compiled, i)), true
			}
		}
		return nil, false
	}
	if in.loaded[i] != in.round {
		in.load(i)
	}
	return in.values[i], true
}

// load boxes the value of the name at i. The box of the last transaction is used
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
	case kindList:
		in.values[i] = &in.lists[in.compiler.of[i]]
	case kindPresent:
		in.values[i] = types.Bool(in.known(in.compiler.of[i]))
	}
}

// known reports whether variable i has another value than the one that stands
// for "not known".
func (in *Input) known(i int) bool {
	switch v := &in.compiler.schema.Variables[i]; v.Kind {
	case Number:
		return v.Unknown != in.number(i)
	case Text:
		return v.Unknown != in.source.Text(i)
	}
	return true
}

// number is the value of variable i, a Number, without a box.
func (in *Input) number(i int) float64 {
	if in.asked[i] != in.round {
		in.asked[i] = in.round
		in.numbers[i] = in.source.Number(i)
	}
	return in.numbers[i]
}

// value is that of a window of r's own.
func (in *Input) value(r *Compiled, window int) float64 {
	var slot int
	if in.rule != nil && in.rule.Compiled == r {
		slot = in.rule.slots[window]
	} else {
		slot = in.set.slots[r.Own[window].ID]
	}
	if slot >= len(in.windows) {
		return 0
	}
	return in.windows[slot]
}

// Parent implements interpreter.Activation.
func (in *Input) Parent() interpreter.Activation { return nil }
