package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"

	"datasurge/emulator/prometheus"
)

// targetsPath is where Prometheus is told what to scrape.
const targetsPath = "/prometheus/targets"

// targets answers with the processes that run.
func (e *emulator) targets() http.Handler {
	return prometheus.Targets(func() []prometheus.Target {
		e.mu.Lock()
		defer e.mu.Unlock()
		var list []prometheus.Target
		for _, s := range e.services {
			for _, in := range s.Instances() {
				if u, err := url.Parse(in.URL); err == nil {
					list = append(list, prometheus.Target{Service: in.Service, Address: u.Host})
				}
			}
		}
		return list
	})
}

// startMonitoring writes Prometheus' configuration and starts it where it is
// installed.
func (e *emulator) startMonitoring(ctx context.Context) error {
	if !e.config.monitoring {
		return nil
	}
	c := prometheus.Config{
		Dir: filepath.Join(e.config.dataDir, "prometheus"), Targets: e.baseURL + targetsPath, Logger: e.log,
	}
	path, err := c.Write()
	if err != nil {
		return err
	}
	if !prometheus.Installed() {
		e.log.Warn("there is no prometheus in PATH: install it, or run one with the configuration", "config", path)
		return nil
	}
	// One that cannot listen would end soon after it was said to run. Debian's
	// package starts one at the usual port.
	l, err := listen(ctx, "Prometheus", "prometheus-addr", e.config.prometheusAddr)
	if err != nil {
		return err
	}
	c.Address = l.Addr().String()
	url := "http://" + reachable(l)
	if err := l.Close(); err != nil {
		return fmt.Errorf("give the address to Prometheus: %w", err)
	}
	if e.prometheus, err = c.Start(); err != nil {
		return err
	}
	e.log.Info("Prometheus runs", "url", url, "config", path)
	return nil
}
