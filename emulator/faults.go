package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"datasurge/emulator/broker"
	"datasurge/emulator/chaos"
	"datasurge/emulator/datadir"
)

// faults is what --chaos does to an emulator.
type faults struct {
	*chaos.Chaos
	log *faultLog
}

// makeFaults makes what --chaos asks for. Nothing is struck before it is started,
// when everything is up.
func (e *emulator) makeFaults() error {
	if e.config.chaos == nil {
		return nil
	}
	log, err := newFaultLog(filepath.Join(e.config.dataDir, datadir.FaultLog), e.config.chaos, func(line string) {
		e.screen.Line("%s", label("chaos")+line)
	})
	if err != nil {
		return fmt.Errorf("the log of faults: %w", err)
	}
	e.faults = &faults{log: log, Chaos: chaos.New(chaos.Config{
		Plan: *e.config.chaos, Victims: e.victims, RestartBroker: e.restartBroker, Record: log.record,
	})}
	return nil
}

// endFaults ends all faults, and returns when everything is up again. It may be
// called more than once.
func (e *emulator) endFaults() error {
	if e.faults == nil {
		return nil
	}
	e.faults.Stop()
	return e.faults.log.close()
}

// strike puts chaos between a dispatcher and the Services that it delivers to.
// Others are left alone: what is delivered to a KafkaSink again is written again,
// also on a cluster.
func (e *emulator) strike(dispatcher string, next http.RoundTripper) http.RoundTripper {
	if e.faults == nil {
		return next
	}
	struck := e.faults.Transport(dispatcher, next)
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if e.routes.serviceAt(req.URL) != nil {
			return struck.RoundTrip(req)
		}
		return next.RoundTrip(req)
	})
}

// victims are the processes of all functions.
func (e *emulator) victims() []chaos.Victim {
	e.mu.Lock()
	services := slices.Clone(e.services)
	e.mu.Unlock()
	var victims []chaos.Victim
	for _, s := range services {
		for _, in := range s.Instances() {
			victims = append(victims, chaos.Victim{Name: in.Label, Kill: func() error {
				p, err := os.FindProcess(in.PID)
				if err != nil {
					return err
				}
				return p.Kill()
			}})
		}
	}
	return victims
}

// restartWithin bounds the start of a broker that was stopped.
const restartWithin = 60 * time.Second

// restartBroker stops the embedded broker and starts it again after a pause. When
// that fails, the run ends.
func (e *emulator) restartBroker(ctx context.Context, down time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, restartWithin)
	defer cancel()
	err := e.broker.Close()
	timer := time.NewTimer(down)
	defer timer.Stop()
	<-timer.C
	if err == nil {
		_, err = e.openBroker(ctx, e.kafkaListen)
	}
	if err != nil {
		e.fail(fmt.Errorf("the broker does not start again: %w", err))
	}
	return err
}

// openBroker opens the embedded broker on an address and returns its listener,
// which the broker closes.
func (e *emulator) openBroker(ctx context.Context, address string) (net.Listener, error) {
	l, err := listen(ctx, "Kafka", "kafka-addr", address)
	if err != nil {
		return nil, err
	}
	b, err := broker.Open(ctx, broker.Config{Dir: e.dir.Kafka(), Listener: advertised{l}, Logger: e.log})
	if err != nil {
		return nil, err
	}
	e.broker = b
	e.serving.Go(func() {
		select {
		case err := <-b.Failed():
			e.fail(err)
		case <-e.stopped:
		}
	})
	return l, nil
}

// faultLog writes every fault to a file, of deliveries that were held up only their
// number, and tells of them on the screen: of kills and restarts one by one, of
// deliveries once a second how many there were, for they are many.
type faultLog struct {
	say  func(string)
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	failed error
	counts map[string]int // deliveries by what was done to them, since the last word
	last   map[string]string
	closed bool
}

// sayEvery is the pause between two words about deliveries.
const sayEvery = time.Second

func newFaultLog(path string, plan *chaos.Plan, say func(string)) (*faultLog, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	l := &faultLog{say: say, stop: make(chan struct{}), file: f, buffer: bufio.NewWriter(f), counts: make(map[string]int), last: make(map[string]string)}
	fmt.Fprintf(l.buffer, "%s chaos %s\n", time.Now().Format(time.RFC3339Nano), plan)
	say(fmt.Sprintf("%s; every fault stands in %s", plan, path))
	l.done.Go(l.sayRegularly)
	return l, nil
}

func (l *faultLog) record(f chaos.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.counts[f.Kind]++
	if f.Kind == "latency" {
		return // nearly every delivery is held up: their number is enough
	}
	l.write(f.Time, f.String())
	if f.Event == "" {
		l.say(f.String())
		return
	}
	l.last[f.Kind] = f.String()
}

// write writes a line to the file. l.mu is held.
func (l *faultLog) write(at time.Time, text string) {
	if _, err := fmt.Fprintf(l.buffer, "%s %s\n", at.Format(time.RFC3339Nano), text); err != nil && l.failed == nil {
		l.failed = err
	}
}

func (l *faultLog) sayRegularly() {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.mu.Lock()
			l.sayCounts()
			l.mu.Unlock()
		case <-l.stop:
			return
		}
	}
}

// sayCounts tells of deliveries. l.mu is held.
func (l *faultLog) sayCounts() {
	var parts []string
	for _, kind := range []string{"redeliver", "status"} {
		switch n := l.counts[kind]; {
		case n == 1:
			parts = append(parts, l.last[kind])
		case n > 1:
			parts = append(parts, fmt.Sprintf("%s %d events", kind, n))
		}
	}
	if n := l.counts["latency"]; n > 0 {
		text := fmt.Sprintf("latency %d events", n)
		l.write(time.Now(), text)
		parts = append(parts, text)
	}
	if len(parts) > 0 {
		l.say(strings.Join(parts, "; "))
	}
	clear(l.counts)
}

// close may be called more than once.
func (l *faultLog) close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.sayCounts()
	err := errors.Join(l.failed, l.buffer.Flush(), l.file.Close())
	l.mu.Unlock()
	close(l.stop)
	l.done.Wait()
	if err != nil {
		return fmt.Errorf("the log of faults is not complete: %w", err)
	}
	return nil
}
