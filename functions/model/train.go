package model

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Params are how a model is trained. Start from [DefaultParams].
type Params struct {
	Trees    int     // number of trees
	Depth    int     // splits of a tree, at most MaxDepth
	Bins     int     // values that are told apart of a feature, at most MaxBins
	Rate     float64 // share of a tree's correction that is applied
	Rows     float64 // share of the examples that a tree is fitted to, at most 1
	Columns  float64 // share of the features that a tree may ask for, at most 1
	Ridge    float64 // weight of the prior that a leaf corrects nothing
	LeastSum float64 // curvature that both sides of a split need in some leaf
}

// DefaultParams were chosen on the Handbook's weeks before 2018-07-25.
func DefaultParams() Params {
	return Params{Trees: 120, Depth: 4, Bins: 64, Rate: 0.05, Rows: 0.5, Columns: 0.5, Ridge: 5, LeastSum: 1}
}

// Examples are what a model is trained on: Columns[f][i] is feature f of example
// i, Weight[i] how many examples it stands for.
type Examples struct {
	Names   []string
	Columns [][]float32
	Fraud   []bool
	Weight  []float32
}

// Len is the number of examples.
func (e *Examples) Len() int { return len(e.Fraud) }

// ErrOneClass: there are no frauds among the examples, or nothing else.
var ErrOneClass = errors.New("examples of both frauds and genuine transactions are needed")

// Train fits a model to the examples: gradient boosting of oblivious trees (every
// level of a tree asks the same question of all examples, as in CatBoost) by
// Newton steps on the logistic loss, over histograms of the features. Each tree
// sees a random part of the examples and of the features (stochastic gradient
// boosting, Friedman 2002): what the trees take for a sign by chance is different in
// each, and cancels out.
//
// It is a function of its arguments: the same examples in the same order give the
// same model, byte for byte. Products are converted before they are added, which
// keeps Go from fusing the two on machines that can.
func Train(e *Examples, p Params) (*Model, error) {
	t := trainer{params: p, examples: e, random: rand.NewPCG(1, 2)}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("train a model: %w", err)
	}
	m := &Model{Features: slices.Clone(e.Names)}
	if err := t.begin(m); err != nil {
		return nil, fmt.Errorf("train a model: %w", err)
	}
	for range p.Trees {
		if tree := t.tree(m); len(tree.Splits) > 0 {
			m.Trees = append(m.Trees, tree)
		}
	}
	m.Version = m.version()
	m.prepare()
	return m, nil
}

// trainer holds the memory of Train.
type trainer struct {
	params   Params
	examples *Examples
	bins     [][]uint8 // by feature and example
	logit    []float64
	gradient []gradient // of the examples
	random   *rand.PCG
	rows     []int32    // examples that the tree under way is fitted to
	asked    []int      // features of more than one value
	columns  []int      // the ones of them that it may ask for
	leaf     []uint8    // of the examples, in the tree under way
	histo    []gradient // by leaf and bin
}

// draw draws what the next tree sees.
func (t *trainer) draw() {
	t.rows = t.rows[:0]
	for i := range t.logit {
		if t.chance(t.params.Rows) {
			t.rows = append(t.rows, int32(i))
		}
	}
	// The first of a shuffle.
	n := max(1, int(math.Round(t.params.Columns*float64(len(t.asked)))))
	for i := range min(n, len(t.asked)) {
		j := i + t.below(len(t.asked)-i)
		t.asked[i], t.asked[j] = t.asked[j], t.asked[i]
	}
	t.columns = t.asked[:min(n, len(t.asked))]
}

func (t *trainer) chance(share float64) bool { return float64(t.random.Uint64()>>11) < share*(1<<53) }

// below returns a number from 0 to n-1.
func (t *trainer) below(n int) int {
	high, _ := bits.Mul64(t.random.Uint64(), uint64(n))
	return int(high)
}

// gradient is the first and second derivative of the loss.
type gradient struct{ g, h float64 }

func (a *gradient) add(b gradient) { a.g += b.g; a.h += b.h }

func (t *trainer) check() error {
	p, e := t.params, t.examples
	switch {
	case p.Trees < 1 || p.Trees > MaxTrees || p.Depth < 1 || p.Depth > MaxDepth || p.Bins < 2 || p.Bins > MaxBins:
		return fmt.Errorf("parameters %+v are out of range", p)
	case !(p.Rate > 0 && p.Rows > 0 && p.Rows <= 1 && p.Columns > 0 && p.Columns <= 1 && p.Ridge > 0 && p.LeastSum >= 0):
		return fmt.Errorf("parameters %+v are out of range", p)
	case len(e.Names) == 0 || len(e.Names) > MaxFeatures || len(e.Columns) != len(e.Names) || len(e.Weight) != len(e.Fraud):
		return errors.New("the examples' parts do not belong together")
	}
	for _, column := range e.Columns {
		if len(column) != len(e.Fraud) {
			return errors.New("the examples' parts do not belong together")
		}
	}
	return nil
}

