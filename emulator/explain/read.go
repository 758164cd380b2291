package explain

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
)

// Read reads the topics for the story of one transaction. It has to look at every
// record, for nothing says where a transaction stands: read is told how many
// there were, now and then.
func Read(ctx context.Context, kafka []kgo.Opt, id string, read func(records int)) (Story, error) {
	t := NewTeller(id)
	r := reader{kafka: kafka, progress: read}
	if err := r.each(ctx, Topics(), time.Time{}, func(rec *kgo.Record) { t.Add(rec) }); err != nil {
		return Story{}, err
	}
	// Results of a window come after it has begun, and it begins at most its size
	// before the transaction.
	if since, ok := t.Since(); ok {
		if err := r.each(ctx, []string{events.TopicAggregates}, since.Add(-ahead), t.AddWindow); err != nil {
			return Story{}, err
		}
	}
	return t.Story(), nil
}

// ahead is how much earlier than a transaction's time a result of its windows may
// have been written: transactions may be ahead of the clock.
const ahead = time.Hour

// reader reads topics to their present end.
type reader struct {
	kafka    []kgo.Opt
	progress func(int)
	records  int
}

// progressEvery is the number of records between two words of progress.
const progressEvery = 100_000

// each calls take with every record that is committed now and was written at
// since or later, of each partition in their order.
func (r *reader) each(ctx context.Context, topics []string, since time.Time, take func(*kgo.Record)) error {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, r.kafka...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var begins offsets.Offsets
	if since.IsZero() {
		begins, err = offsets.Begins(ctx, admin, topics...)
	} else {
		begins, err = offsets.After(ctx, admin, since, topics...)
	}
	if err != nil {
		return err
	}
	ends, err := offsets.Ends(ctx, admin, topics...)
	if err != nil {
		return err
	}
	from := make(map[string]map[int32]kgo.Offset)
	left := make(map[place]int64)
	for topic, partitions := range ends {
		from[topic] = make(map[int32]kgo.Offset)
		for p, end := range partitions {
			if begin := begins[topic][p]; begin < end {
				from[topic][p] = kgo.NewOffset().At(begin)
				left[place{topic, p}] = end
			}
		}
	}
	client.AddConsumePartitions(from)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read partition %d of %s: %w", e.Partition, e.Topic, e.Err)
		}
		for rec := range fetches.RecordsAll() {
			at := place{rec.Topic, rec.Partition}
			end, open := left[at]
			if !open || rec.Offset >= end {
				continue
			}
			if rec.Offset+1 == end {
				delete(left, at)
			}
			take(rec)
			if r.records++; r.records%progressEvery == 0 && r.progress != nil {
				r.progress(r.records)
			}
		}
	}
	return nil
}

type place struct {
	topic     string
	partition int32
}
