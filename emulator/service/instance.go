package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// instance is one process with its queue-proxy. What changes is guarded by the
// service's mutex.
type instance struct {
	Instance
	host    string // and port, of the URL
	process process

	active int  // requests that the process has been given
	line   line // of those that wait for their turn at it
}

// run starts one process and returns when it has ended: for how long it was
// ready, and why it ended.
func (r *revision) run(sl *slot) (wasReady time.Duration, err error) {
	port, err := r.s.machine.port()
	if err != nil {
		return 0, err
	}
	in := &instance{host: net.JoinHostPort(loopback, strconv.Itoa(port))}
	in.Instance = Instance{
		Service: r.s.name, Revision: r.name, ID: r.newID(), Label: sl.label,
		URL: "http://" + in.host,
	}
	output := newLines(func(line string) { r.cfg.Output(sl.label, line) })
	if in.process, err = r.s.machine.start(r.cfg.Command, r.environment(in, port), output); err != nil {
		return 0, fmt.Errorf("%s cannot be started: %w", r.cfg.Command[0], err)
	}
	in.PID = in.process.pid()
	r.setRunning(in, true)

	watch, stop := context.WithCancel(context.Background())
	var probing sync.WaitGroup
	probing.Go(func() { wasReady = r.watchReadiness(watch, in) })
	endProbing := func() {
		stop()
		probing.Wait()
	}
	ended := make(chan error, 1)
	go func() { ended <- in.process.wait() }()
	select {
	case err = <-ended:
	case <-sl.retired:
		endProbing()
		r.withdraw(in)
		err = r.drain(in, ended)
	case <-r.s.ctx.Done():
		endProbing()
		err = r.terminateNow(in, ended)
	}
	endProbing()
	r.withdraw(in)
	output.flush()
	r.setRunning(in, false)
	if err == nil {
		err = errors.New("exit status 0")
	}
	return wasReady, err
}

const (
	// quiet is how long the queue-proxy waits after the last request that has come
	// before it lets SIGTERM through (drainSleepDuration in serving pkg/queue).
	quiet = 30 * time.Second
	// lastGrace is what Kubernetes leaves a process after SIGTERM when draining has
	// used up its time of grace.
	lastGrace = 2 * time.Second
)

// drain ends the process of an instance that gets no more requests: SIGTERM after
// a while, in which those that it has may end, and SIGKILL when timeoutSeconds
// have passed since it began to drain.
func (r *revision) drain(in *instance, ended <-chan error) error {
	timeout := r.cfg.Service.Timeout
	wait := min(cmp.Or(r.cfg.Drain, quiet), timeout)
	pause := time.NewTimer(wait)
	defer pause.Stop()
	select {
	case err := <-ended:
		return err
	case <-pause.C:
	case <-r.s.ctx.Done():
		return r.terminateNow(in, ended)
	}
	in.process.terminate()
	grace := time.NewTimer(max(timeout-wait, lastGrace))
	defer grace.Stop()
	select {
	case err := <-ended:
		return err
	case <-grace.C:
	case <-r.s.overdue:
	}
	return r.kill(in, ended)
}

// terminateNow ends a process of a service that is being closed: SIGTERM, and
// SIGKILL when Close has no more time.
func (r *revision) terminateNow(in *instance, ended <-chan error) error {
	in.process.terminate()
	select {
	case err := <-ended:
		return err
	case <-r.s.overdue:
		return r.kill(in, ended)
	}
}

func (r *revision) kill(in *instance, ended <-chan error) error {
	r.cfg.Logger.Warn("did not stop in time and is killed", "service", in.Label, "pid", in.PID)
	in.process.kill()
	return <-ended
}
