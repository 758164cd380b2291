package events

// Transaction is one card payment or refund: the data of TypeTransaction, with
// the field names of the original system.
type Transaction struct {
	TransactionID string // UUID text or any non-empty id of at most 128 bytes
	UserID        string
	Amount        int64  // minor units of Currency (cents); positive
	Currency      string // ISO 4217 alphabetic code
	Time          int64  // transactionTime, milliseconds since the epoch
	MerchantID    string
	Type          string // transactionType: "purchase" or "refund"
	Location      string // free text: ISO 3166 code, "City, CC" or "lat,lon"
	PaymentMethod string // "credit_card", "debit_card" or "paypal"
	International bool
}

// Enriched is a Transaction with what enrich derives: the data of TypeEnriched.
type Enriched struct {
	Transaction
	Category     string  // merchantCategory: group of merchant category codes, "unknown" when not known
	Country      string  // ISO 3166 alpha-2 code of the transaction's place, "" when not known
	BaseAmount   int64   // baseAmount: the amount in minor units of BaseCurrency
	BaseCurrency string  // baseCurrency: ISO 4217 code
	LocalHour    int     // localHour: hour of day at the place, 0 to 23
	Night        bool    // local hour 0 to 6
	Weekend      bool    // local Saturday or Sunday
	DistanceKm   float64 // distanceKm: from the customer's home, 0 when either place is not known
	MerchantRisk float64 // merchantRisk: share of frauds at the merchant, 0 to 1
}

// Scored is an Enriched transaction with detect's verdict: the data of TypeScored.
type Scored struct {
	Enriched
	Score        float64     // 0 to 1
	Flagged      bool        // whether an anomaly was emitted
	Severity     string      // "", "low", "medium", "high" or "critical"
	Decision     string      // Approve, Review or Decline; "" in events of before there were decisions
	Rules        []FiredRule // active rules that fired and were not suppressed, by id
	Shadow       []FiredRule // shadow rules that fired, by id
	Suppressed   []FiredRule // active rules that fired and were suppressed, by id
	RuleSet      string      // version of the rule set that decided
	ListSet      string      // version of the lists that decided, "" when they were empty
	ModelVersion string      // version of the score
	Features     []Feature   // in a fixed order
}

// What to do with a transaction.
const (
	Approve = "approve"
	Review  = "review"
	Decline = "decline"
)

// FiredRule names one rule that fired and its version.
type FiredRule struct {
	ID      string
	Version int
	// ExactFrom is set while a window of the rule is warming: the event time
	// from which it misses nothing, ms since the epoch.
	ExactFrom int64
}

// Feature is one named input of rules and score.
type Feature struct {
	Name  string
	Value float64
}

// Anomaly is a flagged transaction: the data of TypeAnomaly. On the wire it has
// every field of Scored, flat, and reasons.
type Anomaly struct {
	Scored
	Reasons []Reason
}

// Reason says why a transaction was flagged.
type Reason struct {
	Rule string // rule id, or "score"
	Text string // one sentence for a person
}

// Label is the truth about one transaction, known later (a chargeback or its
// absence): the data of TypeLabel.
type Label struct {
	TransactionID   string
	UserID          string
	MerchantID      string
	TransactionTime int64 // event time of the transaction, ms since the epoch
	LabelTime       int64 // when the label became known, ms since the epoch
	Fraud           bool
	Scenario        string // generator's scenario name, "" for labels from elsewhere
}
