// Package ping does what the adapter of PingSources does: it sends an event by
// the clock.
//
// Emulated: the schedule with its time zone; up to half a second of random delay;
// the event's type, source, data and overrides; binary mode; five repetitions
// with pauses that double from 50 ms, after which the event is lost.
//
// Ignored: what the sink answers with.
//
// Refused by the manifests' reader: @every, TLS, OIDC.
package ping

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	randv2 "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"datasurge/knative"
)

// Type of the events.
const Type = "dev.knative.sources.ping"

// Config is what a source is started with.
type Config struct {
	Source *knative.PingSource
	// URL of the sink.
	URL string
	// Transport sends the requests.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Source sends events until it is closed.
type Source struct {
	cfg     Config
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Start starts a source. Close has to be called.
func Start(cfg Config) *Source {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{cfg: cfg, cancel: cancel}
	s.running.Go(func() { s.run(ctx) })
	return s
}

// Close ends the source. An event under way is cut, and not sent again.
func (s *Source) Close() {
	s.cancel()
	s.running.Wait()
}

// maxDelay bounds the random delay before an event.
const maxDelay = 500 * time.Millisecond

func (s *Source) run(ctx context.Context) {
	for {
		next := s.cfg.Source.Next(time.Now())
		if next.IsZero() {
			s.cfg.Logger.Warn("its schedule has no time that ever comes", "source", s.cfg.Source.Name)
			return
		}
		if !wait(ctx, time.Until(next)) {
			return
		}
		// One event does not hold up the next.
		s.running.Go(func() {
			if wait(ctx, randv2.N(maxDelay)) {
				s.send(ctx)
			}
		})
	}
}

// wait reports whether d has passed, and not ctx.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// The pauses between attempts, as the adapter asks of the CloudEvents SDK.
const (
	retries    = 5
	firstPause = 50 * time.Millisecond
)

// send sends one event, again where the SDK does so.
func (s *Source) send(ctx context.Context) {
	header := s.header()
	var last error
	for n := range retries + 1 {
		if n > 0 && !wait(ctx, firstPause<<n) {
			return
		}
		again, err := s.attempt(ctx, header)
		if err == nil || ctx.Err() != nil {
			return
		}
		if last = err; !again {
			break
		}
	}
	s.cfg.Logger.Error("EVENT LOST, as it would be on a cluster", "source", s.cfg.Source.Name, "sink", s.cfg.URL, "because", last)
}

// header is that of a new event.
func (s *Source) header() http.Header {
	p := s.cfg.Source
	h := http.Header{
		"Ce-Specversion": {"1.0"},
		"Ce-Id":          {newID()},
		"Ce-Source":      {p.Source()},
		"Ce-Type":        {Type},
		"Ce-Time":        {time.Now().UTC().Format(time.RFC3339Nano)},
	}
	if p.ContentType != "" {
		h.Set("Content-Type", p.ContentType)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Extensions)) {
		h.Set("Ce-"+name, p.Extensions[name])
	}
	return h
}

// attempt sends the event once, and says whether another attempt may help.
func (s *Source) attempt(ctx context.Context, header http.Header) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(s.cfg.Source.Data))
	if err != nil {
		return false, err
	}
	req.Header = header.Clone()
	resp, err := s.cfg.Transport.RoundTrip(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	const enough = 1 << 20 // to use the connection again
	if _, err := io.CopyN(io.Discard, resp.Body, enough); err != nil && err != io.EOF {
		return true, err
	}
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return false, nil
	case slices.Contains(retryable, code):
		return true, fmt.Errorf("answered %d", code)
	default:
		return false, fmt.Errorf("answered %d", code)
	}
}

// retryable are the statuses that the SDK sends an event again after.
var retryable = []int{
	http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusTooEarly, http.StatusTooManyRequests,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// newID is a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
