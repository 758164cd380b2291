package service

import (
	"context"
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
	sayUnready = 5 * time.Second
)

// watchReadiness probes an instance until ctx is done, and returns for how long it
// was ready.
func (r *revision) watchReadiness(ctx context.Context, in *instance) (total time.Duration) {
	var (
		started  = time.Now()
		since    time.Time // when it became ready; zero: it is not
		failures int
		said     bool
	)
	defer func() {
		if !since.IsZero() {
			total += time.Since(since)
		}
	}()
	for {
		pause := probeReady
		why := r.probe(ctx, in)
		switch {
		case ctx.Err() != nil:
			return total
		case why == "" && since.IsZero():
			since, failures = time.Now(), 0
			r.admitTo(in)
		case why == "":
			failures = 0
		case since.IsZero():
			pause = probeUnready
			if !said && time.Since(started) > sayUnready {
				said = true
				r.cfg.Logger.Warn("function is not ready yet", "service", in.Label, "revision", r.name, "reason", why)
			}
		default:
			if failures++; failures == probeFailures {
				total += time.Since(since)
				since = time.Time{}
				r.cfg.Logger.Warn("function is not ready any more", "service", in.Label, "reason", why)
				r.withdraw(in)
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

// probe asks an instance once; why is "" when it is ready.
func (r *revision) probe(ctx context.Context, in *instance) (why string) {
	address := strings.TrimPrefix(in.URL, "http://")
	silent := "nothing listens at " + address + ": it has to listen on the port that the variable PORT names"
	if r.cfg.Service.ReadyPath == "" {
		if !r.s.machine.listens(address) {
			return silent
		}
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.URL+r.cfg.Service.ReadyPath, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := r.s.machine.RoundTrip(req)
	if err != nil {
		if !r.s.machine.listens(address) {
			return silent
		}
		return "no answer to GET " + r.cfg.Service.ReadyPath + ": " + err.Error()
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return "GET " + r.cfg.Service.ReadyPath + " answers " + resp.Status
	}
	return ""
}
