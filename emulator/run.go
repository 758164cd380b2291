package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"datasurge/emulator/account"
	"datasurge/emulator/chaos"
	"datasurge/emulator/status"
	functions "datasurge/functions/run"
	"datasurge/knative"
)

// runConfig is the command line of emulator run.
type runConfig struct {
	manifests []string // files and directories; none: the embedded ones
	dataDir   string
	brokers   []string // none: the embedded broker
	kafkaAddr string
	httpAddr  string
	duration  time.Duration // 0: until a signal
	profile   string
	rate      int
	speed     string // of event time under the profile handbook
	pace      pace

	programs    programs // by the name of the Service that they stand for
	watch       bool     // follow changes of the manifests and the programs
	scaleToZero bool

	monitoring     bool
	prometheusAddr string

	chaos  *chaos.Plan // nil: no faults
	verify bool        // make the account at the end; set with chaos
}

// gcPercent is GOGC of the emulator and of our functions, where it is not set. At a
// cluster's pace the heaps are kept small, for the pipeline shares the machine with
// whoever looks at it: half a gigabyte in all at a thousand transactions a second.
// Who lifts that pace wants speed, and has memory collected less often: thousands of
// deliveries under way are as many stacks to walk each time.
func (c *runConfig) gcPercent() int {
	if c.pace.times > 1 {
		return 200
	}
	return 15
}

// labelDelay is after which time the truth about a transaction comes: soon, so
// that one sees the loop close.
const labelDelay = "2m"

// handbookLabelDelay is that of the Handbook's protocol.
const handbookLabelDelay = "168h"

func parseRun(args []string, out io.Writer) (runConfig, error) {
	c := runConfig{programs: make(programs), pace: pace{times: 1}}
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.Func("f", "`file or directory` with the manifests, or - for the standard input, may be repeated; ${NAME} and ${NAME:-default} are replaced from the environment (default: those of knative/, built in)", func(s string) error {
		c.manifests = append(c.manifests, s)
		return nil
	})
	flags.StringVar(&c.dataDir, "data-dir", ".datasurge", "`directory` for what has to last: Kafka's data, emulator.json")
	flags.Func("brokers", "`host:port,...` of a Kafka to use instead of the embedded one", func(s string) error {
		for b := range strings.SplitSeq(s, ",") {
			if _, _, err := net.SplitHostPort(b); err != nil {
				return fmt.Errorf("%q is no host:port", b)
			}
			c.brokers = append(c.brokers, b)
		}
		return nil
	})
	flags.StringVar(&c.kafkaAddr, "kafka-addr", "127.0.0.1:9092", "`host:port` of the embedded Kafka; with host 0.0.0.0 clients are told this machine's name")
	flags.StringVar(&c.httpAddr, "http-addr", "127.0.0.1:8080", "`host:port` at which functions and sinks are reached")
	flags.DurationVar(&c.duration, "duration", 0, "stop after this `time` (default: run until Ctrl-C)")
	flags.StringVar(&c.profile, "profile", "live", "what is generated: live, handbook (the data set of the Fraud Detection Handbook), or none, when somebody else produces")
	flags.StringVar(&c.speed, "speed", "", "with --profile handbook, `seconds` of event time in a second, or max (default 3600: an hour)")
	flags.IntVar(&c.rate, "rate", 1000, "transactions generated per second")
	flags.Func("pace", paceUsage, c.pace.set)
	flags.Func("exec", "`NAME=COMMAND` that stands for the image of the Service NAME, may be repeated: --exec enricher=\"python3 app.py\"", c.programs.set)
	flags.BoolVar(&c.monitoring, "with-monitoring", false, "write prometheus.yml for what runs into the data directory, and start prometheus when it is in PATH")
	flags.StringVar(&c.prometheusAddr, "prometheus-addr", "127.0.0.1:9090", "`host:port` at which that Prometheus is reached")
	flags.BoolVar(&c.watch, "watch", false, "follow changes of the manifests and of what --exec runs, as new revisions")
	flags.BoolVar(&c.scaleToZero, "scale-to-zero", false, "end the last instance of a Service with min-scale 0 after 90 s without a request, as a cluster does; what it has in memory is gone")
	flags.Func("chaos", "`faults` to inject, such as redeliver=0.05,kill=30s,latency=200ms,status=503:0.02,broker=60s,seed=7; at the end the account is made as with --verify", func(s string) error {
		plan, err := chaos.Parse(s)
		c.chaos, c.verify = &plan, true
		return err
	})
	verify := flags.Bool("verify", false, "at the end wait until everything is through, and account for every transaction: exit status 1 if one is lost or doubled")
	if err := parse(flags, args, out); err != nil {
		return c, err
	}
	c.verify = c.verify || *verify
	switch {
	case c.chaos != nil && c.chaos.Broker > 0 && len(c.brokers) > 0:
		return c, errors.New("--chaos broker= restarts the embedded Kafka, and --brokers names another, which is not ours to restart: leave one of them out")
	case c.watch && slices.Contains(c.manifests, "-"):
		return c, errors.New("--watch: the standard input, -f -, can be read only once; -f names files or directories")
	case c.watch && len(c.manifests) == 0 && len(c.programs) == 0:
		return c, errors.New("--watch: there is nothing to watch; -f names manifests, --exec programs")
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q; emulator run -h lists the arguments", flags.Arg(0))
	case c.profile != "live" && c.profile != "handbook" && c.profile != "none":
		return c, fmt.Errorf("--profile %q: want live, handbook or none", c.profile)
	case c.speed != "" && c.profile != "handbook":
		return c, errors.New("--speed is for --profile handbook: the event time of live is the clock's")
	case c.speed != "" && new(functions.Speed).UnmarshalText([]byte(c.speed)) != nil:
		return c, fmt.Errorf("--speed %q: want a number above 0, or max", c.speed)
	case c.rate < 1:
		return c, fmt.Errorf("--rate %d: want at least 1; --profile none generates nothing", c.rate)
	case c.duration < 0:
		return c, fmt.Errorf("--duration %v is negative", c.duration)
	}
	return c, nil
}

