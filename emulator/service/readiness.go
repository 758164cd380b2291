package service

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Pauses between probes and their bounds. Until an instance is ready it is
// probed often, as the queue-proxy does.
const (
	probeUnready  = 50 * time.Millisecond
	probeReady    = time.Second
	probeTimeout  = 2 * time.Second
	probeFailures = 3 // in a row, until a ready instance is not ready any more
	// sayUnready is after how long an instance that is not ready is worth a word.
	sayUnready = 10 * time.Second
)

// watchReadiness probes an instance until ctx is done, and returns for how long
// it was ready.
func (s *Service) watchReadiness(ctx context.Context, in *Instance) (total time.Duration) {
	var (
		started  = time.Now()
		since    time.Time // when it became ready; zero: it is not
		failures int
		said     bool
	)
	defer func() {
		if !since.IsZero() {
			total += time.Since(since)
			s.setReady(ctx, in, false)
		}
	}()
	for {
		pause := probeReady
		why := s.probeOnce(ctx, in)
		switch {
		case why == "" && since.IsZero():
			since, failures = time.Now(), 0
			s.setReady(ctx, in, true)
		case why == "":
			failures = 0
		case since.IsZero():
			pause = probeUnready
			if !said && time.Since(started) > sayUnready {
				said = true
				s.cfg.Logger.Warn("function is not ready yet", "service", in.Label, "reason", why)
			}
		default:
			if failures++; failures == probeFailures {
				total += time.Since(since)
				since = time.Time{}
				s.cfg.Logger.Warn("function is not ready any more", "service", in.Label, "reason", why)
				s.setReady(ctx, in, false)
				pause = probeUnready
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return total
		}
	}
}

// probeOnce asks an instance once; why is "" when it is ready.
func (s *Service) probeOnce(ctx context.Context, in *Instance) (why string) {
	if s.cfg.Service.ReadyPath == "" {
		c, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", strings.TrimPrefix(in.URL, "http://"))
		if err != nil {
			return "nothing listens on PORT"
		}
		c.Close()
		return ""
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.URL+s.cfg.Service.ReadyPath, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := s.probe.Do(req)
	if err != nil {
		return "nothing answers on PORT"
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return s.cfg.Service.ReadyPath + " answers " + resp.Status
	}
	return ""
}
