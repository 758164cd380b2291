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
	n := flags.Int("n", 1_000_000, "transactions to write")
	asJSON := flags.Bool("json", false, "print the figures as JSON")
	addrs := flags.String("brokers", "", "`host:port,...` of a Kafka to use instead of the embedded one; the pipeline's topics there must not hold anything: they are deleted and made anew")
	if err := parse(flags, args, out); err != nil {
		return err
	}
	if *n < 1 || flags.NArg() > 0 {
		return errors.New("emulator bench takes --n with at least 1, and no other arguments; emulator bench -h lists them")
	}
	set, err := knative.Default()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
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
	if *asJSON {
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
