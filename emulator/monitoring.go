package main

import (
	"errors"
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
func (e *emulator) startMonitoring() error {
	if !e.config.monitoring {
		return nil
	}
	c := prometheus.Config{
		Dir: filepath.Join(e.config.dataDir, "prometheus"), Targets: e.baseURL + targetsPath,
		Address: e.config.prometheusAddr, Logger: e.log,
	}
	path, err := c.Write()
	if err != nil {
		return err
	}
	e.prometheus, err = c.Start()
	switch {
	case errors.Is(err, prometheus.ErrNotInstalled):
		e.log.Warn("there is no prometheus in PATH: install it, or run one with the configuration", "config", path)
	case err != nil:
		return err
	default:
		e.log.Info("Prometheus runs", "url", "http://"+c.Address, "config", path)
	}
	return nil
}
