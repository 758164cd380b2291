package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// revision is one version of a service. All but the constants is guarded by the
// service's mutex.
type revision struct {
	s      *Service
	cfg    Config
	number int
	name   string

	slots  []*slot
	ready  []*instance
	next   int // where the activator looks next, round robin
	scaler scaler
	failed bool // it has been said that it does not start
}

// slot is the place of one instance: its process is started again when it ends.
type slot struct {
	label   string
	retired chan struct{} // closed when the instance is to drain and end
}

// newRevision starts the next revision. s.mu is held.
func (s *Service) newRevision(cfg Config) *revision {
	s.mu.revisions++
	r := &revision{s: s, cfg: cfg, number: s.mu.revisions}
	r.name = fmt.Sprintf("%s-%05d", s.name, r.number)
	r.scaler = newScaler(cfg.Service, cfg.ScaleToZero, time.Now())
	r.scale(r.scaler.initial)
	return r
}

// scale makes the number of instances n. s.mu is held.
func (r *revision) scale(n int) {
	if r.s.mu.closed {
		return
	}
	for len(r.slots) < n {
		sl := &slot{label: r.s.label, retired: make(chan struct{})}
		if len(r.slots) > 0 || r.scaler.initial > 1 || r.cfg.Service.MaxScale > 1 {
			sl.label = fmt.Sprintf("%s-%d", r.s.label, len(r.slots)+1)
		}
		r.slots = append(r.slots, sl)
		r.s.wg.Go(func() { r.keep(sl) })
	}
	for len(r.slots) > n {
		last := len(r.slots) - 1
		close(r.slots[last].retired)
		r.slots = r.slots[:last]
	}
}

// retire lets all instances drain and end. s.mu is held.
func (r *revision) retire() { r.scale(0) }

// Pauses before a process that has ended is started again. They double from the
// first to the last; after a process that was ready for steady they begin anew.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	steady     = 10 * time.Second
)

// keep keeps the instance of a slot running until it is retired or the service
// is closed.
func (r *revision) keep(sl *slot) {
	pause := firstPause
	for {
		wasReady, err := r.run(sl)
		select {
		case <-sl.retired:
			return
		case <-r.s.ctx.Done():
			return
		default:
		}
		if wasReady >= steady {
			pause = firstPause
		}
		r.s.mu.Lock()
		r.s.mu.restarts++
		stuck := r == r.s.mu.incoming && !r.failed
		r.failed = r.failed || stuck
		serving := r.s.mu.current.name
		r.s.mu.Unlock()
		r.cfg.Logger.Error("function ended, starting it again", "service", sl.label, "reason", err, "in", pause)
		if stuck {
			r.cfg.Logger.Error("the new revision does not start; the old one goes on", "service", r.s.label, "new", r.name, "old", serving)
		}
		select {
		case <-time.After(pause):
		case <-sl.retired:
			return
		case <-r.s.ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// newID returns the name of a new instance, made as a pod's.
func (r *revision) newID() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = letters[rand.IntN(len(letters))]
	}
	return r.name + "-deployment-" + string(suffix)
}

// setRunning notes that an instance has a process, or has none any more.
func (r *revision) setRunning(in *instance, running bool) {
	s := r.s
	s.mu.Lock()
	s.mu.running = slices.DeleteFunc(s.mu.running, func(other *instance) bool { return other == in })
	if running {
		s.mu.running = append(s.mu.running, in)
	}
	s.mu.Unlock()
	switch {
	case running && r.cfg.Started != nil:
		r.cfg.Started(in.Instance)
	case !running && r.cfg.Ended != nil:
		r.cfg.Ended(in.Instance)
	}
}

// admitTo gives an instance requests from now on. A revision of which enough are
// ready takes over.
func (r *revision) admitTo(in *instance) {
	s := r.s
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return
	}
	r.ready = append(r.ready, in)
	var old *revision
	if r == s.mu.incoming && len(r.ready) >= len(r.slots) {
		old, s.mu.current, s.mu.incoming = s.mu.current, r, nil
		old.retire()
	}
	s.letIn()
	s.mu.Unlock()
	if r.cfg.Ready != nil {
		r.cfg.Ready(in.Instance, true)
	}
	if old != nil {
		r.cfg.Logger.Info("the new revision is ready and takes over; the old one drains", "service", s.label, "new", r.name, "old", old.name)
	}
}

// withdraw gives an instance no more requests, unless it has none.
func (r *revision) withdraw(in *instance) {
	r.s.mu.Lock()
	before := len(r.ready)
	r.ready = slices.DeleteFunc(r.ready, func(other *instance) bool { return other == in })
	was := len(r.ready) < before
	r.s.mu.Unlock()
	if was && r.cfg.Ready != nil {
		r.cfg.Ready(in.Instance, false)
	}
}
