package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"datasurge/emulator/service"
	"datasurge/emulator/status"
)

// Bounds of a stop, which ends within five seconds.
const (
	sourcesWithin  = 1500 * time.Millisecond
	servicesWithin = 2500 * time.Millisecond
	countWithin    = 500 * time.Millisecond
)

// stop stops everything that was started, in the order in which events flow, so
// that nothing is under way when the broker ends:
//
//  1. The sources end as on a cluster that is stopped: requests under way are cut,
//     and no position is committed. What came since the last commit comes again at
//     the next start, and functions recognise it. With --pace graceful they wait
//     for the events under way and commit their positions.
//  2. The functions commit what they have. Those without a source (generate) are
//     asked at once, together with 1.
//  3. What has been committed is counted, and the account is printed.
//  4. HTTP, at which functions ask for their partitions; then the broker.
//
// It may be called when only a part was started.
func (e *emulator) stop() error {
	faultsErr := e.endFaults()
	if e.prometheus != nil {
		e.prometheus.Close()
	}
	if e.display != nil {
		e.display.close()
	}
	e.health.close()
	for _, p := range e.pings {
		p.Close()
	}
	var producers sync.WaitGroup
	fed := e.fedServices()
	for _, s := range e.services {
		if !fed[s] {
			producers.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), sourcesWithin+servicesWithin)
				defer cancel()
				s.Close(ctx)
			})
		}
	}
	e.closeSources()
	var consumers sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), servicesWithin)
	defer cancel()
	for _, s := range e.services {
		if fed[s] {
			consumers.Go(func() { s.Close(ctx) })
		}
	}
	consumers.Wait()
	producers.Wait()
	if e.follower != nil {
		ctx, cancel := context.WithTimeout(context.Background(), countWithin)
		defer cancel()
		if err := e.follower.CatchUp(ctx); err != nil {
			e.log.Warn("the last records are not in the account", "error", err)
		}
		if e.display != nil {
			for _, line := range status.Account(e.display.total()) {
				e.screen.Line("%s", line)
			}
		}
		e.follower.Close()
	}
	if e.server != nil {
		e.server.Close()
		e.transport.CloseIdleConnections()
	}
	if e.sinks != nil {
		e.sinks.Close()
	}
	if e.admin != nil {
		e.admin.Close()
	}
	err := faultsErr
	if e.broker != nil {
		err = errors.Join(err, e.broker.Close())
	}
	close(e.stopped)
	e.serving.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dir != nil {
		err = errors.Join(err, e.dir.Close())
		e.dir = nil
	}
	return err
}

// fedServices are the services that a source delivers to.
func (e *emulator) fedServices() map[*service.Service]bool {
	fed := make(map[*service.Service]bool)
	for _, s := range e.sources {
		if ref := s.spec.Sink.Ref; ref != nil && ref.Kind == "Service" {
			fed[e.routes.service(ref.Namespace, ref.Name)] = true
		}
	}
	return fed
}

func (e *emulator) closeSources() {
	ctx, cancel := context.WithTimeout(context.Background(), sourcesWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range e.sources {
		if e.config.pace.graceful {
			all.Go(func() { s.Close(ctx) })
		} else {
			all.Go(s.Kill)
		}
	}
	all.Wait()
}
