// Package model is the learnt part of the score: gradient-boosted oblivious
// decision trees over the features of package detect, how they are trained, their
// encoding, and how one score is explained.
//
// Trees and not a logistic regression, because the evidence for a fraud is in
// combinations (frauds at the merchant, and none refuted since); oblivious ones,
// because they are trained in a second, scored in less than a microsecond, and fit
// a record of some 40 KB.
package model

import (
	"math"
)

// Limits of a model.
const (
	MaxTrees    = 500
	MaxDepth    = 6
	MaxBins     = 128 // of a feature
	MaxFeatures = 64
)

// Model gives a transaction's probability of being a fraud. It is not changed
// once made and may be used by several goroutines.
type Model struct {
	// Version names the content: equal models have equal versions.
	Version string
	// Since is the event time, ms since the epoch, from which the model may be
	// used: no label that it has learnt from became known at Since or later.
	Since int64
	// Examples and Frauds say how many labels it has learnt from.
	Examples, Frauds int

	Features []string
	Borders  [][]float32 // by feature, ascending; a value is in the bin of the number of borders that are not above it
	Prior    float64     // logit before any tree
	Trees    []Tree

	plan plan
}

// plan is the trees in the order in which a score reads them, without the pointers
// between them, which take longer than the sums.
type plan struct {
	depths []uint8
	splits []Split
	leaves []float64
}

// prepare makes the plan. It is called once, before the model is handed out.
func (m *Model) prepare() {
	m.plan = plan{}
	for _, t := range m.Trees {
		m.plan.depths = append(m.plan.depths, uint8(len(t.Splits)))
		m.plan.splits = append(m.plan.splits, t.Splits...)
		m.plan.leaves = append(m.plan.leaves, t.Leaves...)
	}
}

// Tree asks one question for each of its splits, the same ones whatever the
// answers are; the answers are the bits of a leaf's number, that to the first
// question the lowest.
type Tree struct {
	Splits []Split
	Leaves []float64 // what is added to the logit
	Cover  []float64 // share of the examples in each leaf, weighted by how uncertain they were
}

// Split is the question whether a feature is in Bin or above.
type Split struct{ Feature, Bin uint8 }

// bins are the bins of a transaction's features.
type bins [MaxFeatures]uint8

func (m *Model) bins(v []float32) (b bins) {
	for f, borders := range m.Borders {
		b[f] = binOf(borders, v[f])
	}
	return b
}

func binOf(borders []float32, x float32) uint8 {
	low, high := 0, len(borders)
	for low < high {
		if mid := (low + high) / 2; borders[mid] <= x {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return uint8(low)
}

// leafOf is the number of the leaf. It has no branches, which a processor could only
// guess: the difference of two bytes is negative where the answer is no.
func leafOf(splits []Split, b *bins) int {
	leaf := 0
	for i, s := range splits {
		no := (uint32(b[s.Feature]) - uint32(s.Bin)) >> 31
		leaf |= int(no^1) << (i & 7)
	}
	return leaf
}

// Score is the probability of a transaction with the features v, which are in the
// order of m.Features.
func (m *Model) Score(v []float32) float64 {
	b := m.bins(v)
	logit := m.Prior
	splits, leaves := m.plan.splits, m.plan.leaves
	for _, depth := range m.plan.depths {
		logit += leaves[leafOf(splits[:depth], &b)]
		splits, leaves = splits[depth:], leaves[1<<depth:]
	}
	return 1 / (1 + math.Exp(-logit))
}

// Contributions says by how much each feature raised or lowered the logit: each
// answer counts for its feature by how much it moved the mean of the leaves that
// remain possible. With Base they add up to the logit.
func (m *Model) Contributions(v []float32) []float64 {
	b := m.bins(v)
	sums := make([]float64, len(m.Features))
	for i := range m.Trees {
		t := &m.Trees[i]
		leaf := leafOf(t.Splits, &b)
		before := t.mean(0, 0)
		for known, s := range t.Splits {
			after := t.mean(leaf, known+1)
			sums[s.Feature] += after - before
			before = after
		}
	}
	return sums
}

// Base is the logit of a transaction of which nothing is known.
func (m *Model) Base() float64 {
	sum := m.Prior
	for i := range m.Trees {
		sum += m.Trees[i].mean(0, 0)
	}
	return sum
}

// mean is the mean of the leaves that agree with leaf in the first known answers.
func (t *Tree) mean(leaf, known int) float64 {
	if known == len(t.Splits) {
		return t.Leaves[leaf]
	}
	var sum, cover float64
	step := 1 << known
	for i := leaf & (step - 1); i < len(t.Leaves); i += step {
		sum += float64(t.Leaves[i] * t.Cover[i])
		cover += t.Cover[i]
	}
	if cover == 0 {
		return 0 // no example came here: nothing is known
	}
	return sum / cover
}
