package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// tail prints the records of a topic as they come, as a read_committed reader
// sees them.
func tail(ctx context.Context, args []string, out *os.File, _ io.Writer) error {
	flags := flag.NewFlagSet("tail", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "`host:port,...` of Kafka (default: that of the emulator that runs on --data-dir)")
	dataDir := flags.String("data-dir", ".datasurge", "`directory` of the emulator")
	start := flags.Bool("from-start", false, "from the first record on, not from now on")
	key := flags.String("key", "", "only records with this `key`")
	var topic string
	// The topic may stand before the flags, as people write it.
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		topic, args = args[0], args[1:]
	}
	if err := parse(flags, args, out); err != nil {
		return err
	}
	if topic == "" {
		topic = flags.Arg(0)
	}
	if topic == "" {
		return fmt.Errorf("which topic? emulator tail TOPIC; emulator tail -h lists the arguments")
	}
	seeds := strings.Split(*brokers, ",")
	if *brokers == "" {
		info, err := datadir.ReadInfo(*dataDir)
		if err != nil {
			return fmt.Errorf("no emulator runs on %s: start one, or give --data-dir or --brokers: %w", *dataDir, err)
		}
		seeds = info.Kafka
	}
	if err := reach(ctx, seeds); err != nil {
		return err
	}
	offset := kgo.NewOffset().AtEnd()
	if *start {
		offset = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(offset), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s: %w", topic, e.Err)
		}
		for rec := range fetches.RecordsAll() {
			if *key == "" || string(rec.Key) == *key {
				fmt.Fprintln(out, describe(rec))
			}
		}
	}
}

// describe writes a record in one line: place, time, key, type and data.
func describe(rec *kgo.Record) string {
	var e events.Event
	what := "plain"
	if kafkarecord.Read(rec, &e, kafkarecord.Mapping{CloudEventsOnly: true}) == nil {
		what = e.Type
	}
	value := rec.Value
	if e.Data != nil {
		value = e.Data
	}
	return fmt.Sprintf("%d/%d %s %s %s %s", rec.Partition, rec.Offset, rec.Timestamp.Format(time.TimeOnly), rec.Key, what, value)
}
