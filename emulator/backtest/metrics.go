package backtest

import (
	"cmp"
	"maps"
	"slices"
)

// Metrics are how good a ranking is.
type Metrics struct {
	AUC float64 // area under the ROC curve
	AP  float64 // average precision
	CP  float64 // card precision@100, see CardPrecision
}

// ranked is one transaction of a ranking.
type ranked struct {
	Score float64
	Fraud bool
}

// Curve is a precision-recall curve: a point for each different score, from the
// highest on.
type Curve []Point

// Point is a point of a curve.
type Point struct{ Recall, Precision float64 }

// rank returns area under the ROC curve, average precision and the curve that it
// is the sum of. Transactions of the same score count as one step; both are as
// scikit-learn has them. Without frauds, or with nothing else, both are 0.
func rank(all []ranked) (auc, ap float64, curve Curve) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(b.Score, a.Score) })
	var frauds float64
	for _, r := range all {
		if r.Fraud {
			frauds++
		}
	}
	genuine := float64(len(all)) - frauds
	if frauds == 0 || genuine == 0 {
		return 0, 0, nil
	}
	var hits, misses float64
	for i := 0; i < len(all); {
		hitsBefore, missesBefore := hits, misses
		for score := all[i].Score; i < len(all) && all[i].Score == score; i++ {
			if all[i].Fraud {
				hits++
			} else {
				misses++
			}
		}
		auc += (misses - missesBefore) / genuine * (hits + hitsBefore) / 2 / frauds
		precision := hits / (hits + misses)
		ap += (hits - hitsBefore) / frauds * precision
		curve = append(curve, Point{hits / frauds, precision})
	}
	return auc, ap, curve
}

// Card is what is known of a card on a day.
type Card struct {
	Day      int64
	Customer int32
	Score    float64
	Fraud    bool
}

// CardPrecision returns the card precision of each day, and its mean: of the top
// cards by their highest score of the day, the share that had a fraud on it. A
// card that was found is left out on the days that follow. Of cards with equal
// scores those of the smaller number are taken.
func CardPrecision(transactions []Card, top int) (mean float64, days []float64) {
	tops := daily(transactions, top)
	for _, d := range slices.Sorted(maps.Keys(tops)) {
		hits := 0
		for _, c := range tops[d] {
			if c.Fraud {
				hits++
			}
		}
		days = append(days, float64(hits)/float64(top))
		mean += days[len(days)-1] / float64(len(tops))
	}
	return mean, days
}

// daily returns the top cards of each day.
func daily(transactions []Card, top int) map[int64][]*Card {
	cards := map[int64]map[int32]*Card{}
	for i := range transactions {
		t := &transactions[i]
		if cards[t.Day] == nil {
			cards[t.Day] = map[int32]*Card{}
		}
		c := cards[t.Day][t.Customer]
		if c == nil {
			copied := *t
			cards[t.Day][t.Customer] = &copied
			continue
		}
		c.Score, c.Fraud = max(c.Score, t.Score), c.Fraud || t.Fraud
	}
	tops := map[int64][]*Card{}
	found := map[int32]bool{}
	for _, d := range slices.Sorted(maps.Keys(cards)) {
		var list []*Card
		for _, c := range cards[d] {
			if !found[c.Customer] {
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b *Card) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Customer, b.Customer))
		})
		tops[d] = list[:min(top, len(list))]
		for _, c := range tops[d] {
			if c.Fraud {
				found[c.Customer] = true
			}
		}
	}
	return tops
}
