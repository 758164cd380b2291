package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
)

// emulated is a running emulator with its functions.
type emulated struct {
	process                       // the emulator's own
	dir       string              // of its data
	functions map[string]*process // without cmd
	kafka     *Kafka
}

// start starts an emulator on a directory of its own, and waits until its
// functions are ready.
func (c *HTTPConfig) start(ctx context.Context, args ...string) (*emulated, error) {
	dir, err := os.MkdirTemp("", "datasurge-bench-")
	if err != nil {
		return nil, err
	}
	e := &emulated{dir: dir, process: process{name: "emulator"}}
	all := slices.Concat(c.Command[1:], []string{"run", "--data-dir", dir, "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, args)
	e.cmd = exec.Command(c.Command[0], all...)
	e.cmd.Env = append(os.Environ(), c.Env...)
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	if err := e.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start an emulator: %w", err), os.RemoveAll(dir))
	}
	e.pid = e.cmd.Process.Pid
	for deadline := time.Now().Add(time.Minute); !e.up(ctx); {
		if time.Now().After(deadline) {
			return nil, e.stop(errors.New("its functions did not become ready in a minute"))
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, e.stop(err)
		}
	}
	return e, nil
}

// up reports whether the functions are ready, and sets where they are.
func (e *emulated) up(ctx context.Context) bool {
	info, err := datadir.ReadInfo(e.dir)
	if err != nil {
		return false
	}
	e.url = info.HTTP
	e.kafka = &Kafka{Addrs: info.Kafka, Client: []kgo.Opt{kgo.SeedBrokers(info.Kafka...), kgo.DisableClientMetrics()}}
	e.functions = make(map[string]*process)
	for name, s := range info.Services {
		for _, in := range s.Instances {
			e.functions[name] = &process{name: name, url: in.URL, pid: in.PID}
		}
	}
	for _, name := range chain {
		if p := e.functions[name]; p == nil || !p.ready(ctx) {
			return false
		}
	}
	return true
}

// stop ends the emulator, and removes its data. It returns err, or what went
// wrong while it stopped.
func (e *emulated) stop(err error) error {
	return errors.Join(e.process.stop(err), os.RemoveAll(e.dir))
}

// usage is what the processes of an emulator have taken so far.
type usage struct {
	cpu          map[string]float64 // seconds
	rss, pss     map[string]float64 // MB
	transactions int                // that detect has processed
}

func (e *emulated) usage(ctx context.Context) (usage, error) {
	u := usage{cpu: make(map[string]float64), rss: make(map[string]float64), pss: make(map[string]float64)}
	for _, p := range append(slices.Collect(maps.Values(e.functions)), &e.process) {
		families, err := p.scrape(ctx)
		if err != nil {
			return u, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
		u.cpu[p.name] = value(families, "process_cpu_seconds_total")
		u.rss[p.name] = value(families, "process_resident_memory_bytes") / (1 << 20)
		u.pss[p.name] = proportional(p.pid)
		if p.name == "detect" {
			u.transactions = p.processed(families)
		}
	}
	return u, nil
}

// since returns what was taken since before.
func (u usage) since(before usage) map[string]Process {
	n := float64(max(1, u.transactions-before.transactions))
	taken := make(map[string]Process)
	for name, cpu := range u.cpu {
		taken[name] = Process{CPUMicros: (cpu - before.cpu[name]) * 1e6 / n, RSSMB: u.rss[name], PSSMB: u.pss[name]}
	}
	return taken
}

// proportional is the memory of a process with its share of what several have, in
// MB; 0 where the system does not tell.
func proportional(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "Pss:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

func printProcesses(w io.Writer, processes map[string]Process) {
	fmt.Fprintf(w, "%-16s %20s %10s %10s\n", "", "CPU us/transaction", "RSS MB", "PSS MB")
	var sum Process
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		p := processes[name]
		sum = Process{sum.CPUMicros + p.CPUMicros, sum.RSSMB + p.RSSMB, sum.PSSMB + p.PSSMB}
		fmt.Fprintf(w, "%-16s %20.0f %10.0f %10.0f\n", name, p.CPUMicros, p.RSSMB, p.PSSMB)
	}
	fmt.Fprintf(w, "%-16s %20.0f %10.0f %10.0f\n", "in all", sum.CPUMicros, sum.RSSMB, sum.PSSMB)
}
