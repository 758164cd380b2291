package backtest

// Row is one transaction with its label and what was decided about it.
type Row struct {
	Customer, Merchant int32 // places in Result.Customers and Result.Merchants
	Time               int64 // ms since the epoch
	Amount             int64 // minor units
	Score              float64
	RuleScore          float64 // what the rules that fired, those in shadow too, say without the model
	Fraud              bool
	Labelled           bool // there was a label at all
	scored             bool
	Scenario           uint8
	Flagged            bool
	Fired              uint64 // rules, those in shadow too, that fired, a bit for each of Result.Rules
}

// Protocol is the Fraud Detection Handbook's: a week of training, a week in which
// its labels come, and the days of the test.
type Protocol struct {
	TestStart int64 // ms since the epoch, midnight UTC
	Days      int   // of the test
}

// The book's lengths, in days.
const (
	trainDays = 7
	delayDays = 7
)

// Latest is the protocol for the last days of which all labels can be known: those
// that ended before the week of delay before the last transaction.
func Latest(rows []Row, days int) Protocol {
	var last int64
	for i := range rows {
		last = max(last, rows[i].Time)
	}
	end := last - delayDays*day
	return Protocol{end - end%day - int64(days)*day, days}
}

// TestSet returns the places of the rows of the test, in order: those of its days
// but without the cards known to be bad by then. Known are the cards with a fraud
// in the week of training, and on day k of the test also those with one on the
// first k-1 days of the week of delay.
func (p Protocol) TestSet(rows []Row) []int {
	train := p.TestStart - (trainDays+delayDays)*day
	firstFraud := map[int32]int64{} // of a card in the weeks before the test
	var set []int
	for i := range rows {
		r := &rows[i]
		if r.Time < train || r.Time >= p.TestStart+int64(p.Days)*day {
			continue
		}
		if r.Fraud && r.Time < p.TestStart+int64(p.Days-delayDays)*day {
			if at, ok := firstFraud[r.Customer]; !ok || r.Time < at {
				firstFraud[r.Customer] = r.Time
			}
		}
	}
	for i := range rows {
		r := &rows[i]
		if r.Time < p.TestStart || r.Time >= p.TestStart+int64(p.Days)*day {
			continue
		}
		k := (r.Time - p.TestStart) / day
		if at, bad := firstFraud[r.Customer]; bad && at < train+(trainDays+k)*day {
			continue
		}
		set = append(set, i)
	}
	return set
}
