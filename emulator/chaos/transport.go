package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Transport returns a RoundTripper that strikes the deliveries of a source on
// their way to next. Requests that are no events, and events on their way to a
// dead letter sink, which would be written twice, are left alone.
func (c *Chaos) Transport(source string, next http.RoundTripper) http.RoundTripper {
	return &transport{chaos: c, source: source, next: next, attempts: make(map[string]uint64)}
}

type transport struct {
	chaos  *Chaos
	source string
	next   http.RoundTripper

	mu       sync.Mutex
	attempts map[string]uint64 // of events whose last attempt was answered with an error by us
}

// What draw is asked for.
const (
	drawStatus    = "status"
	drawWhen      = "status when"
	drawLatency   = "latency"
	drawRedeliver = "redeliver"
	drawPause     = "redeliver pause"
)

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	id := req.Header["Ce-Id"]
	if t.chaos.stopped.Load() || len(id) == 0 || req.Header.Get("Ce-Knativeerrordest") != "" {
		return t.next.RoundTrip(req)
	}
	plan := &t.chaos.cfg.Plan
	event := req.Header.Get("Ce-Type") + " " + id[0]
	attempt := t.attempt(event)
	strike := func(what string) float64 {
		return unit(draw(plan.Seed, what, t.source, event, strconv.FormatUint(attempt, 10)))
	}

	if plan.Latency > 0 {
		if err := t.hold(req.Context(), time.Duration(strike(drawLatency)*float64(plan.Latency)), event); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	status, refused := plan.status(strike(drawStatus))
	t.note(event, attempt, refused)
	if refused && strike(drawWhen) < 0.5 {
		closeBody(req)
		t.chaos.record(Fault{Kind: "status", Where: t.source, Event: event, Detail: fmt.Sprintf("answered %d, not delivered", status)})
		return answer(req, status), nil
	}
	if refused || strike(drawRedeliver) >= plan.Redeliver {
		resp, err := t.next.RoundTrip(req)
		if !refused || err != nil {
			return resp, err
		}
		resp.Body.Close()
		t.chaos.record(Fault{Kind: "status", Where: t.source, Event: event, Detail: fmt.Sprintf("answered %d in place of %d", status, resp.StatusCode)})
		return answer(req, status), nil
	}
	return t.twice(req, event, strike(drawPause))
}

// twice delivers req and, at the same time or later, once more. When the copy
// comes is told by at, from 0 to 1.
func (t *transport) twice(req *http.Request, event string, at float64) (*http.Response, error) {
	body, err := read(req)
	if err != nil {
		return nil, err
	}
	copied := req.Clone(context.WithoutCancel(req.Context()))
	copied.Body = body()
	req = req.Clone(req.Context())
	req.Body = body()
	if !t.chaos.begin() {
		return t.next.RoundTrip(req) // enough are under way
	}
	if at < 0.5 {
		go t.copy(copied, event, 0)
		return t.next.RoundTrip(req)
	}
	resp, err := t.next.RoundTrip(req)
	go t.copy(copied, event, time.Duration((at-0.5)*2*float64(latestCopy)))
	return resp, err
}

// latestCopy is how long after a delivery it may come again.
const latestCopy = 2 * time.Second

// copyTimeout bounds a delivery whose answer nobody waits for.
const copyTimeout = 30 * time.Second

// copy sends a copy after pause, or at once when chaos ends.
func (t *transport) copy(req *http.Request, event string, pause time.Duration) {
	defer t.chaos.end()
	detail := "at the same time"
	if pause > 0 {
		detail = fmt.Sprintf("%v later", pause.Round(time.Millisecond))
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.chaos.ending:
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), copyTimeout)
	defer cancel()
	if resp, err := t.next.RoundTrip(req.WithContext(ctx)); err != nil {
		detail += ", no answer"
	} else {
		io.Copy(io.Discard, resp.Body) // so that the connection is used again
		resp.Body.Close()
		detail += ", answered " + strconv.Itoa(resp.StatusCode)
	}
	t.chaos.record(Fault{Kind: "redeliver", Where: t.source, Event: event, Detail: detail})
}

// closeBody gives up a body that is not sent, as a RoundTripper has to.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// read takes the body of req and returns what gives a new one each time.
func read(req *http.Request) (func() io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		body := req.Body
		return func() io.ReadCloser { return body }, nil
	}
	data, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }, nil
}

// hold waits.
func (t *transport) hold(ctx context.Context, pause time.Duration, event string) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		t.chaos.record(Fault{Kind: "latency", Where: t.source, Event: event, Detail: pause.Round(time.Millisecond).String()})
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt returns how often an event was refused by us just before.
func (t *transport) attempt(event string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.attempts[event]
}

// note remembers events that are refused until they are not.
func (t *transport) note(event string, attempt uint64, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if refused {
		t.attempts[event] = attempt + 1
	} else {
		delete(t.attempts, event)
	}
}

// status returns the code to answer with, for a number from 0 to 1.
func (p *Plan) status(at float64) (code int, refused bool) {
	for _, s := range p.Status {
		if at < s.Share {
			return s.Code, true
		}
		at -= s.Share
	}
	return 0, false
}

// answer is an answer that no function gave.
func answer(req *http.Request, status int) *http.Response {
	const text = "chaos"
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(bytes.NewReader([]byte(text))), ContentLength: int64(len(text)),
		Request: req,
	}
}

// draw returns a random number that follows from the seed and what it is for.
func draw(seed uint64, what ...string) uint64 {
	h := xxhash.NewWithSeed(seed)
	for _, w := range what {
		h.WriteString(w)
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// unit returns a random number as a number from 0, inclusive, to 1.
func unit(n uint64) float64 { return float64(n>>11) / math.Exp2(53) }