// begin computes the borders, the bins and the prior.
func (t *trainer) begin(m *Model) error {
	e := t.examples
	var weight, fraud float64
	m.Examples = e.Len()
	for i, f := range e.Fraud {
		weight += float64(e.Weight[i])
		if f {
			fraud += float64(e.Weight[i])
			m.Frauds++
		}
	}
	if fraud == 0 || fraud == weight {
		return ErrOneClass
	}
	m.Prior = math.Log(fraud / (weight - fraud))
	t.bins = make([][]uint8, len(e.Columns))
	for f, column := range e.Columns {
		m.Borders = append(m.Borders, borders(column, e.Fraud, t.params.Bins))
		bins := make([]uint8, len(column))
		for i, x := range column {
			bins[i] = binOf(m.Borders[f], x)
		}
		t.bins[f] = bins
		if len(m.Borders[f]) > 0 {
			t.asked = append(t.asked, f)
		}
	}
	n := e.Len()
	t.logit = make([]float64, n)
	for i := range t.logit {
		t.logit[i] = m.Prior
	}
	t.gradient = make([]gradient, n)
	t.leaf = make([]uint8, n)
	t.histo = make([]gradient, (1<<t.params.Depth)*t.params.Bins)
	return nil
}

// borders returns at most bins-1 values of column, a half of which split the frauds
// and the other half the genuine examples into parts of about equal size: where
// frauds are is what is asked, and they are few. A value belongs to the bin of the
// number of borders that are not above it.
func borders(column []float32, fraud []bool, bins int) []float32 {
	var kinds [2][]float32
	for i, x := range column {
		kind := 0
		if fraud[i] {
			kind = 1
		}
		kinds[kind] = append(kinds[kind], x)
	}
	var all []float32
	for _, values := range kinds {
		slices.Sort(values)
		for k := range bins / 2 {
			all = append(all, values[len(values)*(2*k+1)/bins])
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if all[0] == min(kinds[0][0], kinds[1][0]) {
		all = all[1:] // nothing is below it
	}
	return all[:min(len(all), bins-1)]
}

// tree fits the next tree and moves the examples' logits by it.
func (t *trainer) tree(m *Model) Tree {
	e, p := t.examples, &t.params
	for i, logit := range t.logit {
		probability := 1 / (1 + math.Exp(-logit))
		w, g := float64(e.Weight[i]), -probability
		if e.Fraud[i] {
			g = 1 - probability
		}
		t.gradient[i] = gradient{float64(w * g), float64(w * float64(probability*(1-probability)))}
	}
	clear(t.leaf)
	t.draw()
	var tree Tree
	for depth := range p.Depth {
		split, ok := t.split(m, depth)
		if !ok {
			break
		}
		tree.Splits = append(tree.Splits, split)
		for i, bin := range t.bins[split.Feature] {
			if bin >= split.Bin {
				t.leaf[i] |= 1 << depth
			}
		}
	}
	if len(tree.Splits) == 0 {
		return tree // it says nothing
	}
	sums := make([]gradient, 1<<len(tree.Splits))
	var total float64
	for _, i := range t.rows {
		sums[t.leaf[i]].add(t.gradient[i])
		total += t.gradient[i].h
	}
	for _, s := range sums {
		tree.Leaves = append(tree.Leaves, float64(p.Rate*s.g)/(s.h+p.Ridge))
		tree.Cover = append(tree.Cover, s.h/total)
	}
	for i, leaf := range t.leaf {
		t.logit[i] += tree.Leaves[leaf]
	}
	return tree
}

// split finds the question that improves all leaves of the present level most
// together.
func (t *trainer) split(m *Model, depth int) (best Split, found bool) {
	stride := t.params.Bins
	histo := t.histo[:stride<<depth]
	bestGain := 1e-9 // no better than none
	for _, f := range t.columns {
		clear(histo)
		bins := t.bins[f]
		for _, i := range t.rows {
			histo[int(t.leaf[i])*stride+int(bins[i])].add(t.gradient[i])
		}
		var gains, least [MaxBins]float64 // of a split at each bin
		for row := histo; len(row) > 0; row = row[stride:] {
			t.addGains(row[:len(m.Borders[f])+1], &gains, &least)
		}
		for bin := 1; bin <= len(m.Borders[f]); bin++ {
			if gains[bin] > bestGain && least[bin] >= t.params.LeastSum {
				best, bestGain, found = Split{uint8(f), uint8(bin)}, gains[bin], true
			}
		}
	}
	return best, found
}

// addGains adds what a split of one leaf at each bin would gain, and keeps the
// largest of the leaves' smaller halves.
func (t *trainer) addGains(row []gradient, gains, least *[MaxBins]float64) {
	var total, left gradient
	for _, sum := range row {
		total.add(sum)
	}
	if total.h == 0 {
		return
	}
	whole := t.gain(total)
	for bin := 1; bin < len(row); bin++ {
		left.add(row[bin-1])
		right := gradient{total.g - left.g, total.h - left.h}
		gains[bin] += t.gain(left) + t.gain(right) - whole
		least[bin] = max(least[bin], min(left.h, right.h))
	}
}

func (t *trainer) gain(s gradient) float64 { return float64(s.g*s.g) / (s.h + t.params.Ridge) }
