package generate

import (
	"datasurge/events"
	"datasurge/functions/enrich/reference"
)

// profile is a reproducible stream of labelled transactions: transaction n is a
// function of n and of what the profile was made from, however often and in
// whatever order it is asked for. So nothing has to be kept of transactions whose
// label is still to come.
type profile interface {
	// due returns the number of the first transaction that is not due at the
	// wall clock now (ns since the epoch).
	due(now int64) uint64
	// time returns the wall clock (ns) at which transaction n is due.
	time(n uint64) int64
	// transaction fills t.
	transaction(n uint64, t *events.Transaction)
	// label fills in what is known about transaction n, but not LabelTime.
	label(n uint64, l *events.Label)
	// merchants returns what is known beforehand about the merchants.
	merchants() []reference.Merchant
}
