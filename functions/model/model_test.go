package model

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// examples makes n examples of which those are frauds that have a large first
// feature, or a large second one without a third; the fourth says nothing.
func examples(n int) *Examples {
	r := rand.New(rand.NewPCG(1, 2))
	e := &Examples{Names: []string{"amount", "risk", "refuted", "noise"}, Columns: make([][]float32, 4)}
	for range n {
		amount, risk, refuted := r.Float32(), r.Float32(), float32(r.IntN(2))
		for f, x := range []float32{amount, risk, refuted, r.Float32()} {
			e.Columns[f] = append(e.Columns[f], x)
		}
		e.Fraud = append(e.Fraud, amount > 0.95 || risk > 0.9 && refuted == 0)
		e.Weight = append(e.Weight, 1)
	}
	return e
}

func (e *Examples) row(i int) []float32 {
	var v []float32
	for _, column := range e.Columns {
		v = append(v, column[i])
	}
	return v
}

func trained(t testing.TB, e *Examples) *Model {
	t.Helper()
	m, err := Train(e, DefaultParams())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTrainLearnsCombinations(t *testing.T) {
	m := trained(t, examples(20_000))
	for _, test := range []struct {
		name  string
		v     []float32
		fraud bool
	}{
		{"large amount", []float32{0.99, 0.1, 1, 0.5}, true},
		{"risk", []float32{0.3, 0.97, 0, 0.5}, true},
		{"refuted risk", []float32{0.3, 0.97, 1, 0.5}, false},
		{"nothing", []float32{0.3, 0.3, 0, 0.5}, false},
	} {
		if score := m.Score(test.v); (score > 0.5) != test.fraud {
			t.Errorf("%s: score %.3f, fraud %v", test.name, score, test.fraud)
		}
	}
	if m.Examples != 20_000 || m.Frauds < 1500 || m.Frauds > 2500 {
		t.Errorf("%d examples, %d frauds", m.Examples, m.Frauds)
	}
}

// A weight stands for as many examples.
func TestTrainCountsWeights(t *testing.T) {
	one, other := examples(500), &Examples{Names: examples(1).Names, Columns: make([][]float32, 4)}
	for i := range one.Fraud {
		one.Weight[i] = float32(1 + i%3)
		for range 1 + i%3 {
			for f := range one.Columns {
				other.Columns[f] = append(other.Columns[f], one.Columns[f][i])
			}
			other.Fraud = append(other.Fraud, one.Fraud[i])
			other.Weight = append(other.Weight, 1)
		}
	}
	a, b := trained(t, one), trained(t, other)
	if math.Abs(a.Prior-b.Prior) > 1e-12 {
		t.Errorf("priors %v and %v", a.Prior, b.Prior)
	}
}

func TestTrainIsAFunction(t *testing.T) {
	a, b := trained(t, examples(3000)), trained(t, examples(3000))
	if !bytes.Equal(a.Append(nil), b.Append(nil)) {
		t.Error("two trainings gave two models")
	}
}

func TestTrainRefuses(t *testing.T) {
	genuine := examples(100)
	clear(genuine.Fraud)
	if _, err := Train(genuine, DefaultParams()); !errors.Is(err, ErrOneClass) {
		t.Errorf("without frauds: %v", err)
	}
	if _, err := Train(&Examples{Names: []string{"x"}, Columns: [][]float32{nil}}, DefaultParams()); !errors.Is(err, ErrOneClass) {
		t.Errorf("without examples: %v", err)
	}
	short := examples(100)
	short.Columns[1] = short.Columns[1][:99]
	if _, err := Train(short, DefaultParams()); err == nil {
		t.Error("a column that is too short was taken")
	}
	for name, wrong := range map[string]func(*Params){
		"too deep trees":       func(p *Params) { p.Depth = MaxDepth + 1 },
		"too many trees":       func(p *Params) { p.Trees = MaxTrees + 1 },
		"no examples":          func(p *Params) { p.Rows = 0 },
		"too many examples":    func(p *Params) { p.Rows = 1.1 },
		"no features":          func(p *Params) { p.Columns = 0 },
		"a share that is none": func(p *Params) { p.Columns = math.NaN() },
	} {
		p := DefaultParams()
		wrong(&p)
		if _, err := Train(examples(100), p); err == nil {
			t.Errorf("%s: were taken", name)
		}
	}
}

// A tree asks for the share of the features that it may, of those that have more
// than one value; trees that see different examples are different.
func TestTreesSeeParts(t *testing.T) {
	e := examples(2000)
	e.Names, e.Columns = append(e.Names, "constant"), append(e.Columns, make([]float32, e.Len()))
	p := DefaultParams()
	p.Rate = 1e-9 // the examples' logits stay
	trees := func(rows, columns float64) map[string]bool {
		p.Rows, p.Columns = rows, columns
		m, err := Train(e, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Trees) != p.Trees {
			t.Errorf("%d trees, want %d", len(m.Trees), p.Trees)
		}
		different := map[string]bool{}
		for _, tree := range m.Trees {
			asked := map[uint8]bool{}
			for _, s := range tree.Splits {
				asked[s.Feature] = true
			}
			if len(asked) > max(1, int(columns*4)) || asked[4] {
				t.Errorf("a tree asks for the features %v", asked)
			}
			different[fmt.Sprint(tree.Splits)] = true
		}
		return different
	}
	if n := len(trees(1, 1)); n != 1 {
		t.Errorf("%d different trees of all examples and features", n)
	}
	if n := len(trees(1, 0.5)); n < 4 || n > 6 {
		t.Errorf("%d different trees of two of four features, want about one for each choice", n)
	}
	if n := len(trees(0.5, 1)); n < 10 {
		t.Errorf("%d different trees of half of the examples", n)
	}
}

// Half of the borders are where frauds are, however few these are.
func TestBorders(t *testing.T) {
	var column []float32
	var fraud []bool
	for i := range 10_000 {
		column, fraud = append(column, float32(i)/10_000), append(fraud, false)
	}
	for i := range 10 {
		column, fraud = append(column, 5+float32(i)), append(fraud, true)
	}
	got := borders(column, fraud, 16)
	below, _ := slices.BinarySearch(got, 1)
	if below != 8 || len(got) != 15 || !slices.IsSorted(got) {
		t.Errorf("borders %v: want 15, of which 8 are below 1", got)
	}
	if got := borders([]float32{1, 1, 2, 2}, []bool{true, false, true, false}, 16); !slices.Equal(got, []float32{2}) {
		t.Errorf("borders %v of the values 1 and 2", got)
	}
	if got := borders([]float32{3, 3}, []bool{true, false}, 16); len(got) > 0 {
		t.Errorf("borders %v of one value", got)
	}
}

// The contributions and the base add up to the logit.
func TestContributionsAddUp(t *testing.T) {
	e := examples(3000)
	m := trained(t, e)
	for i := range 200 {
		v := e.row(i)
		sum := m.Base()
		for _, x := range m.Contributions(v) {
			sum += x
		}
		if got, want := 1/(1+math.Exp(-sum)), m.Score(v); math.Abs(got-want) > 1e-9 {
			t.Fatalf("example %d: contributions give %v, the score is %v", i, got, want)
		}
	}
	risky := m.Contributions([]float32{0.3, 0.97, 0, 0.5})
	if risky[1] < 1 || risky[1] < risky[0] || risky[1] < risky[3] {
		t.Errorf("contributions %.2f: the risk should be the largest", risky)
	}
}

func TestParseReadsWhatAppendWrote(t *testing.T) {
	m := trained(t, examples(3000)).At(1_533_686_400_000)
	got, err := Parse(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(Model{}, plan{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	text := string(trained(t, examples(500)).Append(nil))
	change := func(old, new string) string {
		changed := strings.Replace(text, old, new, 1)
		if changed == text {
			t.Fatalf("there is no %s in %.300s", old, text)
		}
		return changed
	}
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "read a model"},
		{"no JSON", "model", "read a model"},
		{"cut off", text[:len(text)/2], "unexpected end"},
		{"newer", change(`"format":1`, `"format":2`), "newer format"},
		{"newer with fields that are not known", change(`"format":1`, `"format":2,"layers":3`), "newer format"},
		{"unknown field", change(`"format":1`, `"format":1,"layers":3`), "layers"},
		{"no format", change(`"format":1,`, ``), "format 0"},
		{"changed number", change(`"frauds":`, `"frauds":1`), "was changed on its way"},
		{"feature twice", change(`"risk"`, `"amount"`), "twice"},
		{"no split", change(`"splits":[[`, `"splits":[[9,1],[`), "do not fit"},
		{"another feature", change(`"splits":[[`, `"splits":[[9`), "there is none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse([]byte(test.text))
			if err == nil {
				t.Fatalf("accepted %s", m.Version)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
	if _, err := Parse([]byte(change(`"format":1`, `"format":7`))); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("error %v is not ErrNewerFormat", err)
	}
}

// FuzzParse: whatever is accepted can be scored, explained and written again.
func FuzzParse(f *testing.F) {
	e := examples(300)
	m, err := Train(e, Params{Trees: 2, Depth: 2, Bins: 4, Rate: 0.5, Rows: 1, Columns: 1, Ridge: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		v := make([]float32, len(m.Features))
		m.Score(v)
		m.Contributions(v)
		if _, err := Parse(m.Append(nil)); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	e := examples(20_000)
	m := trained(b, e)
	var rows [][]float32
	for i := range 1000 {
		rows = append(rows, e.row(i))
	}
	i := 0
	for b.Loop() {
		m.Score(rows[i%len(rows)])
		i++
	}
}

func BenchmarkTrain(b *testing.B) {
	e := examples(100_000)
	for b.Loop() {
		trained(b, e)
	}
}
