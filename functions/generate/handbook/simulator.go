package handbook

import (
	"cmp"
	"slices"
	"time"
)

// The size of the data set.
const (
	Customers    = 5_000
	Terminals    = 10_000
	Days         = 183
	Transactions = 1_754_155
	Frauds       = 14_681
)

const (
	daySeconds = 86_400
	reach      = 5 // of a customer, in the unit of places

	largeCents = 22_000 // scenario 1 is above

	compromisedTerminals = 2 // a day, scenario 2
	terminalDays         = 28
	compromisedCustomers = 3 // a day, scenario 3
	customerDays         = 14
	factor               = 5 // of the amount
)

// Start is when second 0 is.
func Start() time.Time { return time.Date(2018, time.April, 1, 0, 0, 0, 0, time.UTC) }

// Scenario says which kind of fraud a transaction is.
type Scenario uint8

// The scenarios.
const (
	Genuine Scenario = iota
	LargeAmount
	CompromisedTerminal
	CompromisedCustomer
)

// String returns the name of a scenario in labels.
func (s Scenario) String() string {
	return [...]string{"", "large-amount", "compromised-terminal", "compromised-customer"}[s]
}

// Transaction is one card payment.
type Transaction struct {
	Second   int32 // since Start
	Customer int32
	Terminal int32
	Cents    int64
	Scenario Scenario
}

// Fraud says whether it is a fraud.
func (t *Transaction) Fraud() bool { return t.Scenario != Genuine }

// draft is a transaction whose scenario is not decided yet.
type draft struct {
	Transaction
	stolen bool // scenario 3 has picked it
}

// Simulator makes the transactions day by day. It keeps the days that frauds
// already picked may lie in, two weeks, and the random numbers' states of all
// customers: 30 MB.
type Simulator struct {
	customers []customer
	// days are those from day on that are drafted, none after the last of the
	// data set.
	days [][]draft
	day  int
	// terminals are those compromised, the drawing of day d at d modulo
	// terminalDays.
	terminals [terminalDays][]int32
	done      []Transaction
}

// New returns a simulator that begins with the first day.
func New() *Simulator {
	s := &Simulator{customers: newCustomers()}
	for range customerDays - 1 {
		s.draft()
	}
	return s
}

// Next returns the transactions of the next day, ordered by second, customer,
// terminal and amount, or nil after the last day. They are valid until the next
// call.
func (s *Simulator) Next() []Transaction {
	if s.day == Days {
		return nil
	}
	s.draft()
	// Nothing is drawn on the last day.
	s.terminals[s.day%terminalDays] = nil
	if s.day < Days-1 {
		s.draw()
	}
	var compromised [Terminals]bool
	for _, drawn := range s.terminals {
		for _, id := range drawn {
			compromised[id] = true
		}
	}
	s.done = s.done[:0]
	for _, d := range s.days[0] {
		t := d.Transaction
		switch {
		case d.stolen:
			t.Scenario = CompromisedCustomer
		case compromised[t.Terminal]:
			t.Scenario = CompromisedTerminal
		case t.Cents > largeCents:
			t.Scenario = LargeAmount
		}
		s.done = append(s.done, t)
	}
	slices.SortFunc(s.done, func(a, b Transaction) int { return compare(&a, &b) })
	s.days = s.days[1:]
	s.day++
	return s.done
}

// draft makes one more day, if there is one more.
func (s *Simulator) draft() {
	at := s.day + len(s.days)
	if at >= Days {
		return
	}
	var drafts []draft
	for id := range s.customers {
		drafts = s.customers[id].day(drafts, int32(id), int32(at)*daySeconds)
	}
	slices.SortFunc(drafts, func(a, b draft) int { return compare(&a.Transaction, &b.Transaction) })
	s.days = append(s.days, drafts)
}

// draw draws who is compromised from the current day on.
func (s *Simulator) draw() {
	var r numpy
	r.seed(uint32(s.day))
	s.terminals[s.day%terminalDays] = r.sample(Terminals, compromisedTerminals)
	r.seed(uint32(s.day))
	robbed := r.sample(Customers, compromisedCustomers)

	var theirs []*draft
	for _, day := range s.days {
		for i := range day {
			if slices.Contains(robbed, day[i].Customer) {
				theirs = append(theirs, &day[i])
			}
		}
	}
	var choice cpython
	choice.seed(uint32(s.day))
	for _, i := range choice.sample(len(theirs), len(theirs)/3) {
		theirs[i].stolen = true
		theirs[i].Cents *= factor
	}
}

func compare(a, b *Transaction) int {
	return cmp.Or(
		cmp.Compare(a.Second, b.Second), cmp.Compare(a.Customer, b.Customer),
		cmp.Compare(a.Terminal, b.Terminal), cmp.Compare(a.Cents, b.Cents),
	)
}
