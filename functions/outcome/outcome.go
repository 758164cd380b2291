// Package outcome is what became of a merchant's transactions: which of the
// recent ones turned out to be frauds. The function learn publishes it by merchant
// in the table merchant_outcomes, and detect asks it for features.
//
// Each outcome has the time from which it was known. A feature of a transaction
// counts only outcomes that were known by the transaction's own time, so that it
// does not matter how far the table is ahead, and nothing is known too early.
package outcome

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	// Memory is how long after its transaction an outcome says something, ms.
	Memory = 35 * day
	// kept is how long an outcome is kept: longer than Memory, because the table may
	// be ahead of the transactions that are asked about.
	kept = Memory + 7*day
	// Most is how many outcomes of a merchant are kept, the newest ones.
	Most = 48

	day = int64(24 * time.Hour / time.Millisecond)
)

// Kind is what became of a transaction.
type Kind int

// The kinds. A fraud of an unusual amount says that the customer's card was
// abused, and little about the merchant; one of a usual amount points at the
// merchant.
const (
	Genuine Kind = iota
	UsualFraud
	UnusualFraud
)

// UnusualRatio is from how many times what the customer usually pays on an amount
// is unusual. Of amounts that are spread by half of their mean, 1 in 3,000 are.
const UnusualRatio = 2.7

// KindOf returns the kind of a transaction over usualRatio times what the customer
// usually pays.
func KindOf(fraud bool, usualRatio float64) Kind {
	switch {
	case !fraud:
		return Genuine
	case usualRatio > UnusualRatio:
		return UnusualFraud
	}
	return UsualFraud
}

// Outcome is what became of one transaction.
type Outcome struct {
	Time  int64 // of the transaction, ms since the epoch
	Known int64 // from when on the outcome was known, ms since the epoch
	Kind  Kind
}

// History is the outcomes of one merchant.
type History struct {
	MerchantID string
	Outcomes   []Outcome // by time of the transaction
}

// Add adds an outcome and forgets those that are too old or too many. Outcomes of
// the same times and kind are different transactions.
func (h *History) Add(o Outcome) {
	at, _ := slices.BinarySearchFunc(h.Outcomes, o, compare)
	h.Outcomes = slices.Insert(h.Outcomes, at, o)
	newest := h.Outcomes[len(h.Outcomes)-1]
	old := max(0, len(h.Outcomes)-Most)
	for h.Outcomes[old].Time <= newest.Time-kept {
		old++
	}
	h.Outcomes = slices.Delete(h.Outcomes, 0, old)
}

func compare(a, b Outcome) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Known, b.Known), cmp.Compare(a.Kind, b.Kind))
}

// Features are what a history says about a transaction.
type Features struct {
	// Share is frauds of usual amounts / (outcomes + 2): the share of frauds,
	// shrunk towards none.
	Share float64
	// Run is the number of frauds of usual amounts since the last transaction that
	// was genuine.
	Run float64
	// RunDays is how many days ago the first of them was, CleanDays how many days
	// ago the last genuine transaction was; 35 when there is none.
	RunDays, CleanDays float64
	// Abused is the probability that payments at the merchant are frauds now, see
	// [abuse].
	Abused float64
}

// Unknown are the features for a merchant without outcomes.
func Unknown() Features {
	a := newAbuse()
	a.until(float64(Memory / day))
	return Features{RunDays: float64(Memory / day), CleanDays: float64(Memory / day), Abused: a.probability()}
}

// At returns the features of a transaction at t, ms since the epoch: what was
// known by then of the transactions of the last 35 days. h may be nil.
func (h *History) At(t int64) Features {
	if h == nil {
		return Unknown()
	}
	f := Features{RunDays: float64(Memory / day), CleanDays: float64(Memory / day)}
	var known, frauds float64
	a, clean := newAbuse(), false
	for _, o := range slices.Backward(h.Outcomes) {
		if o.Time <= t-Memory {
			break
		}
		if o.Known > t || o.Time > t {
			continue
		}
		known++
		age := float64(t-o.Time) / float64(day)
		if !clean {
			a.until(age)
			a.fraud(o.Kind)
		}
		switch o.Kind {
		case Genuine:
			if !clean {
				clean, f.CleanDays = true, age
			}
		case UsualFraud:
			frauds++
			if !clean {
				f.Run++
				f.RunDays = age
			}
		}
	}
	if !clean {
		a.until(float64(Memory / day))
	}
	f.Share, f.Abused = frauds/(known+2), a.probability()
	return f
}

// document is a history as JSON, an outcome as [time, known - time, kind].
type document struct {
	MerchantID string     `json:"merchantId"`
	Outcomes   [][3]int64 `json:"outcomes"`
}

// Append appends h as [Parse] reads it.
func (h *History) Append(dst []byte) []byte {
	d := document{MerchantID: h.MerchantID, Outcomes: [][3]int64{}}
	for _, o := range h.Outcomes {
		d.Outcomes = append(d.Outcomes, [3]int64{o.Time, o.Known - o.Time, int64(o.Kind)})
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("outcome: %v", err)) // strings and numbers only
	}
	return append(dst, text...)
}

// Parse reads what Append wrote.
func Parse(data []byte) (*History, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read the outcomes of a merchant: %w", err)
	}
	if d.MerchantID == "" || len(d.Outcomes) > Most {
		return nil, fmt.Errorf("read the outcomes of merchant %q: %d of them, want at most %d and a name", d.MerchantID, len(d.Outcomes), Most)
	}
	h := &History{MerchantID: d.MerchantID}
	for _, o := range d.Outcomes {
		if o[1] < 0 || o[2] < int64(Genuine) || o[2] > int64(UnusualFraud) {
			return nil, fmt.Errorf("read the outcomes of merchant %q: %v is none", d.MerchantID, o)
		}
		h.Outcomes = append(h.Outcomes, Outcome{o[0], o[0] + o[1], Kind(o[2])})
	}
	if !slices.IsSortedFunc(h.Outcomes, compare) {
		return nil, fmt.Errorf("read the outcomes of merchant %q: they are not in order", d.MerchantID)
	}
	return h, nil
}
