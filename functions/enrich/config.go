package enrich

import (
	"fmt"
	"time"

	"datasurge/events"
)

// Config is what enrich can be told. Start from DefaultConfig.
type Config struct {
	// BaseCurrency is the ISO 4217 code of the currency that baseAmount is in.
	BaseCurrency string
	// Rates overrides or adds to the embedded reference rates: by ISO 4217 code,
	// how many units of the currency one US dollar buys, as a decimal number of
	// at most six decimals ("0.85"). For BaseCurrency too: all rates are against
	// the dollar.
	Rates map[string]string
	// Horizon is how long, in event time, a transactionId is remembered. A
	// transaction with the same id that comes later passes. At least a minute.
	Horizon time.Duration
	// Observer is told what leaves no other trace. nil: nobody is.
	Observer Observer
}

// Observer is told about what enrich does silently. Its methods are called by
// several tasks at a time and must not block.
type Observer interface {
	// Task returns who is told what one task steps. It is called for each new
	// instance of the task; what was told of the one before and not committed
	// comes again.
	Task(task int) TaskObserver
	// BadReference: a record of a table was skipped, since it cannot be read.
	BadReference(topic string, err error)
}

// TaskObserver is told what a task does with transactions, on its goroutine and
// before it is committed. It keeps nothing of what it is handed.
type TaskObserver interface {
	// Enriched: t was accepted and emitted.
	Enriched(t *events.Enriched)
	// Duplicate: t was dropped, since its id was known.
	Duplicate(t *events.Transaction)
}

// DefaultConfig is: US dollars, the embedded rates, 10 minutes, no observer.
func DefaultConfig() Config {
	return Config{BaseCurrency: "USD", Horizon: 10 * time.Minute}
}

// validate checks what newConverter does not.
func (c Config) validate() error {
	if c.Horizon < time.Minute {
		return fmt.Errorf("the horizon for duplicates is %v, it must be at least a minute", c.Horizon)
	}
	return nil
}

type nobody struct{}

func (nobody) Task(int) TaskObserver         { return nobody{} }
func (nobody) Enriched(*events.Enriched)     {}
func (nobody) Duplicate(*events.Transaction) {}
func (nobody) BadReference(string, error)    {}
