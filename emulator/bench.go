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
	n := flags.Int("n", 1_000_000, "transactions to write (with --transport http 100000)")
	transport := flags.String("transport", "kafka", "how events come to the functions: kafka (they read them), or http (an emulator delivers them)")
	steady := flags.Duration("steady", 30*time.Second, "with --transport http: for how `long` 1,000 transactions a second are sent, before latency and memory are told")
	asJSON := flags.Bool("json", false, "print the figures as JSON")
	addrs := flags.String("brokers", "", "`host:port,...` of a Kafka to use instead of the embedded one; the pipeline's topics must not be there: they are made, and deleted at the end")
	if err := parse(flags, args, out); err != nil {
		return err
	}
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "n" })
	if !given && *transport == "http" {
		*n = 100_000
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
	var report interface{ Print(io.Writer) }
	if *transport == "http" {
		report, err = bench.RunHTTP(ctx, bench.HTTPConfig{Transactions: *n, Steady: *steady, Command: []string{exe}, Progress: errs})
	} else {
		open := func(ctx context.Context) (*bench.Kafka, error) { return benchBroker(ctx, set) }
		if *addrs != "" {
			open = func(ctx context.Context) (*bench.Kafka, error) { return benchCluster(ctx, set, *addrs) }
		}
		debug.SetGCPercent(benchGCPercent)
		report, err = bench.Run(ctx, bench.Config{
			Transactions: *n, Open: open, Command: []string{exe}, Env: []string{childEnv + "=1", "GOGC=" + strconv.Itoa(benchGCPercent)}, Progress: errs,
		})
	}
	if ctx.Err() != nil {
		return errors.New("bench: interrupted")
	}
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
	addr := listener.Addr().String()
	k := &bench.Kafka{Addrs: []string{addr}, Client: []kgo.Opt{kgo.SeedBrokers(addr), kgo.DisableClientMetrics()}, Close: func() error { return errors.Join(b.Close(), remove()) }}
	return benchTopics(ctx, set, k, broker.TopicConfig)
}

// benchCluster makes the pipeline's topics on a real Kafka for the time of a
// measurement. Those of a pipeline that is there are left alone.
func benchCluster(ctx context.Context, set *knative.Set, brokers string) (*bench.Kafka, error) {
	options, err := (&connection{brokers: brokers}).options(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	admin := kadm.NewClient(client)
	there, err := topicsThere(ctx, admin, set)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("topics of the pipeline are on %s already (%s), and a measurement has to make its own: emulator reset --brokers %s deletes them, with all that is in them",
			brokers, strings.Join(there, ", "), brokers)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	k := &bench.Kafka{Addrs: strings.Split(brokers, ","), Client: options, Close: func() error {
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return deleteTopics(ctx, admin, set)
	}}
	return benchTopics(ctx, set, k, nil)
}

// deleteTopics deletes the topics of set and waits until they are gone.
func deleteTopics(ctx context.Context, admin *kadm.Client, set *knative.Set) error {
	topics, _ := namesOf(set)
	if _, err := admin.DeleteTopics(ctx, topics...); err != nil {
		return fmt.Errorf("delete the topics: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		there, err := topicsThere(ctx, admin, set)
		if err != nil || len(there) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("delete the topics: %s is still there: %w", there[0], ctx.Err())
		}
	}
}

func benchTopics(ctx context.Context, set *knative.Set, k *bench.Kafka, config func(map[string]string) map[string]string) (*bench.Kafka, error) {
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
