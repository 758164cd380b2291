package stream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ownerLookup finds the address of the instance that works on a partition. Each
// commit ends with a meta record that holds it, so the end of the changelog
// tells.
type ownerLookup struct {
	options *Options
	client  *kgo.Client

	mu    sync.Mutex
	known map[int]knownOwner
}

type knownOwner struct {
	address string
	at      time.Time
}

// ownerFor is how long an address is believed.
const ownerFor = 10 * time.Second

func newOwnerLookup(o *Options) (*ownerLookup, error) {
	client, err := kgo.NewClient(append(o.clientOptions("owners"), kgo.DisableClientMetrics())...)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return &ownerLookup{options: o, client: client, known: map[int]knownOwner{}}, nil
}

func (l *ownerLookup) close() { l.client.Close() }

// Owner returns host:port of the instance that committed last on the partition,
// "" when nobody has or it takes no forwarded events. Answers are remembered for
// ten seconds; call Forget when one proves wrong.
func (e *Engine) Owner(ctx context.Context, partition int) (string, error) {
	l := e.lookup
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.known[partition]; ok && time.Since(k.at) < ownerFor {
		return k.address, nil
	}
	address, err := l.read(ctx, int32(partition))
	if err != nil {
		return "", fmt.Errorf("find the owner of partition %d: %w", partition, err)
	}
	l.known[partition] = knownOwner{address, time.Now()}
	return address, nil
}

// Forget drops what is known of a partition's owner.
func (e *Engine) Forget(partition int) {
	e.lookup.mu.Lock()
	defer e.lookup.mu.Unlock()
	delete(e.lookup.known, partition)
}

// read looks for the last owner or meta record, from the end of the changelog
// backwards in growing steps.
func (l *ownerLookup) read(ctx context.Context, partition int32) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	topic := ChangelogTopic(l.options.Definition.Name)
	admin := kadm.NewClient(l.client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	start, ok1 := starts.Lookup(topic, partition)
	end, ok2 := ends.Lookup(topic, partition)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("%s has no partition %d", topic, partition)
	}
	for back := int64(32); ; back *= 16 {
		from := max(start.Offset, end.Offset-back)
		address, found, err := l.scan(ctx, topic, partition, from, end.Offset)
		if err != nil || found || from == start.Offset {
			return address, err
		}
	}
}

// scan returns the address in the last owner or meta record of [from, end).
func (l *ownerLookup) scan(ctx context.Context, topic string, partition int32, from, end int64) (address string, found bool, err error) {
	if from >= end {
		return "", false, nil
	}
	client, err := kgo.NewClient(append(slices.Clone(l.options.Kafka),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return "", false, err
	}
	defer client.Close()
	for next := from; next < end; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return "", false, err
		}
		for rec := range fetches.RecordsAll() {
			next = rec.Offset + 1
			if rec.Attrs.IsControl() || len(rec.Key) == 0 || rec.Value == nil {
				continue
			}
			switch rec.Key[0] {
			case kindMeta:
				if m, err := parseMeta(rec.Value); err == nil {
					address, found = m.owner, true
				}
			case kindOwner:
				r := newReader(rec.Value[min(nonceSize, len(rec.Value)):])
				address, found = r.Text(), true
			}
		}
	}
	return address, found, nil
}
