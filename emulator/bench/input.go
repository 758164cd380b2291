package bench

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// original makes transactions as the original system's producer does: plain JSON,
// key = userId, amounts from 50,000 to 150,000.
type original struct {
	rng   *rand.Rand
	users int
}

func newOriginal(seed uint64, users int) *original {
	return &original{rand.New(rand.NewPCG(seed, 1)), users}
}

// record returns one transaction at the given time, and whether it is over
// 100,000.
func (o *original) record(at time.Time) (rec *kgo.Record, id string, large bool) {
	cents := 50_000_00 + o.rng.Int64N(100_000_00+1)
	id = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", o.rng.Uint32(), o.rng.Uint32N(1<<16), o.rng.Uint32N(1<<12), o.rng.Uint32N(1<<12), o.rng.Uint64N(1<<48))
	pick := func(of ...string) string { return of[o.rng.IntN(len(of))] }
	user := fmt.Sprintf("user_%d", o.rng.IntN(o.users))
	value := fmt.Sprintf(`{"transactionId": "%s", "userId": "%s", "amount": %d.%02d, "transactionTime": %d, "merchantId": "merchant_%d", "transactionType": "%s", "location": "location_%d", "paymentMethod": "%s", "international": "%s", "currency": "%s"}`,
		id, user, cents/100, cents%100, at.UnixMilli(), o.rng.IntN(200), pick("purchase", "refund"), o.rng.IntN(50),
		pick("credit_card", "debit_card", "paypal"), pick("True", "False"), pick("USD", "EUR", "GBP"))
	return &kgo.Record{Topic: events.TopicTransactions, Key: []byte(user), Value: []byte(value), Timestamp: at}, id, cents > 100_000_00
}

// writeInput writes n transactions, a thousandth of a second of event time apart
// and ending now, and returns the ids of those over 100,000.
func writeInput(ctx context.Context, kafka *Kafka, n int) (map[string]int, error) {
	client, err := kgo.NewClient(append(kafka.Client[:len(kafka.Client):len(kafka.Client)],
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	make := newOriginal(1, 50_000)
	large := map[string]int{}
	var failed atomic.Pointer[error]
	at := time.Now().Add(-time.Duration(n) * time.Millisecond)
	for i := range n {
		rec, id, over := make.record(at.Add(time.Duration(i) * time.Millisecond))
		if over {
			large[id] = 0
		}
		client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return nil, err
	}
	if err := failed.Load(); err != nil {
		return nil, fmt.Errorf("write the input: %w", *err)
	}
	return large, nil
}

// count reads what came out of the chain: everything that is there now, as soon as
// the transactions that wrote it have ended.
func (ch *Chain) count(ctx context.Context, kafka *Kafka, large map[string]int) error {
	topics := []string{events.TopicEnriched, events.TopicScored, events.TopicAnomalies}
	client, err := kgo.NewClient(append(kafka.Client[:len(kafka.Client):len(kafka.Client)],
		kgo.ConsumeTopics(topics...), kgo.KeepControlRecords(), // in which a topic may end
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	ch.Large = len(large)
	ends, err := offsets.Written(ctx, kadm.NewClient(client), topics...)
	if err != nil {
		return err
	}
	for _, partitions := range ends {
		maps.DeleteFunc(partitions, func(_ int32, end int64) bool { return end == 0 })
	}
	for len(ends[events.TopicEnriched])+len(ends[events.TopicScored])+len(ends[events.TopicAnomalies]) > 0 {
		poll, cancel := context.WithTimeout(ctx, time.Minute)
		fetches := client.PollRecords(poll, 50_000)
		cancel()
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("read what came out, to the ends %v: %w", ends, err)
		}
		for rec := range fetches.RecordsAll() {
			end, more := ends[rec.Topic][rec.Partition]
			if !more {
				continue
			}
			if rec.Offset >= end-1 {
				delete(ends[rec.Topic], rec.Partition)
			}
			if rec.Offset >= end || rec.Attrs.IsControl() {
				continue
			}
			var e events.Event
			if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
				return err
			}
			switch e.Type {
			case events.TypeEnriched:
				ch.Enriched++
			case events.TypeScored:
				ch.Scored++
			case events.TypeAnomaly:
				if id, _, _ := strings.Cut(e.ID, "/"); true {
					if n, isLarge := large[id]; isLarge {
						large[id] = n + 1
					}
				}
			}
		}
	}
	for _, n := range large {
		if n > 0 {
			ch.Flagged++
		}
		if n > 1 {
			ch.Doubled++
		}
	}
	return nil
}
