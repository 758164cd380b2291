// Package broker runs a Kafka broker inside the process: franz-go's kfake with a
// data directory.
//
// kfake was made for tests. What it needs to hold somebody's data for months is
// done here, one guard for each trap:
//
//   - Compaction does not know of open transactions: a committed value is lost
//     when a newer one of an open transaction is aborted later. Compaction runs
//     only in [Open], after every open transaction has been aborted and before
//     the first client is let in.
//   - After a kill, open transactions are counted as aborted but no marker says
//     so: readers with read_committed would skip what the same producer writes
//     next. [Open] writes the markers (markers.go).
//   - Time retention is applied to compacted topics too: [TopicConfig] sets
//     retention.ms to -1 on them (topics.go).
//   - Retention runs only with compaction: [Broker] runs it by itself every
//     minute, and [TopicConfig] bounds the size of what is not compacted.
//   - Positions of groups without members are forgotten after a week: never, here.
//   - DescribeTopicPartitions answers with a null that Java's tools do not read:
//     the broker does not offer it, and they fall back.
//   - A failed write is answered and then forgotten: [Broker.Failed] reports it,
//     a full disk by its name.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Config is what a broker is opened with.
type Config struct {
	// Dir holds the data. It is created when it is not there. Nothing else may
	// use it at the same time.
	Dir string
	// Listener is where clients connect; its address is the one that the broker
	// tells them. The broker closes it, also when Open fails.
	Listener net.Listener
	Logger   *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	gate    *gate
	unclean string // the file that says that the broker was not closed
	failed  chan error
	stop    chan struct{}
	done    sync.WaitGroup
	closed  sync.Once
}

// retentionEvery is the pause between two runs of retention. Kafka's own is five
// minutes.
const retentionEvery = time.Minute

// uncleanFile exists in the data directory while a broker runs on it.
const uncleanFile = "running"

// Open starts the broker on its data directory and mends what a kill has left.
// Clients wait until it is done; ctx bounds it.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		cfg.Listener.Close()
		return nil, fmt.Errorf("broker: data directory: %w", err)
	}
	b := &Broker{
		gate:    newGate(cfg.Listener),
		unclean: filepath.Join(cfg.Dir, uncleanFile),
		failed:  make(chan error, 1),
		stop:    make(chan struct{}),
	}
	_, err := os.Stat(b.unclean)
	unclean := err == nil
	if err := os.WriteFile(b.unclean, nil, 0o644); err != nil {
		b.gate.Close()
		return nil, fmt.Errorf("broker: data directory: %w", err)
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.DescribeTopicPartitions), -1)
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.DataDir(cfg.Dir),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return b.gate, nil }),
		kfake.WithLogger(&logger{log: cfg.Logger, dir: cfg.Dir, failed: b.failed}),
		kfake.MaxVersions(versions),
		kfake.DefaultNumPartitions(4),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms":    hundredYears(time.Millisecond),
			"offsets.retention.minutes": hundredYears(time.Minute),
		}),
	)
	if err != nil {
		b.gate.Close()
		return nil, fmt.Errorf("broker: the data in %s cannot be read: %w", cfg.Dir, err)
	}
	if err := b.mend(ctx, unclean); err != nil {
		b.cluster.Close() // and leave the file: the next Open mends again
		return nil, fmt.Errorf("broker: after start: %w", err)
	}
	b.gate.open()
	b.done.Go(b.retain)
	return b, nil
}

// hundredYears is what never is said with, in units, without overflowing a
// time.Duration.
func hundredYears(unit time.Duration) string {
	return fmt.Sprint(int64(100 * 365 * 24 * time.Hour / unit))
}

// mend brings the log into a state in which compaction is safe, compacts, and
// writes the abort markers that are missing. The order matters:
//
//  1. Transactions that a graceful stop has left open are aborted: their records
//     would count as the newest in compaction.
//  2. Compaction drops the records of aborted transactions, and with them markers
//     of producers of which nothing else is left.
//  3. So the markers come last: to every partition after a kill, when nobody
//     knows which transactions were open, else to the compacted ones.
func (b *Broker) mend(ctx context.Context, unclean bool) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.gate.Addr().String()),
		kgo.Dialer(b.gate.dial),
		kgo.MaxVersions(kversion.Stable()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	txns, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("list transactions: %w", err)
	}
	if err := abortOpen(ctx, client, txns); err != nil {
		return err
	}
	b.cluster.Compact()
	return writeAbortMarkers(ctx, admin, txns, unclean)
}

// retain runs retention until the broker is closed.
func (b *Broker) retain() {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.cluster.ApplyRetention()
		case <-b.stop:
			return
		}
	}
}

// Addr is the address that clients connect to.
func (b *Broker) Addr() string { return b.gate.Addr().String() }

// Failed gives one error when the broker could not write its data. It goes on
// answering, and refuses what it cannot store.
func (b *Broker) Failed() <-chan error { return b.failed }

// Close stops the broker and stores what it holds in memory. It may be called
// more than once.
func (b *Broker) Close() error {
	var err error
	b.closed.Do(func() {
		close(b.stop)
		b.done.Wait()
		b.cluster.Close()
		b.gate.Close()
		err = os.Remove(b.unclean)
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	})
	return err
}
