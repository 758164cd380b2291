package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// tailOptions are what tail shows of a topic.
type tailOptions struct {
	from       string
	key        optional
	kind       string // type of the events, "" for all
	partition  int    // -1 for all
	count      int    // 0: no bound
	follow     bool
	watermarks bool
	asJSON     bool
}

// optional is a flag that may be given as an empty string.
type optional struct {
	value string
	given bool
}

func (o *optional) String() string { return o.value }

// Set implements flag.Value.
func (o *optional) Set(s string) error {
	o.value, o.given = s, true
	return nil
}

// tail prints the records of a topic as a read_committed reader sees them.
func tail(ctx context.Context, args []string, out *os.File, _ io.Writer) error {
	flags := flag.NewFlagSet("tail", flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	var o tailOptions
	flags.StringVar(&o.from, "from", "end", "where to begin: beginning, end, an `offset`, how many offsets before the end of each partition, of which a commit has one too (-10), a time (2026-01-02T15:04:05Z) or how long ago (10m)")
	flags.Var(&o.key, "key", "only records with this `key`")
	flags.StringVar(&o.kind, "type", "", "only events of this `type`")
	flags.IntVar(&o.partition, "partition", -1, "only this `partition`")
	flags.IntVar(&o.count, "count", 0, "stop after so many records")
	flags.BoolVar(&o.follow, "follow", true, "wait for more at the end; --follow=false stops there")
	flags.BoolVar(&o.watermarks, "watermarks", false, "show watermarks too, which functions send each other")
	flags.BoolVar(&o.asJSON, "json", false, "one JSON object a line, with the whole event")
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("which topic? emulator tail TOPIC; emulator tail -h lists the arguments")
	}
	if o.count < 0 {
		return fmt.Errorf("--count %d: want 1 or more", o.count)
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	return o.print(ctx, options, rest[0], out)
}

// print prints the records of a topic.
func (o *tailOptions) print(ctx context.Context, kafka []kgo.Opt, topic string, out io.Writer) error {
	start, ends, err := o.positions(ctx, kafka, topic)
	if err != nil {
		return err
	}
	if len(start) == 0 {
		return nil // nothing is there, and nothing is waited for
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: start}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(),
	}, kafka...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	shown := 0
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s: %w", topic, e.Err)
		}
		for rec := range fetches.RecordsAll() {
			behind := !o.follow && rec.Offset >= ends[rec.Partition]
			if !o.follow && rec.Offset+1 >= ends[rec.Partition] {
				delete(ends, rec.Partition)
			}
			if behind || rec.Attrs.IsControl() {
				continue
			}
			text, ok := o.show(rec)
			if !ok {
				continue
			}
			if _, err := fmt.Fprintln(out, text); err != nil {
				return err
			}
			if shown++; shown == o.count {
				return nil
			}
		}
		if !o.follow && len(ends) == 0 {
			return nil
		}
	}
}

// positions returns where each partition is to be read from, and without follow
// up to where, of those that have something to show.
func (o *tailOptions) positions(ctx context.Context, kafka []kgo.Opt, topic string) (map[int32]kgo.Offset, map[int32]int64, error) {
	client, err := kgo.NewClient(kafka...)
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	begins, err := offsets.Begins(ctx, admin, topic)
	if err != nil {
		return nil, nil, err
	}
	stable, err := offsets.Ends(ctx, admin, topic)
	if err != nil {
		return nil, nil, err
	}
	if o.partition >= 0 && o.partition >= len(stable[topic]) {
		return nil, nil, fmt.Errorf("--partition %d: %s has %d, from 0", o.partition, topic, len(stable[topic]))
	}
	begin, err := o.begin(time.Now())
	if err != nil {
		return nil, nil, err
	}
	var after offsets.Offsets
	if !begin.at.IsZero() {
		if after, err = offsets.After(ctx, admin, begin.at, topic); err != nil {
			return nil, nil, err
		}
	}
	positions, ends := make(map[int32]kgo.Offset), make(map[int32]int64)
	for p, end := range stable[topic] {
		if o.partition >= 0 && int(p) != o.partition {
			continue
		}
		first := end
		switch {
		case begin.start:
			first = begins[topic][p]
		case after != nil:
			first = after[topic][p]
		case begin.offset < 0:
			first = max(begins[topic][p], end+begin.offset)
		case begin.offset > 0 || begin.zero:
			first = begin.offset
		}
		first = min(first, end) // behind the end a client would begin anew
		if !o.follow && first >= end {
			continue
		}
		positions[p] = kgo.NewOffset().At(first)
		ends[p] = end
	}
	return positions, ends, nil
}

