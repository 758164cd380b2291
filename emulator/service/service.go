// Package service runs the functions of Services: each instance is a process of
// its own.
//
// Emulated, after the sources of Knative Serving: PORT, K_SERVICE, K_REVISION and
// K_CONFIGURATION in the environment; readiness by TCP on PORT, or by the
// readiness probe's path, before any request; requests only to instances that are
// ready, spread over them with no regard to their content, by the activator when
// it is in the path; a request without a ready instance waits and wakes one;
// timeoutSeconds, containerConcurrency with the queues of the activator and of the
// queue-proxy, and their answers; the number of instances between min-scale and
// max-scale, following the load as the autoscaler (KPA) makes it follow, with all
// of its annotations; scale to zero, when it is asked for; a change as a new
// revision, which takes over when it is ready while the old one drains; SIGTERM
// after 30 s of draining, SIGKILL after timeoutSeconds; restart with a growing
// pause when a process ends.
//
// Different from a cluster:
//
//   - PORT is a free port and not containerPort, since all instances share one
//     machine. POD_IP and INSTANCE_ID (the pod's name) are set too.
//   - The environment is that of the manifest plus what a process needs to run at
//     all (PATH, HOME and the like); the user's other variables are kept out.
//   - Without max-scale a cluster has no bound. Here there are at most 110
//     instances, which is what one node of Kubernetes takes.
//   - Scale to zero is off unless asked for, so that what a function keeps in
//     memory does not vanish while one looks at it.
package service

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"datasurge/knative"
)

// Config is what a service is started with.
type Config struct {
	Service *knative.Service
	// Label is what people are told as the service's name; default is that.
	Label string
	// Command is the program and its arguments.
	Command []string
	// Env is put over the environment of the manifest: what the machine is
	// different in, and K_SINK and K_CE_OVERRIDES where a SinkBinding gives them.
	Env map[string]string
	// InstanceEnv gives variables of one instance; may be nil.
	InstanceEnv func(id string) map[string]string
	// ScaleToZero ends the last instance after 90 s without a request, when
	// min-scale is 0.
	ScaleToZero bool
	// Drain is how long an instance that gets no more requests is left before its
	// SIGTERM. Default is 30 s, for which a queue-proxy waits, since the cluster's
	// routers hear of it later.
	Drain time.Duration
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
	Service  string
	Revision string
	ID       string // unique to the process, as a pod's name is
	Label    string // for people: the service's, with a number when there may be several
	URL      string
	PID      int
}

// Service runs the revisions of one service: one that gets the requests, perhaps
// one that is to take over when it is ready, and those that drain.
type Service struct {
	name    string
	label   string // the name for people
	machine machine
	ctx     context.Context // done when everything is to end now
	cancel  context.CancelFunc
	overdue chan struct{} // closed when Close has no more time
	wg      sync.WaitGroup

	mu struct {
		sync.Mutex
		closed    bool
		revisions int         // that there have been
		current   *revision   // gets the requests
		incoming  *revision   // nil, or not ready yet
		running   []*instance // those with a process, of all revisions, in no order
		line      line        // of requests that wait for an instance, in the activator
		meter     meter
		restarts  int
	}
}

// Start starts a service. Close has to be called.
func Start(cfg Config) *Service { return startOn(newHost(), cfg) }

func startOn(m machine, cfg Config) *Service {
	s := &Service{name: cfg.Service.Name, label: cmp.Or(cfg.Label, cfg.Service.Name), machine: m, overdue: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.meter = meter{last: time.Now()}
	s.mu.Lock()
	s.mu.current = s.newRevision(cfg)
	s.mu.Unlock()
	s.wg.Go(s.autoscale)
	return s
}

// Update makes a new revision of the service. It gets the requests when as many
// of its instances are ready as it begins with; until then, however long, the
// present one goes on. A revision that was to take over and is not ready yet is
// given up.
func (s *Service) Update(cfg Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return
	}
	if s.mu.incoming != nil {
		s.mu.incoming.retire()
	}
	s.mu.incoming = s.newRevision(cfg)
}

// Label is the name of the service for people.
func (s *Service) Label() string { return s.label }

// Spec is the manifest of the revision that gets the requests.
func (s *Service) Spec() *knative.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.current.cfg.Service
}

// Size is the number of instances that are wanted now.
func (s *Service) Size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.current.slots)
}

// Revision is the name of the revision that gets the requests.
func (s *Service) Revision() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.current.name
}

// Instances returns the instances that have a process.
func (s *Service) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Instance, len(s.mu.running))
	for i, in := range s.mu.running {
		list[i] = in.Instance
	}
	return list
}

// Counts returns how many instances run and how many of them get requests, and
// how often a process has ended by itself.
func (s *Service) Counts() (running, ready, restarts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.running), len(s.mu.current.ready), s.mu.restarts
}

// Close stops the instances: SIGTERM at once, and SIGKILL when ctx is done. It
// returns when all processes have ended. It may be called once.
func (s *Service) Close(ctx context.Context) {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.cancel() // each instance's goroutine sends SIGTERM
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
	close(s.overdue)
	<-done
}
