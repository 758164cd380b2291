// Package enrich is the function enrich: it validates transactions, drops those
// that were written twice, and adds what detection needs to know about the
// merchant, the place, the local time and the amount.
//
// Its state is the ids of the last minutes (duplicates) and where each customer
// lives (home). The homes are never forgotten; they are 9 bytes each.
package enrich

import (
	"errors"
	"fmt"
	"time"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
)

// Kinds of state keys.
const (
	kindChunk = step.FirstKind + iota // ids seen: minute, commit, part
	kindHome                          // home of a customer: user id
)

// Definition declares enrich to the engine. An error says what is wrong in cfg.
func Definition(cfg Config) (step.Definition, error) {
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if err := cfg.validate(); err != nil {
		return step.Definition{}, fmt.Errorf("configuration of enrich: %w", err)
	}
	converter, err := newConverter(cfg.BaseCurrency, cfg.Rates)
	if err != nil {
		return step.Definition{}, fmt.Errorf("configuration of enrich: %w", err)
	}
	gazetteer, err := reference.LoadGazetteer()
	if err != nil {
		return step.Definition{}, err
	}
	return step.Definition{
		Name: "enrich",
		Inputs: []step.Input{{
			Topic: events.TopicTransactions,
			Types: []string{events.TypeTransaction, events.TypePlain},
		}},
		Outputs: []step.Output{{Topic: events.TopicEnriched, Watermarks: true}},
		Tables:  []step.Table{merchantTable(cfg.Observer), riskTable(cfg.Observer)},
		// Neither the horizon nor the base currency gives stored state another
		// meaning.
		Settings: "enrich/1",
		Codecs: map[byte]step.Codec{
			kindChunk: {Append: appendChunk, Parse: parseChunk},
			kindHome:  {Append: appendHome, Parse: parseHome},
		},
		New: func(task step.Task) step.Function {
			return &enrich{
				converter:  converter,
				gazetteer:  gazetteer,
				observer:   cfg.Observer.Task(task.Partition),
				duplicates: newDuplicates(cfg.Horizon, task.State),
			}
		},
	}, nil
}

// enrich is the instance of one task.
type enrich struct {
	converter  *converter
	gazetteer  *reference.Gazetteer
	observer   TaskObserver
	duplicates *duplicates
	homeKey    []byte // scratch
	arena      events.Arena
	out        events.Enriched // scratch
	enriched   events.Event    // scratch
}

// Step implements step.Function.
func (f *enrich) Step(tx step.Tx, e *events.Event) error {
	out := &f.out
	*out = events.Enriched{}
	if err := events.ParseTransaction(e.Data, &out.Transaction); err != nil {
		return err
	}
	base, err := f.converter.convert(out.Amount, out.Currency)
	if err != nil {
		return f.invalidAmount(err)
	}
	if err := tx.Observe(out.Time); err != nil {
		return err
	}
	id := identify(out.TransactionID)
	if f.duplicates.known(id, tx.Watermark()) {
		f.observer.Duplicate(&out.Transaction)
		return nil
	}
	f.duplicates.remember(tx, id, out.Time)

	out.BaseAmount, out.BaseCurrency = base, f.converter.base
	merchant := tx.Table(reference.TopicMerchants).(merchants)[out.MerchantID]
	out.Category = merchant.Category
	if out.Category == "" {
		out.Category = reference.UnknownCategory
	}
	out.MerchantRisk = tx.Table(events.TopicRisk).(risks)[out.MerchantID]

	place, known := f.place(out.Location, merchant.Country)
	out.Country = place.Country
	out.LocalHour, out.Night, out.Weekend = localTime(out.Time, place)
	if known {
		f.homeKey = append(append(f.homeKey[:0], kindHome), out.UserID...)
		out.DistanceKm = settle(tx, f.homeKey, place)
	}
	f.arena.Reset()
	f.enriched = f.arena.NewEnriched(out)
	tx.Emit(events.TopicEnriched, &f.enriched)
	f.observer.Enriched(out)
	return nil
}

// Tick implements step.Function.
func (f *enrich) Tick(tx step.Tx, _ time.Time) error {
	f.duplicates.forget(tx)
	return nil
}

// invalidAmount says why an amount cannot be brought to the base currency. A
// transaction without a rate is refused rather than passed on with a made-up
// base amount: it stays in dead_letters, and can be sent again once the rate is
// configured.
func (f *enrich) invalidAmount(err error) error {
	if errors.Is(err, errNoRate) {
		return &events.InvalidError{
			Path:   "$.currency",
			Reason: "has no reference rate to " + f.converter.base + "; add one to the rates of enrich",
		}
	}
	return &events.InvalidError{
		Path:   "$.amount",
		Reason: "is too large to be converted to " + f.converter.base,
	}
}

// place is where a transaction took place: what its location says, and where that
// leaves the country open, the merchant's country.
func (f *enrich) place(location, merchantCountry string) (reference.Place, bool) {
	place, ok := f.gazetteer.Find(location)
	if !ok {
		return f.gazetteer.Country(merchantCountry)
	}
	if place.Country == "" {
		place.Country = merchantCountry
	}
	return place, true
}

// localTime returns the hour of day at a place by the sun (see
// reference.Place.UTCOffset), whether that is from 0 to 6, and whether it is
// Saturday or Sunday there.
func localTime(ms int64, place reference.Place) (hour int, night, weekend bool) {
	const hourMs, dayHours = 3_600_000, 24
	hours := floorDiv(ms, hourMs) + int64(place.UTCOffset())
	day := floorDiv(hours, dayHours)
	hour = int(hours - day*dayHours)
	weekday := time.Weekday(((day+int64(time.Thursday))%7 + 7) % 7) // the epoch was a Thursday
	return hour, hour <= 6, weekday == time.Saturday || weekday == time.Sunday
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
