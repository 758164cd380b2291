package backtest

import (
	"math"
	"testing"

	"datasurge/functions/generate"
	"datasurge/functions/generate/handbook"
)

// handbookRows are the rows of the whole data set, without scores.
func handbookRows() []Row {
	var source generate.HandbookSource
	var rows []Row
	for t, ok := source.Next(); ok; t, ok = source.Next() {
		rows = append(rows, Row{Customer: t.Customer, Merchant: t.Terminal, Time: t.Time(), Amount: t.Cents, Fraud: t.Fraud(), Labelled: true, Scenario: uint8(t.Scenario)})
	}
	return rows
}

// The test set is the book's: so many transactions and frauds of each scenario
// remain when the cards known to be bad are dropped, and no detector can have a
// card precision over 0.397.
func TestTestSetIsTheBooks(t *testing.T) {
	rows := handbookRows()
	set := Protocol{BookTestStart(), 7}.TestSet(rows)
	var scenarios [4]int
	for _, i := range set {
		scenarios[rows[i].Scenario]++
	}
	if want := [...]int{58_264 - 385, 20, 281, 84}; scenarios != want {
		t.Errorf("by scenario %d, want %d", scenarios, want)
	}
	m, _, days := measure(rows, set, func(r *Row) float64 {
		if r.Fraud {
			return 1
		}
		return 0
	})
	if m.AUC != 1 || math.Abs(m.AP-1) > 1e-9 || math.Abs(m.CP-0.397) > 0.0005 || len(days) != 7 {
		t.Errorf("with perfect scores %+v over %d days", m, len(days))
	}
}

// The values are those of scikit-learn's roc_auc_score and
// average_precision_score.
func TestRank(t *testing.T) {
	for _, test := range []struct {
		name    string
		scores  []float64
		frauds  []int // places
		auc, ap float64
	}{
		{"perfect", []float64{0.9, 0.8, 0.1, 0.2}, []int{0, 1}, 1, 1},
		{"reversed", []float64{0.1, 0.2, 0.8, 0.9}, []int{0, 1}, 0, 0.41666666666666663},
		{"scikit-learn's example", []float64{0.1, 0.4, 0.35, 0.8}, []int{2, 3}, 0.75, 0.8333333333333333},
		{"all the same", []float64{0.5, 0.5, 0.5, 0.5}, []int{2}, 0.5, 0.25},
		{"ties", []float64{0.9, 0.5, 0.5, 0.5, 0.1, 0.1}, []int{0, 2, 5}, 0.6111111111111112, 0.6666666666666667},
		{"no fraud", []float64{0.5, 0.1}, nil, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all []ranked
			for _, s := range test.scores {
				all = append(all, ranked{Score: s})
			}
			for _, i := range test.frauds {
				all[i].Fraud = true
			}
			auc, ap, _ := rank(all)
			if math.Abs(auc-test.auc) > 1e-12 || math.Abs(ap-test.ap) > 1e-12 {
				t.Errorf("AUC %v and average precision %v, want %v and %v", auc, ap, test.auc, test.ap)
			}
		})
	}
}

// A card is found once; its highest score of the day counts.
func TestCardPrecision(t *testing.T) {
	mean, days := CardPrecision([]Card{
		{Day: 1, Customer: 1, Score: 0.1},
		{Day: 1, Customer: 1, Score: 0.9, Fraud: true},
		{Day: 1, Customer: 2, Score: 0.8},
		{Day: 1, Customer: 3, Score: 0.7, Fraud: true},
		{Day: 2, Customer: 1, Score: 0.9, Fraud: true}, // found the day before
		{Day: 2, Customer: 3, Score: 0.2, Fraud: true},
		{Day: 2, Customer: 2, Score: 0.8},
		{Day: 2, Customer: 4, Score: 0.1},
	}, 2)
	if len(days) != 2 || days[0] != 0.5 || days[1] != 0.5 || mean != 0.5 {
		t.Errorf("%v, mean %v", days, mean)
	}
}

func TestStartIsTheDataSets(t *testing.T) {
	if start := handbook.Start().UnixMilli(); start%day != 0 {
		t.Errorf("second 0 is %d ms after midnight", start%day)
	}
}
