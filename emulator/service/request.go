package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
//   - An instance gets it, whatever is in it (balance.go).
//   - With containerConcurrency it waits for its turn: in the activator, when that
//     is in the path, for any instance, with at most 10,000 others; else at an
//     instance, with at most ten times as many. One more is answered 503, "pending
//     request queue full".
//   - When no answer has come timeoutSeconds after the request, it is 504,
//     "activator request timeout" or, without the activator, "request timeout". An
//     answer that is not complete by then breaks off.
//   - When the instance does not answer (it refuses, resets, sends no HTTP), the
//     answer is 502.
//
// The request's scheme and host are replaced, and path is put for its path. The
// body of the answer has to be read to its end, or closed. The error is that of
// the request's context.
func (s *Service) RoundTrip(base http.RoundTripper, req *http.Request, path string) (*http.Response, error) {
	parent := req.Context()
	timeout, cause := s.begin()
	ctx, cancel := within(parent, timeout, cause)
	in, err := s.admit(ctx)
	if err != nil {
		s.end()
		cancel()
		closeBody(req)
		return s.failure(parent, req, err)
	}
	out := req.WithContext(ctx) // a copy
	out.URL = &url.URL{Scheme: "http", Host: in.host, Path: path, RawQuery: req.URL.RawQuery}
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

// within returns a context that ends with cause after d, unless parent ends by
// itself before that.
func within(parent context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if end, ok := parent.Deadline(); ok && time.Until(end) < d {
		return parent, func() {}
	}
	return context.WithTimeoutCause(parent, d, cause)
}

var (
	errTimeout          = errors.New("request timeout")
	errActivatorTimeout = errors.New("activator request timeout")
	errQueueFull        = errors.New("pending request queue full")
)

// failure is the answer when there is none of the instance's.
func (s *Service) failure(parent context.Context, req *http.Request, err error) (*http.Response, error) {
	if parent.Err() != nil {
		return nil, context.Cause(parent)
	}
	status, text := http.StatusBadGateway, ""
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, errActivatorTimeout):
		status, text = http.StatusGatewayTimeout, err.Error() // without a line end, as the timeout handler writes it
	case errors.Is(err, errQueueFull):
		status, text = http.StatusServiceUnavailable, err.Error()+"\n"
	case errors.Is(err, errClosed):
		status, text = http.StatusServiceUnavailable, fmt.Sprintf("service %s has been stopped\n", s.label)
	default:
		text = fmt.Sprintf("service %s does not answer: %v\n", s.label, err)
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

// begin notes that a request has come and returns how long it may take, and what
// it is answered when that is over. The activator's clock begins before the
// queue-proxy's.
func (s *Service) begin() (timeout time.Duration, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.meter.add(time.Now(), 1)
	r := s.mu.current
	if len(r.slots) == 0 {
		r.scale(max(1, r.scaler.active))
	}
	cause = errTimeout
	if r.proxied() {
		cause = errActivatorTimeout
	}
	return r.cfg.Service.Timeout, cause
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
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	r := s.mu.current
	limit := r.cfg.Service.Concurrency
	if in := r.pick(); in != nil && (limit == 0 || in.active < limit) {
		in.active++
		s.mu.Unlock()
		return in, nil
	} else if in != nil {
		turn, err := in.line.join(queueFactor * limit)
		s.mu.Unlock()
		return s.await(ctx, &in.line, turn, err)
	}
	depth := activatorQueue
	if limit == 0 {
		depth = math.MaxInt
	}
	turn, err := s.mu.line.join(depth)
	s.mu.Unlock()
	return s.await(ctx, &s.mu.line, turn, err)
}

// await waits for a turn in a line.
func (s *Service) await(ctx context.Context, l *line, turn chan *instance, err error) (*instance, error) {
	if err != nil {
		return nil, err
	}
	select {
	case in := <-turn:
		return in, nil
	case <-s.ctx.Done():
		err = errClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	waited := l.quit(turn)
	s.mu.Unlock()
	if !waited {
		s.leave(<-turn) // it came all the same
	}
	return nil, err
}

// leave ends a request: it is the next one's turn.
func (s *Service) leave(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.line.next(in) {
		return
	}
	in.active--
	s.letIn()
}

// letIn gives instances that have room to those who wait for one. s.mu is held.
func (s *Service) letIn() {
	for len(s.mu.line) > 0 {
		in := s.mu.current.choose()
		if in == nil {
			return
		}
		in.active++
		s.mu.line.next(in)
	}
}

const (
	// queueFactor is how many times containerConcurrency requests may wait at an
	// instance (serving cmd/queue).
	queueFactor = 10
	// activatorQueue is how many may wait in the activator, if there is a
	// containerConcurrency (breakerQueueDepth in serving pkg/activator/net).
	activatorQueue = 10_000
)

// line is where requests wait for an instance, in order. The service's mutex
// guards it.
type line []chan *instance

// join returns what the instance comes by when it is the request's turn.
func (l *line) join(depth int) (turn chan *instance, err error) {
	if len(*l) >= depth {
		return nil, errQueueFull
	}
	turn = make(chan *instance, 1)
	*l = append(*l, turn)
	return turn, nil
}

// quit reports whether the request still waited, which it does no more.
func (l *line) quit(turn chan *instance) bool {
	i := slices.Index(*l, turn)
	if i < 0 {
		return false
	}
	*l = slices.Delete(*l, i, i+1)
	return true
}

// next gives in to the first that waits, if there is one.
func (l *line) next(in *instance) bool {
	if len(*l) == 0 {
		return false
	}
	(*l)[0] <- in
	*l = slices.Delete(*l, 0, 1)
	return true
}
