package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Params are how a model is trained. Start from [DefaultParams].
type Params struct {
	Trees    int     // number of trees
	Depth    int     // splits of a tree, at most MaxDepth
	Bins     int     // values that are told apart of a feature, at most MaxBins
	Rate     float64 // share of a tree's correction that is applied
	Ridge    float64 // weight of the prior that a leaf corrects nothing
	LeastSum float64 // curvature that both sides of a split need in some leaf
}

// DefaultParams were chosen on the Handbook's weeks before 2018-07-25.
func DefaultParams() Params {
	return Params{Trees: 60, Depth: 4, Bins: 64, Rate: 0.1, Ridge: 5, LeastSum: 1}
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
// Newton steps on the logistic loss, over histograms of the features.
//
// It is a function of its arguments: the same examples in the same order give the
// same model, byte for byte. Products are converted before they are added, which
// keeps Go from fusing the two on machines that can.
func Train(e *Examples, p Params) (*Model, error) {
	t := trainer{params: p, examples: e}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("train a model: %w", err)
	}
	m := &Model{Features: slices.Clone(e.Names)}
	if err := t.begin(m); err != nil {
		return nil, fmt.Errorf("train a model: %w", err)
	}
	for range p.Trees {
		tree := t.tree(m)
		if len(tree.Splits) == 0 {
			break // there is nothing more to learn
		}
		m.Trees = append(m.Trees, tree)
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
	leaf     []uint8    // of the examples, in the tree under way
	histo    []gradient // by leaf and bin
}

// gradient is the first and second derivative of the loss.
type gradient struct{ g, h float64 }

func (a *gradient) add(b gradient) { a.g += b.g; a.h += b.h }

func (t *trainer) check() error {
	p, e := t.params, t.examples
	switch {
	case p.Trees < 1 || p.Trees > MaxTrees || p.Depth < 1 || p.Depth > MaxDepth || p.Bins < 2 || p.Bins > MaxBins:
		return fmt.Errorf("parameters %+v are out of range", p)
	case !(p.Rate > 0 && p.Ridge > 0 && p.LeastSum >= 0):
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
		m.Borders = append(m.Borders, borders(column, t.params.Bins))
		bins := make([]uint8, len(column))
		for i, x := range column {
			bins[i] = binOf(m.Borders[f], x)
		}
		t.bins[f] = bins
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

// borders returns at most bins-1 values between those of column that split it
// into parts of about equal size. A value belongs to the bin of the number of
// borders that are not above it.
func borders(column []float32, bins int) []float32 {
	sorted := slices.Clone(column)
	slices.Sort(sorted)
	var out []float32
	for k := 1; k < bins; k++ {
		at := len(sorted) * k / bins
		x := sorted[at]
		// The first of the values that are as large as this one begins the bin.
		if x > sorted[0] && (len(out) == 0 || x > out[len(out)-1]) {
			out = append(out, x)
		}
	}
	// Where many values are equal, bins are left: they go to the largest values,
	// which are rare and say most.
	for at := len(sorted) - len(sorted)/bins; at < len(sorted) && len(out) < bins-1; at += 1 + len(sorted)/(bins*8) {
		if x := sorted[at]; x > sorted[0] && (len(out) == 0 || x > out[len(out)-1]) {
			out = append(out, x)
		}
	}
	return out
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
	sums := make([]gradient, 1<<len(tree.Splits))
	var total float64
	for i, leaf := range t.leaf {
		sums[leaf].add(t.gradient[i])
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
	for f, bins := range t.bins {
		if len(m.Borders[f]) == 0 {
			continue
		}
		clear(histo)
		for i, leaf := range t.leaf {
			histo[int(leaf)*stride+int(bins[i])].add(t.gradient[i])
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
