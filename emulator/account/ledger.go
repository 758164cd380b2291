// Package account compares what went into the pipeline with what came out of it,
// event by event and hop by hop: is anything lost, is anything there twice?
//
// A ledger is handed the records of the topics as a read_committed reader gets
// them, of each partition in their order, and gives an [Account]. It knows no
// Kafka and no clock: the same records give the same account. [Settle] reads the
// topics for it and waits until everything is through.
//
// # What is compared
//
//	financial_transactions ──▶ enriched ──▶ scored ──┬─▶ anomalies: of those that are flagged
//	                                                 └─▶ aggregates: counts by window
//
// Transactions are told apart by transactionId and userId. Each that was sent
// has to be enriched once, or to be in late_events or dead_letters. One that was
// sent several times is enriched once: enrich drops the others within its
// horizon of event time, which is counted and no fault. Each that was enriched
// has to be scored once; each that is flagged has one anomaly. What generate
// sent twice, or labelled without having sent it, is a fault of generate.
//
// Windows have no ids. Every scored transaction has to be counted once in the
// partial results of its slice, in every dimension; the result of a window has
// to be the sum of its parts; the final results of all values of a dimension
// have to sum up to that of the whole; a window has one final result, which
// nothing follows, and no result is there twice. What was too late for some of
// its windows, by the watermarks that stand on the events, is counted and no
// fault.
//
// # Memory
//
// Of a transaction 64 bits of a hash and 20 bytes of counts are kept, about 60
// bytes with the table that they stand in. Above [MaxTransactions] the topics
// are read several times, each time for a share of the hashes. Two of a million
// transactions share a hash with a probability of 3 in 100 million; they would be
// taken for one that is there twice. Of each window of each series about 100
// bytes are kept.
package account

import (
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/window"
)

// Topics are those that an account is made of.
func Topics() []string {
	return []string{
		events.TopicTransactions, events.TopicLabels, events.TopicEnriched, events.TopicScored, events.TopicAnomalies,
		events.TopicPartials, events.TopicAggregates, events.TopicLate, events.TopicDeadLetters,
	}
}

// Options say what a ledger has to know of the pipeline.
type Options struct {
	// Windows are those of aggregate, in its order; none: windows are not
	// compared.
	Windows  []window.Spec
	Lateness time.Duration // of aggregate
	Horizon  time.Duration // for which enrich remembers transactions
	// Whole says that the topics are read from their beginning. Else there may be
	// results of what was sent before.
	Whole bool
	// WindowsFrom is the event time, ms since the epoch, before which slices and
	// windows are not compared, because not all of them was read.
	WindowsFrom int64
	// Until are the ends of financial_transactions and transaction_labels, by
	// topic and partition: what was sent behind them is still under way. nil:
	// everything counts.
	Until map[string]map[int32]int64

	shard, shards uint64 // of the hashes; shards 0: all
}

// ledger takes records and gives the account of them.
type ledger struct {
	options Options
	entries map[uint64]entry
	windows *windows
	account Account // counts that need no comparison
	events  int64   // that were added
	// names are filled with the transactions of these hashes.
	names map[uint64]string

	key []byte
}

// newLedger returns an empty ledger.
func newLedger(options Options) *ledger {
	return &ledger{
		options: options,
		entries: make(map[uint64]entry),
		windows: newWindows(&options),
		account: Account{Topics: make(map[string]int64), DeadLetters: make(Reasons), Late: make(Reasons)},
	}
}

// first reports whether this is the reading in which everything is counted that
// is not counted by transaction.
func (l *ledger) first() bool { return l.options.shard == 0 }

// Add takes one record. Control records and watermarks are passed over.
func (l *ledger) Add(rec *kgo.Record) {
	if rec.Attrs.IsControl() {
		return
	}
	var e events.Event
	if kafkarecord.Read(rec, &e, kafkarecord.Mapping{}) != nil || e.Type == events.TypeWatermark {
		return
	}
	l.events++
	if l.first() {
		l.account.Topics[rec.Topic]++
	}
	switch rec.Topic {
	case events.TopicTransactions:
		l.sent(rec, &e)
	case events.TopicLabels:
		l.labelled(rec, &e)
	case events.TopicEnriched:
		l.enriched(&e)
	case events.TopicScored:
		l.scored(rec, &e)
	case events.TopicAnomalies:
		l.count(strings.TrimSuffix(e.ID, "/anomaly"), e.Key, func(n *entry) { inc(&n.anomalies) })
	case events.TopicPartials:
		if l.first() && l.windows != nil {
			l.windows.partial(&e)
		}
	case events.TopicAggregates:
		if l.first() && l.windows != nil {
			l.windows.result(&e)
		}
	case events.TopicLate:
		l.late(&e)
	case events.TopicDeadLetters:
		l.dead(&e)
	}
}

// sent takes a record of financial_transactions.
func (l *ledger) sent(rec *kgo.Record, e *events.Event) {
	inside := l.inside(rec)
	generated := e.Source == events.SourceGenerate
	note := func(n *entry) {
		inc(&n.sent)
		n.outside = n.outside || !inside
		if generated {
			inc(&n.generated)
		}
	}
	var t events.Transaction
	if events.ParseTransaction(e.Data, &t) != nil {
		// It cannot become anything but a dead letter, which names its place.
		l.countPlace(rec.Topic, rec.Partition, rec.Offset, note)
		return
	}
	l.count(t.TransactionID, t.UserID, note)
}

func (l *ledger) inside(rec *kgo.Record) bool {
	if l.options.Until == nil {
		return true
	}
	return rec.Offset < l.options.Until[rec.Topic][rec.Partition]
}

