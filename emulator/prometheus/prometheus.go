// Package prometheus has a Prometheus watch what the emulator runs: it tells one
// what to scrape, writes its configuration, and starts it when it is installed.
package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"datasurge/monitoring"
)

// Target is a process to scrape.
type Target struct {
	Service string // name of the function
	Address string // host:port
}

// Targets answers as Prometheus' HTTP service discovery wants it.
//
// https://prometheus.io/docs/prometheus/latest/http_sd/
func Targets(list func() []Target) http.Handler {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		groups := []group{} // never null
		for _, t := range list() {
			groups = append(groups, group{[]string{t.Address}, map[string]string{"service": t.Service}})
		}
		w.Header().Set("Content-Type", "application/json")
		// When it cannot be written the reader has gone away.
		_ = json.NewEncoder(w).Encode(groups)
	})
}

// Config says where things are.
type Config struct {
	Dir     string // for configuration and data
	Targets string // URL of Targets
	Address string // host:port that Prometheus listens on
	Logger  *slog.Logger
}

// rules are those that make sense without exporters.
var rules = [...]string{"recording.yml", "business.yml", "pipeline.yml"}

// configuration is prometheus.yml. An emulator runs for minutes, so it is scraped
// often.
const configuration = `# Written by emulator run --with-monitoring, each time it starts.
global:
  scrape_interval: 2s
  scrape_timeout: 2s
  evaluation_interval: 5s
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: datasurge
    http_sd_configs:
      - {url: %q, refresh_interval: 2s}
`

// Write writes the configuration and the rules and returns the path of the former.
func (c Config) Write() (string, error) {
	dir := filepath.Join(c.Dir, "rules")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("configuration of Prometheus: %w", err)
	}
	for _, name := range rules {
		text, err := fs.ReadFile(monitoring.Rules, "rules/"+name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return "", fmt.Errorf("rules of Prometheus: %w", err)
		}
	}
	path := filepath.Join(c.Dir, "prometheus.yml")
	if err := os.WriteFile(path, fmt.Appendf(nil, configuration, c.Targets), 0o644); err != nil {
		return "", fmt.Errorf("configuration of Prometheus: %w", err)
	}
	return path, nil
}

// Installed reports whether there is a prometheus in PATH.
func Installed() bool {
	_, err := exec.LookPath("prometheus")
	return err == nil
}

// Process is a Prometheus that runs.
type Process struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// stopWithin is how long Prometheus may take to write down what it has.
const stopWithin = 5 * time.Second

// Start starts the prometheus in PATH with the configuration that Write wrote.
// Its log goes to prometheus.log beside it. Close it.
func (c Config) Start() (*Process, error) {
	output, err := os.Create(filepath.Join(c.Dir, "prometheus.log"))
	if err != nil {
		return nil, fmt.Errorf("log of Prometheus: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, "prometheus",
		"--config.file="+filepath.Join(c.Dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(c.Dir, "data"),
		"--storage.tsdb.retention.time=1d",
		"--web.listen-address="+c.Address,
		"--enable-feature=exemplar-storage",
	)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = attributes()
	command.Cancel = func() error { return stop(command.Process) }
	command.WaitDelay = stopWithin
	if err := command.Start(); err != nil {
		cancel()
		output.Close()
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	p := &Process{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer output.Close()
		if err := command.Wait(); err != nil && ctx.Err() == nil {
			c.Logger.Warn("Prometheus has ended", "error", err, "log", output.Name())
		}
	}()
	return p, nil
}

// Close ends Prometheus. It may be called twice.
func (p *Process) Close() {
	p.cancel()
	<-p.ended
}
