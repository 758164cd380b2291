//go:build unix

package sink

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/knative"
)

// BenchmarkKafkaSink is the receiver as the real one was measured: events of 200
// bytes from 64 clients over loopback, on two cores shared with the clients and
// the broker; that one took 7,000 events/s at 71 us of CPU each. cpu-us/event is
// that of the receiver's process alone.
func BenchmarkKafkaSink(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), exe)
	cmd.Env = append(os.Environ(), asLoad+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatal("no broker")
	}
	client, err := kgo.NewClient(append(Options(), kgo.SeedBrokers(lines.Text()))...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	handler := New(&knative.KafkaSink{Topic: "t"}, client, slog.New(slog.DiscardHandler))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: Receiver{Find: func(path string) *Handler {
		if path == "/default/s" {
			return handler
		}
		return nil
	}}}
	go server.Serve(listener)
	defer server.Close()
	round := func(events int) {
		fmt.Fprintln(in, listener.Addr(), events)
		if !lines.Scan() || strings.TrimSpace(lines.Text()) != "done" {
			b.Fatal("the clients have failed")
		}
	}
	round(loadClients) // connections, metadata

	const events = 200 * loadClients
	before, begun, sent := cpuTime(b), time.Now(), 0
	for b.Loop() {
		round(events)
		sent += events
	}
	b.ReportMetric(float64(sent)/time.Since(begun).Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(sent), "cpu-us/event")
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