// run is the command of the same name.
func run(ctx context.Context, args []string, out *os.File, _ io.Writer) error {
	c, err := parseRun(args, out)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(c.gcPercent())
	}
	set, err := c.read()
	if err != nil {
		return err
	}
	var width func() int
	if fd := int(out.Fd()); term.IsTerminal(fd) {
		width = func() int {
			w, _, err := term.GetSize(fd)
			if err != nil {
				return 80
			}
			return w
		}
	}
	screen := status.NewScreen(out, width)
	log := slog.New(slog.NewTextHandler(prefixed{screen, "emulator"}, &slog.HandlerOptions{ReplaceAttr: shortTime}))
	for _, w := range set.Warnings {
		log.Warn(w.Error())
	}
	e, err := start(ctx, c, set, screen, log)
	if err != nil && ctx.Err() != nil {
		return nil // asked to stop while it started, which it has
	}
	if err != nil {
		return err
	}
	sayPassed(set.Passed, log)
	var timeout <-chan time.Time
	if c.duration > 0 {
		timer := time.NewTimer(c.duration)
		defer timer.Stop()
		timeout = timer.C
	}
	err = e.untilStopped(ctx, timeout)
	screen.Draw(nil)
	var a *account.Account
	if c.verify && err == nil {
		counting := ctx // a Ctrl-C ends the account
		if ctx.Err() != nil {
			counting = context.WithoutCancel(ctx) // the next one ends the process
		}
		a, err = e.settle(counting)
	}
	log.Info("stopping")
	err = errors.Join(err, e.stop())
	if a == nil {
		return err
	}
	for _, line := range a.Lines() {
		screen.Line("%s", line)
	}
	return errors.Join(err, a.Err())
}

// sayPassed names the objects that were passed over, once all that a user waits for
// has been said.
func sayPassed(objects []*knative.Object, log *slog.Logger) {
	if len(objects) == 0 {
		return
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.Kind+" in "+o.File)
	}
	log.Info("passed over, since it is for a cluster", "objects", strings.Join(names, ", "))
}

// untilStopped follows changes, with --watch, until ctx is done, it times out, or
// something fails for good, which is the error.
func (e *emulator) untilStopped(ctx context.Context, timeout <-chan time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var changed <-chan []string
	if e.config.watch {
		changed = e.watchFiles(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timeout:
			return nil
		case err := <-e.failed:
			return err
		case groups := <-changed:
			e.follow(ctx, groups)
		}
	}
}

// prefixed writes lines to a screen with who says them in front.
type prefixed struct {
	screen *status.Screen
	who    string
}

// Write gets whole lines: a slog handler writes one at a time.
func (p prefixed) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		p.screen.Line("%s", label(p.who)+strings.TrimRight(line, "\r\n"))
	}
	return len(b), nil
}

// label is what stands in front of a line.
func label(who string) string { return fmt.Sprintf("%-11s| ", who) }

// shortTime writes the time of a log line without the date.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		a.Value = slog.StringValue(a.Value.Time().Format(time.TimeOnly))
	}
	return a
}

// overrides are the variables that a Service gets over its manifest: where Kafka
// is, and those of our own functions.
func (c *runConfig) overrides(s *knative.Service, brokers []string) map[string]string {
	variables := map[string]string{"KAFKA_BROKERS": strings.Join(brokers, ",")}
	if s.Image == ourImage {
		maps.Copy(variables, map[string]string{
			"PROFILE":     c.profile,
			"RATE":        strconv.Itoa(c.rate),
			"LABEL_DELAY": labelDelay,
			"LOG_FORMAT":  "text",
			"HOST":        "127.0.0.1",
			"GOGC":        cmp.Or(os.Getenv("GOGC"), strconv.Itoa(c.gcPercent())),
		})
		if c.profile == "handbook" {
			maps.Copy(variables, map[string]string{
				"SPEED":       cmp.Or(c.speed, "3600"),
				"LABEL_DELAY": handbookLabelDelay,
				"MAX_AHEAD":   "0",
			})
		}
	}
	if c.programs.of(s) == nil {
		variables[childEnv] = "1"
	}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if len(c.brokers) > 0 && (strings.HasPrefix(name, "KAFKA_TLS_") || strings.HasPrefix(name, "KAFKA_SASL_")) {
			variables[name] = value
		}
	}
	return variables
}