// begin is what --from says: the start, a time, an offset, or offsets before the
// end; none of them is the end.
type begin struct {
	start  bool
	at     time.Time
	offset int64
	zero   bool // offset 0 is meant
}

func (o *tailOptions) begin(now time.Time) (begin, error) {
	switch o.from {
	case "beginning", "start":
		return begin{start: true}, nil
	case "end":
		return begin{}, nil
	}
	if n, err := strconv.ParseInt(o.from, 10, 64); err == nil {
		return begin{offset: n, zero: n == 0}, nil
	}
	if d, err := time.ParseDuration(o.from); err == nil {
		return begin{at: now.Add(-d.Abs())}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, o.from, now.Location()); err == nil {
			return begin{at: at}, nil
		}
	}
	return begin{}, fmt.Errorf("--from %q: want beginning, end, an offset, -10 for the last ten offsets of each partition, of which a commit has one too, a time such as 2026-01-02T15:04:05Z, or how long ago, such as 10m", o.from)
}

// show returns a record as it is printed; ok is false when it is filtered out.
func (o *tailOptions) show(rec *kgo.Record) (text string, ok bool) {
	if o.key.given && string(rec.Key) != o.key.value {
		return "", false
	}
	var e events.Event
	isEvent := kafkarecord.Read(rec, &e, kafkarecord.Mapping{CloudEventsOnly: true}) == nil
	if e.Type == events.TypeWatermark && !o.watermarks && o.kind != events.TypeWatermark || o.kind != "" && e.Type != o.kind {
		return "", false
	}
	if o.asJSON {
		if !isEvent {
			return recordJSON(rec, nil), true
		}
		return recordJSON(rec, &e), true
	}
	return recordLine(rec, &e, isEvent), true
}

// recordLine writes a record in one line: place, time, key, type and data.
func recordLine(rec *kgo.Record, e *events.Event, isEvent bool) string {
	what, value := "plain", rec.Value
	if isEvent {
		what = e.Type
		if e.Data != nil {
			value = e.Data
		}
	}
	text := string(value)
	switch {
	case rec.Value == nil:
		text = "null"
	case !utf8.Valid(value):
		text = fmt.Sprintf("%d bytes, base64 %s", len(value), base64.StdEncoding.EncodeToString(value))
	}
	return fmt.Sprintf("%d/%d %s %s %s %s", rec.Partition, rec.Offset, rec.Timestamp.Format(time.TimeOnly), rec.Key, what, text)
}

// recordObject is a record as JSON. Bytes that are no UTF-8 are in base64.
type recordObject struct {
	Topic       string          `json:"topic,omitempty"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Timestamp   time.Time       `json:"timestamp,omitzero"`
	Key         *string         `json:"key,omitempty"`
	KeyBase64   []byte          `json:"keyBase64,omitempty"`
	Event       json.RawMessage `json:"event,omitempty"` // in the CloudEvents JSON format
	Value       *string         `json:"value,omitempty"` // of a record that is no event
	ValueBase64 []byte          `json:"valueBase64,omitempty"`
}

// newRecordObject makes the JSON of a record; e is nil when it is no event.
func newRecordObject(rec *kgo.Record, e *events.Event) recordObject {
	o := recordObject{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Timestamp.UTC()}
	o.Key, o.KeyBase64 = textOrBytes(rec.Key)
	if e != nil {
		o.Event = e.AppendJSON(nil)
	} else {
		o.Value, o.ValueBase64 = textOrBytes(rec.Value)
	}
	return o
}

func recordJSON(rec *kgo.Record, e *events.Event) string {
	o := newRecordObject(rec, e)
	text, err := json.Marshal(&o)
	if err != nil {
		// Only an event whose JSON is not valid could do that.
		o.Event, o.ValueBase64 = nil, rec.Value
		text, _ = json.Marshal(&o)
	}
	return string(text)
}

func textOrBytes(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		return new(string(b)), nil
	}
	return nil, b
}
