package main

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The Prometheus that is started listens where it is said to, and none is started
// where it could not.
func TestStartMonitoring(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	var log bytes.Buffer
	start := func(address string) (*emulator, error) {
		log.Reset()
		e := &emulator{
			config:  runConfig{dataDir: t.TempDir(), monitoring: true, prometheusAddr: address},
			baseURL: "http://127.0.0.1:1", log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		return e, e.startMonitoring(t.Context())
	}
	taken := occupy(t)
	if _, err := start(taken); err != nil || !strings.Contains(log.String(), "no prometheus in PATH") {
		t.Errorf("without a prometheus: %v, %s", err, &log)
	}

	if err := os.WriteFile(filepath.Join(bin, "prometheus"), []byte("#!/bin/sh\nexec /bin/sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := start(taken); err == nil || !strings.Contains(err.Error(), "is taken") || !strings.Contains(err.Error(), "--prometheus-addr") {
		t.Errorf("where something else listens: error %v", err)
	}
	e, err := start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.prometheus.Close()
	said := regexp.MustCompile(`url=(\S+)`).FindStringSubmatch(log.String())
	if said == nil {
		t.Fatalf("no address in %s", &log)
	}
	u, err := url.Parse(said[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "0" {
		t.Errorf("it is said to be at %s", u)
	}
}
