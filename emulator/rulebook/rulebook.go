// Package rulebook is what people do with rules, lists and labels: it checks and
// applies rules, shows what is in force and since when, changes the lists, and
// labels transactions, over the topics that the function detect follows.
//
// Rules are in the compacted topic detection_rules. The record in force stands
// under the rule's id; each version stands under id@version as well, for good.
// So the history lasts as long as the topic and is compacted like it, both are
// written in one transaction, and an instance of detect that finds a broken
// record in force finds the last good version beside it. A topic of its own for
// the history could not be written to by one producer with the same guarantees
// for less.
package rulebook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
	"datasurge/functions/kafkatxn"
)

// Source is the CloudEvents source of what people write.
const Source = "/datasurge/emulator"

// Book reads and writes the topics of one Kafka. It has no open connections
// between calls.
type Book struct {
	kafka []kgo.Opt
	now   func() time.Time
}

// New returns a book on the Kafka that options connect to. now is the clock.
func New(options []kgo.Opt, now func() time.Time) *Book {
	return &Book{kafka: options, now: now}
}

// NewCompiler returns a compiler with the variables and limits of detect.
func NewCompiler() (*rules.Compiler, error) {
	return rules.NewCompiler(detect.Schema(), rules.DefaultLimits())
}

// record is the last record of a key in a table.
type record struct {
	key   string
	value []byte
	time  time.Time
}

// table reads the last record of each key of a compacted topic, in the order in
// which they were written.
func (b *Book) table(ctx context.Context, topic string) ([]record, error) {
	var list []record
	at := map[string]int{} // key to its place in list
	err := b.scan(ctx, topic, func(rec *kgo.Record) error {
		key := string(rec.Key)
		if i, seen := at[key]; seen {
			list[i].key = "" // a newer one follows
			delete(at, key)
		}
		if rec.Value != nil {
			at[key] = len(list)
			list = append(list, record{key, rec.Value, rec.Timestamp})
		}
		return nil
	})
	return slices.DeleteFunc(list, func(r record) bool { return r.key == "" }), err
}

// quietAfter is how long a topic has to be quiet to count as read to its end:
// its last offset may be that of a record which compaction has dropped.
const quietAfter = 2 * time.Second

// errEnough ends a scan without an error.
var errEnough = errors.New("enough")

// scan hands every committed record that stands in topic when it is called to
// each, those of a partition in order.
func (b *Book) scan(ctx context.Context, topic string, each func(*kgo.Record) error) error {
	client, err := kgo.NewClient(append(slices.Clone(b.kafka),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	missing, err := ends(ctx, client, topic)
	if err != nil {
		return err
	}
	last := time.Now()
	for len(missing) > 0 && time.Since(last) < quietAfter {
		pollCtx, cancel := context.WithTimeout(ctx, quietAfter/2)
		fetches := client.PollRecords(pollCtx, 10_000)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, failure := range fetches.Errors() {
			if !errors.Is(failure.Err, context.DeadlineExceeded) {
				return fmt.Errorf("read %s: %w", topic, failure.Err)
			}
		}
		for rec := range fetches.RecordsAll() {
			last = time.Now()
			end, wanted := missing[rec.Partition]
			if !wanted {
				continue
			}
			if !rec.Attrs.IsControl() && rec.Offset < end {
				if err := each(rec); errors.Is(err, errEnough) {
					return nil
				} else if err != nil {
					return err
				}
			}
			if rec.Offset+1 >= end {
				delete(missing, rec.Partition)
			}
		}
	}
	return nil
}

// ends returns the last stable offset of each partition that has records.
func ends(ctx context.Context, client *kgo.Client, topic string) (map[int32]int64, error) {
	admin := kadm.NewClient(client)
	begins, err := offsets.Begins(ctx, admin, topic)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, fmt.Errorf("the topic %s is not there: is this the Kafka of DataSurge?", topic)
	}
	if err != nil {
		return nil, err
	}
	committed, err := offsets.Ends(ctx, admin, topic)
	if err != nil {
		return nil, err
	}
	found := committed[topic]
	maps.DeleteFunc(found, func(p int32, end int64) bool { return begins[topic][p] >= end })
	return found, nil
}

// writer is the transactional id of everything that is written to the tables: of
// two who write at once, one is refused.
const writer = "datasurge-rulebook"

// tables is a transaction on the tables: what it reads nobody else changes
// before it has written.
type tables struct {
	book    *Book
	client  *kgo.Client
	records []*kgo.Record
}

// update runs change, which reads the tables and puts records, and commits what
// it put, all of it or nothing.
func (b *Book) update(ctx context.Context, change func(*tables) error) error {
	client, err := kgo.NewClient(append(slices.Clone(b.kafka),
		kgo.TransactionalID(writer),
		kgo.TransactionTimeout(10*time.Second),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	// Fences whoever else is writing.
	if _, _, err := client.ProducerID(ctx); err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	t := &tables{book: b, client: client}
	if err := change(t); err != nil || len(t.records) == 0 {
		return err
	}
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	if err := client.ProduceSync(ctx, t.records...).FirstErr(); err != nil {
		return errors.Join(wroteAtOnce(err), client.EndTransaction(context.WithoutCancel(ctx), kgo.TryAbort))
	}
	if err := kafkatxn.Commit(ctx, client); err != nil {
		return wroteAtOnce(err)
	}
	return nil
}

func wroteAtOnce(err error) error {
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("somebody else changed rules or lists at the same time, and nothing was written: look at what there is and try again: %w", err)
	}
	return fmt.Errorf("write: %w", err)
}

// put writes an event to topic. The record's key is key; an event without data
// deletes what stands there.
func (t *tables) put(topic, key string, e *events.Event) {
	e.Source, e.Key, e.Time = Source, key, t.book.now().UTC()
	rec := &kgo.Record{}
	kafkarecord.Write(e, rec)
	rec.Topic = topic
	t.records = append(t.records, rec)
}
