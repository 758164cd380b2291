package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// RoundTrip sends a request to an instance over base, as the activator and the
// queue-proxy of Serving do (pkg/activator/handler, pkg/queue, pkg/http/handler):
//
//   - It waits for an instance that is ready, and wakes a service that is scaled
//     to zero.
//   - Of the instances that have room the next gets it, whatever is in it.
//   - With containerConcurrency it waits for its turn at the instance. At most ten
//     times as many requests wait; one more is answered 503, "pending request
//     queue full".
//   - When no answer has come timeoutSeconds after the request, it is 504,
//     "request timeout" or, without a ready instance, "activator request timeout".
//     An answer that is not complete by then breaks off.
//   - When the instance does not answer (it refuses, resets, sends no HTTP), the
//     answer is 502.
//
// The request's scheme and host are replaced, and path is put for its path. The
// body of the answer has to be read to its end, or closed. The error is that of
// the request's context.
func (s *Service) RoundTrip(base http.RoundTripper, req *http.Request, path string) (*http.Response, error) {
	parent := req.Context()
	ctx, cancel := context.WithTimeoutCause(parent, s.begin(), errTimeout)
	in, err := s.admit(ctx)
	if err != nil {
		s.end()
		cancel()
		closeBody(req)
		return s.failure(parent, req, err)
	}
	target, err := url.Parse(in.URL)
	if err != nil {
		panic("service: the URL of an instance: " + err.Error()) // we made it
	}
	out := req.WithContext(ctx)
	target.Path, target.RawQuery = path, req.URL.RawQuery
	out.URL = target
	resp, err := base.RoundTrip(out)
	if err != nil {
		s.leave(in)
		s.end()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel()
		return s.failure(parent, req, err)
	}
	resp.Body = &answer{ReadCloser: resp.Body, done: func() {
		s.leave(in)
		s.end()
		cancel()
	}}
	return resp, nil
}

var (
	errTimeout   = errors.New("request timeout")
	errColdStart = errors.New("activator request timeout")
	errQueueFull = errors.New("pending request queue full")
)

// failure is the answer when there is none of the instance's.
func (s *Service) failure(parent context.Context, req *http.Request, err error) (*http.Response, error) {
	if parent.Err() != nil {
		return nil, context.Cause(parent)
	}
	status, text := http.StatusBadGateway, ""
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, errColdStart):
		status, text = http.StatusGatewayTimeout, err.Error() // without a line end, as the timeout handler writes it
	case errors.Is(err, errQueueFull):
		status, text = http.StatusServiceUnavailable, err.Error()+"\n"
	case errors.Is(err, errClosed):
		status, text = http.StatusServiceUnavailable, fmt.Sprintf("service %s has been stopped\n", s.name)
	default:
		text = fmt.Sprintf("service %s does not answer: %v\n", s.name, err)
	}
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: req,
	}, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// answer is a body that tells when it has been read, once.
type answer struct {
	io.ReadCloser
	done func()
}

func (a *answer) finish() {
	if a.done != nil {
		a.done()
		a.done = nil
	}
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.finish()
	}
	return n, err
}

// Close implements io.Closer.
func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.finish()
	return err
}

// begin notes that a request has come and returns how long it may take.
func (s *Service) begin() (timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.meter.add(time.Now(), 1)
	if r := s.mu.current; len(r.slots) == 0 {
		r.scale(1)
	}
	return s.mu.current.cfg.Service.Timeout
}

// end notes that a request has ended.
func (s *Service) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.meter.add(time.Now(), -1)
}

var errClosed = errors.New("closed")

// admit chooses an instance for a request and waits for its turn. When there is
// no error, leave has to be called.
func (s *Service) admit(ctx context.Context) (*instance, error) {
	in, turn, err := s.choose(ctx)
	if err != nil || turn == nil {
		return in, err
	}
	select {
	case <-turn:
		return in, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(in.waiting, turn)
	if i >= 0 {
		in.waiting = slices.Delete(in.waiting, i, i+1)
		in.checkIdle()
	}
	s.mu.Unlock()
	if i < 0 {
		s.leave(in) // the turn came all the same
	}
	return nil, context.Cause(ctx)
}

// choose returns the next ready instance, and what to wait for when it has no
// room, nil when it has. Without a ready instance it waits for one.
func (s *Service) choose(ctx context.Context) (in *instance, turn chan struct{}, err error) {
	for {
		s.mu.Lock()
		switch r := s.mu.current; {
		case s.mu.closed:
			s.mu.Unlock()
			return nil, nil, errClosed
		case len(r.ready) > 0:
			in := s.pick(r)
			turn, err := in.enter(r.cfg.Service.Concurrency)
			s.mu.Unlock()
			return in, turn, err
		}
		wait := s.mu.waiters
		s.mu.Unlock()
		select {
		case <-wait:
		case <-s.ctx.Done():
			return nil, nil, errClosed
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, errTimeout) {
				return nil, nil, err
			}
			return nil, nil, errColdStart
		}
	}
}

// pick returns the next instance in turn that has room, or else the one with the
// shortest queue. s.mu is held.
func (s *Service) pick(r *revision) *instance {
	s.mu.next++
	limit := r.cfg.Service.Concurrency
	var shortest *instance
	for i := range r.ready {
		in := r.ready[(s.mu.next+i)%len(r.ready)]
		if limit == 0 || in.active < limit {
			return in
		}
		if shortest == nil || len(in.waiting) < len(shortest.waiting) {
			shortest = in
		}
	}
	return shortest
}

// queueFactor is how many times containerConcurrency requests may wait at an
// instance (serving cmd/queue).
const queueFactor = 10

// enter gives a request to an instance, of which limit may be under way at a
// time, 0: any number. turn is closed when the request may go, nil when it may
// now. The service's mutex is held.
func (in *instance) enter(limit int) (turn chan struct{}, err error) {
	switch {
	case limit == 0 || in.active < limit:
		in.active++
		return nil, nil
	case len(in.waiting) >= queueFactor*limit:
		return nil, errQueueFull
	}
	turn = make(chan struct{})
	in.waiting = append(in.waiting, turn)
	return turn, nil
}

// leave ends a request: it is the next one's turn.
func (s *Service) leave(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(in.waiting) > 0 {
		close(in.waiting[0])
		in.waiting = slices.Delete(in.waiting, 0, 1)
		return
	}
	in.active--
	in.checkIdle()
}

// checkIdle tells a draining instance that its last request has ended. The
// service's mutex is held.
func (in *instance) checkIdle() {
	if in.draining && in.active == 0 && len(in.waiting) == 0 {
		close(in.idle)
	}
}
