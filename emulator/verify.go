package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"datasurge/emulator/account"
	functions "datasurge/functions/run"
	"datasurge/functions/window"
)

// settle makes the account of everything that went through: it ends the faults
// and the producers, waits until all is done, and compares the topics.
func (e *emulator) settle(ctx context.Context) (*account.Account, error) {
	if err := e.endFaults(); err != nil {
		return nil, err
	}
	options, err := e.accountOptions()
	if err != nil {
		return nil, err
	}
	e.log.Info("the account is made: nothing more is generated, and what is under way is waited for; Ctrl-C ends it")
	e.stopProducers(ctx)
	a, err := account.Settle(ctx, account.Config{
		Kafka: e.kafka, Begin: e.begin, Options: options, Busy: e.busy,
		Progress: func(text string) { e.log.Info("waiting: " + text) },
	})
	if ctx.Err() != nil {
		return nil, errors.New("the account was interrupted, so nothing is known of losses")
	}
	if err != nil {
		return nil, fmt.Errorf("the account could not be made: %w", err)
	}
	for _, s := range e.sources {
		stats := s.Stats()
		a.Deliveries = append(a.Deliveries, account.Delivery{
			Source: s.spec.Name, Delivered: stats.Delivered, Failed: stats.Failed, DeadLetters: stats.DeadLetters, Lost: stats.Lost,
		})
	}
	if e.faults != nil {
		a.Faults = e.faults.Counts()
	}
	return &a, nil
}

// stopProducers stops the services that no source delivers to.
func (e *emulator) stopProducers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sourcesWithin+servicesWithin)
	defer cancel()
	fed := e.fedServices()
	var all sync.WaitGroup
	for _, s := range e.services {
		if !fed[s] {
			all.Go(func() { s.Close(ctx) })
		}
	}
	all.Wait()
}

// busy says what is on its way through the sources.
func (e *emulator) busy() string {
	var inFlight int
	var waiting int64
	for _, s := range e.sources {
		stats := s.Stats()
		inFlight += stats.InFlight
		for _, t := range s.spec.Topics {
			waiting += e.follower.Lag(t, stats.Next[t])
		}
	}
	if inFlight == 0 && waiting == 0 {
		return ""
	}
	return fmt.Sprintf("%d events are being delivered, %d wait for it", inFlight, waiting)
}

// accountOptions are what the account has to know of the functions.
func (e *emulator) accountOptions() (o account.Options, err error) {
	if o.Windows, err = window.ParseSpecs(e.variable("aggregate", "WINDOWS")); err != nil {
		return o, fmt.Errorf("WINDOWS of aggregate: %w", err)
	}
	if o.Lateness, err = time.ParseDuration(e.variable("aggregate", "LATENESS")); err != nil {
		return o, fmt.Errorf("LATENESS of aggregate: %w", err)
	}
	if o.Horizon, err = time.ParseDuration(e.variable("enrich", "DEDUPE_HORIZON")); err != nil {
		return o, fmt.Errorf("DEDUPE_HORIZON of enrich: %w", err)
	}
	if !e.runs("aggregate") {
		o.Windows = nil
	}
	if !e.begin.Whole && o.Windows != nil {
		// Windows that had begun before are not all here. Whoever replays may
		// come back to any of them.
		ahead, err := time.ParseDuration(e.variable("enrich", "MAX_AHEAD"))
		if err != nil {
			return o, fmt.Errorf("MAX_AHEAD of enrich: %w", err)
		}
		if o.WindowsFrom = e.started.Add(ahead).UnixMilli(); ahead == 0 || e.config.profile == "handbook" {
			o.Windows = nil
		}
	}
	return o, nil
}

// variable returns a variable of the function's environment: what the emulator
// sets, what the manifest does, or the default.
func (e *emulator) variable(function, name string) string {
	for _, s := range e.set.Services {
		if s.Getenv("FUNCTION") == function {
			return cmp.Or(e.config.overrides(s, nil)[name], s.Getenv(name), functions.DefaultOf(name))
		}
	}
	return functions.DefaultOf(name)
}

// runs reports whether a service runs the function.
func (e *emulator) runs(function string) bool {
	for _, s := range e.set.Services {
		if s.Getenv("FUNCTION") == function {
			return true
		}
	}
	return false
}
