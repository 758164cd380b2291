package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/bench"
	"datasurge/emulator/broker"
	"datasurge/knative"
	"datasurge/knative/topic"
)

// benchGCPercent is for functions, and a broker, that have a machine of their own.
const benchGCPercent = 200

// runBench is the command bench.
func runBench(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	n := flags.Int("n", 0, "transactions to write (default 1000000, with --transport http 100000)")
	transport := flags.String("transport", "kafka", "how events come to the functions: kafka (they read them), or http (an emulator delivers them)")
	steady := flags.Duration("steady", 30*time.Second, "with --transport http: for how `long` 1,000 transactions a second are sent, before latency and memory are told")
	asJSON := flags.Bool("json", false, "print the figures as JSON")
	addrs := flags.String("brokers", "", "`host:port,...` of a Kafka to use instead of the embedded one; the pipeline's topics there must not hold anything: they are deleted and made anew")
	if err := parse(flags, args, out); err != nil {
		return err
	}
	if *n == 0 {
		if *n = 1_000_000; *transport == "http" {
			*n = 100_000
		}
	}
	switch {
	case *n < 1 || flags.NArg() > 0:
		return errors.New("emulator bench takes --n with at least 1, and no other arguments; emulator bench -h lists them")
	case *transport != "kafka" && *transport != "http":
		return fmt.Errorf("--transport %q: want kafka or http", *transport)
	case *transport == "http" && *addrs != "":
		return errors.New("--transport http measures the embedded Kafka, and --brokers names another: leave one of them out")
	case *steady < time.Second:
		return fmt.Errorf("--steady %v: want at least 1s", *steady)
	}
	set, err := knative.Default()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if *transport == "http" {
		report, err := bench.RunHTTP(ctx, bench.HTTPConfig{Transactions: *n, Steady: *steady, Command: []string{exe}, Progress: errs})
		if err != nil {
			return err
		}
		return printReport(report, *asJSON, out)
	}
	open := func(ctx context.Context) (*bench.Kafka, error) { return benchBroker(ctx, set) }
	if *addrs != "" {
		open = func(ctx context.Context) (*bench.Kafka, error) {
			return benchCluster(ctx, set, strings.Split(*addrs, ","))
		}
	}
	debug.SetGCPercent(benchGCPercent)
	report, err := bench.Run(ctx, bench.Config{
		Transactions: *n, Open: open, Command: []string{exe}, Env: []string{childEnv + "=1", "GOGC=" + strconv.Itoa(benchGCPercent)}, Progress: errs,
	})
	if err != nil {
		return err
	}
	return printReport(report, *asJSON, out)
}

func printReport(report interface{ Print(io.Writer) }, asJSON bool, out io.Writer) error {
	if asJSON {
		return json.NewEncoder(out).Encode(report)
	}
	report.Print(out)
	return nil
}

// benchBroker opens an embedded broker on a directory of its own.
func benchBroker(ctx context.Context, set *knative.Set) (*bench.Kafka, error) {
	dir, err := os.MkdirTemp("", "datasurge-bench-")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	b, err := broker.Open(ctx, broker.Config{Dir: dir, Listener: listener, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	k := &bench.Kafka{Addrs: []string{listener.Addr().String()}, Close: func() error { return errors.Join(b.Close(), remove()) }}
	return benchTopics(ctx, set, k, broker.TopicConfig)
}

// benchCluster makes the topics of a real Kafka anew.
func benchCluster(ctx context.Context, set *knative.Set, addrs []string) (*bench.Kafka, error) {
	k := &bench.Kafka{Addrs: addrs, Close: func() error { return nil }}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := deleteTopics(ctx, kadm.NewClient(client), set); err != nil {
		return nil, err
	}
	return benchTopics(ctx, set, k, nil)
}

// deleteTopics deletes the topics of set and waits until they are gone.
func deleteTopics(ctx context.Context, admin *kadm.Client, set *knative.Set) error {
	var names []string
	for _, t := range set.Topics {
		names = append(names, t.Topic)
	}
	if _, err := admin.DeleteTopics(ctx, names...); err != nil {
		return fmt.Errorf("delete the topics: %w", err)
	}
	for {
		listed, err := admin.ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("list the topics: %w", err)
		}
		left := 0
		for _, t := range listed {
			if t.Err == nil {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func benchTopics(ctx context.Context, set *knative.Set, k *bench.Kafka, config func(map[string]string) map[string]string) (*bench.Kafka, error) {
	k.Client = []kgo.Opt{kgo.SeedBrokers(k.Addrs...), kgo.DisableClientMetrics()}
	client, err := kgo.NewClient(k.Client...)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	defer client.Close()
	if err := topic.Create(ctx, kadm.NewClient(client), set.Topics, config); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}
