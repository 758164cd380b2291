// Package service runs the functions of Services: each instance is a process of
// its own.
//
// Emulated: PORT, K_SERVICE, K_REVISION and K_CONFIGURATION in the environment;
// readiness by TCP on PORT and then by the readiness probe's path; requests only
// to instances that are ready, spread over them with no regard to their content;
// a request without a ready instance waits; restart with a growing pause when a
// process ends; SIGTERM, a time of grace, SIGKILL; min-scale instances.
//
// Different from a cluster: PORT is a free port and not containerPort, since all
// instances share one machine. POD_IP and INSTANCE_ID (the pod's name) are set
// too. The environment is that of the manifest plus what a process needs to run
// at all (PATH, HOME and the like); the user's other variables are kept out.
//
// Not yet: timeoutSeconds, containerConcurrency, the number of instances
// following the load, scale to zero.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"datasurge/knative"
)

// Config is what a service is started with.
type Config struct {
	Service *knative.Service
	// Command is the program and its arguments.
	Command []string
	// Env is put over the environment of the manifest.
	Env map[string]string
	// InstanceEnv gives variables of one instance; may be nil.
	InstanceEnv func(id string) map[string]string
	// Started and Ended tell of the processes; Ready of readiness that has come
	// or gone. They may be nil, and must not block.
	Started func(Instance)
	Ended   func(Instance)
	Ready   func(Instance, bool)
	// Output gets each line that an instance writes to its standard output or
	// standard error, without the line end.
	Output func(instance, line string)
	Logger *slog.Logger
}

// Instance is one process.
type Instance struct {
	Service string
	ID      string // unique to the process, as a pod's name is
	Label   string // for people: the service's name, with a number when there are several
	URL     string
	PID     int
}

// Service runs the instances of one service.
type Service struct {
	cfg    Config
	cancel context.CancelFunc
	probe  *http.Client
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		running  []*Instance // those with a process, in no order
		ready    []*Instance
		next     int           // round robin over ready
		waiters  chan struct{} // closed and replaced when ready grows
		restarts int
	}
}

// Start starts the instances of a service. Close has to be called.
func Start(cfg Config) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{cfg: cfg, cancel: cancel, probe: &http.Client{
		Timeout:       probeTimeout,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.mu.waiters = make(chan struct{})
	for i := range s.Size() {
		label := cfg.Service.Name
		if s.Size() > 1 {
			label = fmt.Sprintf("%s-%d", label, i+1)
		}
		s.wg.Go(func() { s.keep(ctx, label) })
	}
	return s
}

// Name is the service's name.
func (s *Service) Name() string { return s.cfg.Service.Name }

// Size is the number of instances that are kept running: min-scale, at least one.
func (s *Service) Size() int { return max(1, s.cfg.Service.MinScale) }

// Instances returns the instances that have a process.
func (s *Service) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Instance, len(s.mu.running))
	for i, in := range s.mu.running {
		list[i] = *in
	}
	return list
}

// Counts returns how many instances run and are ready, and how often a process
// has ended by itself.
func (s *Service) Counts() (running, ready, restarts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.running), len(s.mu.ready), s.mu.restarts
}

// Acquire returns the base URL of a ready instance, each time of the next one.
// It waits for one until ctx is done.
func (s *Service) Acquire(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		if n := len(s.mu.ready); n > 0 {
			s.mu.next++
			url := s.mu.ready[s.mu.next%n].URL
			s.mu.Unlock()
			return url, nil
		}
		wait := s.mu.waiters
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return "", fmt.Errorf("service %s has no ready instance: %w", s.Name(), context.Cause(ctx))
		}
	}
}

// Close stops the instances: SIGTERM, and SIGKILL when ctx is done. It returns
// when all processes have ended.
func (s *Service) Close(ctx context.Context) {
	s.mu.Lock()
	s.mu.ready = nil
	running := append([]*Instance(nil), s.mu.running...)
	s.mu.Unlock()
	s.cancel() // keep sends SIGTERM
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	for _, in := range running {
		s.cfg.Logger.Warn("did not stop in time and is killed", "service", in.Label, "pid", in.PID)
		kill(in.PID)
	}
	<-done
}

// Pauses before a process that has ended is started again. They double from the
// first to the last; after a process that was ready for steady they begin anew.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	steady     = 10 * time.Second
)

// keep keeps one instance running until ctx is done.
func (s *Service) keep(ctx context.Context, label string) {
	pause := firstPause
	for {
		wasReady, err := s.run(ctx, label)
		if ctx.Err() != nil {
			return
		}
		if wasReady >= steady {
			pause = firstPause
		}
		s.mu.Lock()
		s.mu.restarts++
		s.mu.Unlock()
		s.cfg.Logger.Error("function ended, starting it again", "service", label, "reason", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// newID returns the name of a new instance, made as a pod's.
func (s *Service) newID() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 5)
	for i := range suffix {
		suffix[i] = letters[rand.IntN(len(letters))]
	}
	return revision(s.Name()) + "-deployment-" + string(suffix)
}

// revision is the name of the only revision that a service has here.
func revision(service string) string { return service + "-00001" }

func (s *Service) setRunning(in *Instance, running bool) {
	s.mu.Lock()
	s.mu.running = without(s.mu.running, in)
	if running {
		s.mu.running = append(s.mu.running, in)
	}
	s.mu.Unlock()
	switch {
	case running && s.cfg.Started != nil:
		s.cfg.Started(*in)
	case !running && s.cfg.Ended != nil:
		s.cfg.Ended(*in)
	}
}

func (s *Service) setReady(ctx context.Context, in *Instance, ready bool) {
	s.mu.Lock()
	s.mu.ready = without(s.mu.ready, in)
	if ready && ctx.Err() == nil {
		s.mu.ready = append(s.mu.ready, in)
		close(s.mu.waiters)
		s.mu.waiters = make(chan struct{})
	}
	s.mu.Unlock()
	if s.cfg.Ready != nil {
		s.cfg.Ready(*in, ready)
	}
}

func without(list []*Instance, in *Instance) []*Instance {
	kept := make([]*Instance, 0, len(list)+1)
	for _, other := range list {
		if other != in {
			kept = append(kept, other)
		}
	}
	return kept
}
