package generate

import (
	"fmt"
	"math"
	"time"
)

// Config is what generate can be told. Start from DefaultConfig.
//
// Every field may be changed between two runs: the stream goes on under the new
// configuration, and labels of older transactions come as they were decided then.
type Config struct {
	// Profile is what is generated: "live" or "handbook".
	Profile string
	// Speed is how many seconds of event time pass in a second under the profile
	// handbook; 0 is as fast as it goes. What follows up to LabelDelay is for the
	// profile live.
	Speed float64
	// Rate is how many transactions a second are made, by all tasks together.
	// From 0.001 a task to 1,000,000.
	Rate float64
	// Seed selects one of the possible worlds: the same seed gives the same
	// customers, merchants, transaction ids and frauds.
	Seed uint64
	// Tasks is the number of tasks that share Rate.
	Tasks int
	// Customers is the number of customers. In Customers transactions in a row
	// each has one, so that genuine ones do not come in bursts. 0: eighty for each
	// transaction a second, so that a customer pays every 80 s, but from 5,000 to
	// 500,000.
	Customers int
	// Merchants is the number of merchants, at least 10.
	Merchants int
	// Intensity multiplies the share of frauds, which is about 1.3 percent at 1.
	// From 0 (no frauds) to 10.
	Intensity float64
	// LabelDelay is how much later than its transaction a label comes.
	LabelDelay time.Duration
	// CatchUp is the longest pause that is made up for by a burst. After a longer
	// one the stream goes on from now, and what is missing is skipped; that of the
	// profile handbook goes on where it was.
	CatchUp time.Duration
	// MaxBatch bounds the transactions, and the labels, of one Tick.
	MaxBatch int
	// Observer is told what leaves no other trace. nil: nobody is.
	Observer Observer
}

// Observer is told about what generate does silently. Its methods are called by
// several tasks at a time and must not block.
type Observer interface {
	// Skipped: n transactions were not made, since they were due in a pause
	// longer than Config.CatchUp.
	Skipped(n uint64)
}

type nobody struct{}

func (nobody) Skipped(uint64) {}

// ProfileLive makes transactions whose event time is now.
const ProfileLive = "live"

// ProfileHandbook makes the data set of the Fraud Detection Handbook, see package
// handbook.
const ProfileHandbook = "handbook"

// DefaultConfig is 1,000 transactions a second and labels after 7 days.
func DefaultConfig() Config {
	return Config{
		Profile:    ProfileLive,
		Speed:      1,
		Rate:       1000,
		Seed:       1,
		Tasks:      1,
		Merchants:  500,
		Intensity:  1,
		LabelDelay: 7 * 24 * time.Hour,
		CatchUp:    5 * time.Second,
		MaxBatch:   10_000,
	}
}

func (c Config) validate() error {
	const most = 10_000_000
	switch {
	case c.Profile != ProfileLive && c.Profile != ProfileHandbook:
		return fmt.Errorf("there is no profile %q, only %q and %q", c.Profile, ProfileLive, ProfileHandbook)
	case !(c.Speed >= 0 && c.Speed <= 1e9):
		return fmt.Errorf("a speed of %v, it must be from 0 (as fast as it goes) to 1e9", c.Speed)
	case c.Tasks < 1:
		return fmt.Errorf("%d tasks, there must be at least one", c.Tasks)
	case !(c.Rate >= 0.001*float64(c.Tasks) && c.Rate <= 1e6):
		return fmt.Errorf("a rate of %v a second, it must be from 0.001 for each task to 1,000,000", c.Rate)
	case c.Customers < 0 || c.Customers > most:
		return fmt.Errorf("%d customers, there must be from 1 to %d, or 0 to go by the rate", c.Customers, most)
	case c.Merchants < 10 || c.Merchants > most:
		return fmt.Errorf("%d merchants, there must be from 10 to %d", c.Merchants, most)
	case !(c.Intensity >= 0 && c.Intensity <= 10):
		return fmt.Errorf("an intensity of %v, it must be from 0 to 10", c.Intensity)
	case c.LabelDelay < 0:
		return fmt.Errorf("a label delay of %v, it must not be negative", c.LabelDelay)
	case c.CatchUp < 0:
		return fmt.Errorf("a catch-up of %v, it must not be negative", c.CatchUp)
	case c.MaxBatch < 1:
		return fmt.Errorf("a batch of %d, it must be at least 1", c.MaxBatch)
	}
	return nil
}

// model returns what the content of transactions depends on.
func (c Config) model() model {
	customers := c.Customers
	if customers == 0 {
		customers = int(min(max(80*c.Rate, 5_000), 500_000))
	}
	return model{
		seed:      c.Seed,
		customers: uint32(customers),
		merchants: uint32(c.Merchants),
		intensity: uint32(math.Round(c.Intensity * 1000)),
	}
}

// taskRate returns the part of the rate that falls to one task, in transactions
// in 1000 s. The parts of all tasks add up to the rate.
func (c Config) taskRate(task int) uint64 {
	total := uint64(math.Round(c.Rate * 1000))
	tasks := uint64(c.Tasks)
	return total*(uint64(task)+1)/tasks - total*uint64(task)/tasks
}