func (l *ledger) labelled(rec *kgo.Record, e *events.Event) {
	// Labels of others are about transactions that need not be here.
	if e.Source == events.SourceGenerate && l.inside(rec) {
		l.count(strings.TrimSuffix(e.ID, "/label"), e.Key, func(n *entry) { inc(&n.labels) })
	}
}

func (l *ledger) enriched(e *events.Event) {
	at := int32(e.Time.UnixMilli() / minute)
	l.count(e.ID, e.Key, func(n *entry) {
		if n.enriched > 0 {
			// The first has been forgotten when the watermark has passed the end
			// of its minute by the horizon.
			end := (int64(n.minute) + 1) * minute
			if mark, ok := watermarkOf(e); ok && mark >= end+l.options.Horizon.Milliseconds() {
				inc(&n.forgotten)
			}
		}
		inc(&n.enriched)
		n.minute = at
	})
}

// minute is the grain in ms in which enrich forgets.
const minute = 60_000

func (l *ledger) scored(rec *kgo.Record, e *events.Event) {
	var t events.Scored
	flagged := events.ParseVerdict(e.Data, &t) == nil && t.Flagged
	l.count(e.ID, e.Key, func(n *entry) {
		inc(&n.scored)
		if flagged {
			inc(&n.flagged)
		}
	})
	if l.first() && l.windows != nil {
		l.windows.scored(rec.Partition, e)
	}
}

// late takes an event of late_events.
func (l *ledger) late(e *events.Event) {
	var late events.Late
	if events.ParseLate(e.Data, &late) != nil {
		if l.first() {
			l.account.Late["no event of DataSurge"]++
		}
		return
	}
	if l.first() {
		l.account.Late[late.Function+": "+late.Reason]++
	}
	l.refused(&late.Event, hopOf(&late.Event), place{}, func(n *entry, at hop) { inc(&n.late[at]) })
}

// dead takes an event of dead_letters: a letter of a function, or an event that
// a KafkaSource could not deliver, with what it knows of the failure in its
// extensions.
func (l *ledger) dead(e *events.Event) {
	note := func(n *entry, at hop) { inc(&n.dead[at]) }
	if e.Type == events.TypeDeadLetter {
		var letter events.DeadLetter
		if events.ParseDeadLetter(e.Data, &letter) != nil {
			return
		}
		if l.first() {
			l.account.DeadLetters[letter.Function+": "+short(letter.Reason)]++
		}
		rec := kgo.Record{Topic: letter.Topic, Partition: letter.Partition, Offset: letter.Offset, Key: letter.Key, Value: letter.Value}
		for _, h := range letter.Headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		var original events.Event
		if kafkarecord.Read(&rec, &original, kafkarecord.Mapping{}) == nil {
			l.refused(&original, hopOfTopic(letter.Topic), place{letter.Topic, letter.Partition, letter.Offset}, note)
		}
		return
	}
	if l.first() {
		l.account.DeadLetters[failure(e)]++
	}
	at := place{topic: e.Extension(events.ExtTopic)}
	partition, err1 := strconv.ParseInt(e.Extension(events.ExtPartition), 10, 32)
	offset, err2 := strconv.ParseInt(e.Extension(events.ExtOffset), 10, 64)
	if err1 != nil || err2 != nil {
		at = place{}
	}
	at.partition, at.offset = int32(partition), offset
	where := hopOf(e)
	if at.topic != "" {
		where = hopOfTopic(at.topic)
	} else if where == hopEnrich {
		at.topic = events.TopicTransactions
	}
	l.refused(e, where, at, note)
}

// place is where a record stands.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// refused notes an event that a hop did not take. at is where it stood, when
// that is known.
func (l *ledger) refused(e *events.Event, where hop, at place, note func(*entry, hop)) {
	id, user := e.ID, e.Key
	switch where {
	case hopNone:
		return
	case hopEnrich:
		// The event's own id is the producer's.
		var t events.Transaction
		if events.ParseTransaction(e.Data, &t) != nil {
			l.countPlace(at.topic, at.partition, at.offset, func(n *entry) { note(n, where) })
			return
		}
		id, user = t.TransactionID, t.UserID
	case hopAggregate:
		if l.first() && l.windows != nil {
			l.windows.refused(e)
		}
	}
	l.count(id, user, func(n *entry) { note(n, where) })
}

// count changes the entry of a transaction.
func (l *ledger) count(id, user string, change func(*entry)) {
	l.key = append(append(append(l.key[:0], canonical(id)...), 0), user...)
	l.change(xxhash.Sum64(l.key), id, change)
}

// countPlace changes the entry of a record that names no transaction.
func (l *ledger) countPlace(topic string, partition int32, offset int64, change func(*entry)) {
	l.key = append(append(l.key[:0], topic...), '/')
	l.key = append(strconv.AppendInt(l.key, int64(partition), 10), '/')
	l.key = strconv.AppendInt(l.key, offset, 10)
	l.change(xxhash.Sum64(l.key), string(l.key), change)
}

func (l *ledger) change(hash uint64, name string, change func(*entry)) {
	if l.options.shards > 1 && hash%l.options.shards != l.options.shard {
		return
	}
	if l.names != nil {
		if known, ok := l.names[hash]; ok && known == "" {
			l.names[hash] = strings.Clone(name)
		}
		return
	}
	n := l.entries[hash]
	change(&n)
	l.entries[hash] = n
}

// canonical returns an id as enrich compares it: UUIDs that differ in case are
// the same.
func canonical(id string) string {
	const uuid = len("5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b001")
	if len(id) == uuid && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		return strings.ToLower(id)
	}
	return id
}

// watermarkOf returns the watermark that an event carries.
func watermarkOf(e *events.Event) (int64, bool) {
	mark, err := strconv.ParseInt(e.Extension(events.ExtWatermark), 10, 64)
	return mark, err == nil
}
