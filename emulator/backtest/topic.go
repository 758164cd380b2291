package backtest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// Topic is the transactions of a topic and the labels of transaction_labels, as far
// as they stand there when it is opened. Their partitions are merged by event time;
// what comes out of order in a partition is handed out when it comes, as it would be
// live.
type Topic struct {
	readers []*reader
	end     int64 // of the last step
	latest  int64 // event times after it are from the future
}

// mostAhead is how far ahead of the clock an event may be, as the functions have it.
const mostAhead = time.Minute

// OpenTopic finds out what there is. Close it.
func OpenTopic(ctx context.Context, options []kgo.Opt, transactions string) (*Topic, error) {
	t := &Topic{latest: time.Now().Add(mostAhead).UnixMilli()}
	for _, of := range []struct {
		topic string
		parse func(*kgo.Record, int64) item
	}{{transactions, parseTransaction}, {events.TopicLabels, parseLabel}} {
		if err := t.open(ctx, options, of.topic, of.parse); err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

func (t *Topic) open(ctx context.Context, options []kgo.Opt, topic string, parse func(*kgo.Record, int64) item) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	begins, err := offsets.Begins(ctx, admin, topic)
	if err != nil {
		return err
	}
	ends, err := offsets.Ends(ctx, admin, topic)
	if err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(ends[topic])) {
		begin, end := begins[topic][p], ends[topic][p]
		if begin >= end {
			continue
		}
		client, err := kgo.NewClient(append(slices.Clone(options),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(begin)}}),
			kgo.ConsumeResetOffset(kgo.NoResetOffset()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
			kgo.FetchMaxBytes(1<<20), kgo.DisableClientMetrics())...)
		if err != nil {
			return err
		}
		t.readers = append(t.readers, &reader{client: client, start: begin, next: begin, end: end, parse: parse, last: timeless})
	}
	return nil
}

// timeless is the event time of what has none.
const timeless = int64(math.MinInt64)

// mostInStep is from how many transactions on a step ends before its day does.
const mostInStep = 50_000

// Close lets the connections go.
func (t *Topic) Close() {
	for _, r := range t.readers {
		r.client.Close()
	}
}

// Next implements Source.
func (t *Topic) Next(ctx context.Context) (Step, bool, error) {
	first, err := t.first(ctx)
	if err != nil || first == nil {
		return Step{}, false, err
	}
	s := Step{End: stepEnd(max(first.head.at, t.end))}
	latest := timeless
	for r := first; r != nil && r.head.at < s.End; {
		if at := r.head.at; len(s.Transactions) >= mostInStep && at > latest && at > t.end {
			s.End = at
			break
		}
		i := r.take()
		latest = max(latest, i.at)
		switch {
		case i.label != nil:
			s.Labels = append(s.Labels, *i.label)
		case i.transaction != nil:
			s.Transactions = append(s.Transactions, *i.transaction)
		}
		if r, err = t.first(ctx); err != nil {
			return Step{}, false, err
		}
	}
	t.end = s.End
	for _, r := range t.readers {
		s.Done, s.All = s.Done+r.next-r.start, s.All+r.end-r.start
	}
	return s, true, nil
}

// first returns the reader whose next item is the earliest, nil at the end of all.
func (t *Topic) first(ctx context.Context) (*reader, error) {
	var first *reader
	for _, r := range t.readers {
		if err := r.fill(ctx, t.latest); err != nil {
			return nil, err
		}
		if r.head != nil && (first == nil || r.head.at < first.head.at) {
			first = r
		}
	}
	return first, nil
}

// reader reads one partition.
type reader struct {
	client           *kgo.Client
	start, next, end int64 // offsets
	parse            func(rec *kgo.Record, latest int64) item
	buffer           []*kgo.Record
	head             *item
	last             int64 // event time of the last item that had one
}

// item is a transaction, a label, or neither.
type item struct {
	at          int64 // event time, ms; timeless: that of the one before it
	transaction *Transaction
	label       *Label
}

// fill makes head the next item, nil at the end.
func (r *reader) fill(ctx context.Context, latest int64) error {
	for r.head == nil {
		if len(r.buffer) == 0 {
			if r.next >= r.end {
				return nil
			}
			fetches := r.client.PollRecords(ctx, 1000)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if failures := fetches.Errors(); len(failures) > 0 {
				return fmt.Errorf("read topic %q: %w", failures[0].Topic, failures[0].Err)
			}
			r.buffer = fetches.Records()
			continue
		}
		rec := r.buffer[0]
		r.buffer = r.buffer[1:]
		r.next = rec.Offset + 1
		if rec.Offset >= r.end {
			r.buffer = nil
			return nil
		}
		if rec.Attrs.IsControl() {
			continue
		}
		i := r.parse(rec, latest)
		if i.at == timeless {
			i.at = r.last
		}
		r.last = i.at
		r.head = &i
	}
	return nil
}

func (r *reader) take() *item {
	i := r.head
	r.head = nil
	return i
}

// parseTransaction reads a transaction in either of the formats that enrich takes.
// What is none is handed to enrich all the same, which refuses it.
func parseTransaction(rec *kgo.Record, latest int64) item {
	var e events.Event
	if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err == nil && e.Type == events.TypeWatermark {
		return item{at: timeless}
	}
	i := item{at: timeless, transaction: &Transaction{Amount: -1, Record: outside(rec)}}
	var t events.Transaction
	if e.Type != events.TypeTransaction && e.Type != events.TypePlain {
		return i
	}
	if err := events.ParseTransaction(e.Data, &t); err == nil && t.Time <= latest {
		i.at, i.transaction.ID, i.transaction.UserID = t.Time, strings.Clone(t.TransactionID), strings.Clone(t.UserID)
	}
	return i
}

// parseLabel reads a label. What is none is handed to the functions all the same.
func parseLabel(rec *kgo.Record, latest int64) item {
	var e events.Event
	if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err == nil && e.Type == events.TypeWatermark {
		return item{at: timeless}
	}
	i := item{at: timeless, label: &Label{Record: outside(rec)}}
	var l events.Label
	if err := events.ParseLabel(e.Data, &l); err == nil && e.Type == events.TypeLabel && l.LabelTime <= latest {
		i.at, i.label.Label = l.LabelTime, l
	}
	return i
}

// outside is rec as if it came from outside: without what a function that wrote it
// has said about its own progress.
func outside(rec *kgo.Record) *kgo.Record {
	copied := &kgo.Record{Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		switch h.Key {
		case "ce_" + events.ExtTask, "ce_" + events.ExtWatermark, "ce_" + events.ExtIdle:
		default:
			copied.Headers = append(copied.Headers, h)
		}
	}
	return copied
}
