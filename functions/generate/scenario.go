package generate

import "math/bits"

// scenario is why a transaction is what it is.
type scenario uint8

const (
	genuine   scenario = iota
	card               // a stolen card number is tried out: a burst of small amounts
	travel             // a cloned card is used in another country within the hour
	amount             // far above what the customer spends
	breach             // a merchant is compromised: frauds there for ten minutes
	large              // above 100,000, half of them frauds
	scenarios = iota
)

// String returns the name of the scenario in labels.
func (s scenario) String() string {
	return [scenarios]string{"genuine", "card", "travel", "amount", "merchant", "large"}[s]
}

// Shares of all transactions at intensity 1, in millionths. card and travel
// count what their episodes consist of; one in three of travel is the genuine
// transaction at home.
const (
	cardShare   = 5000
	travelShare = 2400
	amountShare = 2000
	breachShare = 4000
	largeShare  = 1000
)

// episode describes a fraud of several transactions: length of them, by one
// customer, seconds apart. In the sequence of all transactions one starts at a
// random place in each block, and goes on every stride transactions.
type episode struct {
	scenario scenario
	length   uint64
	stride   uint64
	block    uint64 // 0: there are none
	seed     uint64
}

func newEpisode(s scenario, seg segment, task uint64, length, seconds, share uint64) episode {
	e := episode{
		scenario: s,
		length:   length,
		stride:   max(1, seconds*seg.rate/1000),
		seed:     mix(seg.model.seed, drawEpisode+uint64(s), task),
	}
	if share *= uint64(seg.model.intensity); share > 0 {
		e.block = max(1, length*1_000_000*1000/share)
	}
	return e
}

// at tells whether transaction n is part of an episode: which one, and its place
// in it. Where two overlap the one that began last has the transaction.
func (e *episode) at(n uint64) (id, place uint64, ok bool) {
	if e.block == 0 {
		return 0, 0, false
	}
	for place = range e.length {
		block := n / e.block
		id = mix(e.seed, block)
		if begin, _ := bits.Mul64(id, e.block); n == block*e.block+begin {
			return id, place, true
		}
		if n < e.stride {
			break
		}
		n -= e.stride
	}
	return 0, 0, false
}
