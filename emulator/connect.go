package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	functions "datasurge/functions/run"
)

// connection is the Kafka that a command talks to: the one that --brokers names,
// or that of the emulator that runs on --data-dir.
type connection struct {
	brokers, dataDir string
}

// bind declares the flags of the connection.
func (c *connection) bind(flags *flag.FlagSet) {
	flags.StringVar(&c.brokers, "brokers", "", "`host:port,...` of Kafka (default: that of the emulator that runs on --data-dir)")
	flags.StringVar(&c.dataDir, "data-dir", ".datasurge", "`directory` of the emulator")
}

// options returns what connects a client. With --brokers it connects over TLS and
// with SASL as the functions do, by the same variables.
func (c *connection) options(ctx context.Context) ([]kgo.Opt, error) {
	if c.brokers == "" {
		return c.ofEmulator(ctx)
	}
	config, err := functions.ReadConfig()
	if err != nil {
		return nil, err
	}
	options, err := functions.KafkaOptions(&config, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	seeds := strings.Split(c.brokers, ",")
	if err := reach(ctx, seeds); err != nil {
		return nil, fmt.Errorf("%w (--brokers)", err)
	}
	return append(options, kgo.SeedBrokers(seeds...)), nil
}

// ofEmulator is options for the Kafka of the emulator that runs on the data
// directory.
func (c *connection) ofEmulator(ctx context.Context) ([]kgo.Opt, error) {
	info, err := datadir.ReadInfo(c.dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no emulator runs on %s: start one with emulator run, or give --data-dir or --brokers", c.dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("where the emulator on %s is cannot be read: %w", c.dataDir, err)
	}
	if err := reach(ctx, info.Kafka); err != nil {
		return nil, fmt.Errorf("the emulator on %s has ended without being stopped, or its Kafka has: start it again: %w", c.dataDir, err)
	}
	return []kgo.Opt{kgo.SeedBrokers(info.Kafka...)}, nil
}

// parseMixed parses args with flags, which may stand before, between and behind
// the other arguments, and returns those.
func parseMixed(flags *flag.FlagSet, args []string, out io.Writer) ([]string, error) {
	var rest []string
	for {
		if err := parse(flags, args, out); err != nil {
			return nil, err
		}
		args = flags.Args()
		i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") && a != "-" })
		if i < 0 {
			return append(rest, args...), nil
		}
		rest, args = append(rest, args[:i]...), args[i:]
	}
}
