package backtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/broker"
	"datasurge/emulator/offsets"
	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/stream"
	"datasurge/knative"
	"datasurge/knative/topic"
)

// kafka is an embedded broker on a directory of its own, with the topics of the
// pipeline.
type kafka struct {
	broker  *broker.Broker
	dir     string
	options []kgo.Opt
	client  *kgo.Client // for what is asked of the broker
}

// openKafka makes the topics that the manifests declare, those with several
// partitions with so many; with against, also those of a second detect.
func openKafka(ctx context.Context, partitions int, against bool, log *slog.Logger) (k *kafka, err error) {
	k = &kafka{}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.dir, err = os.MkdirTemp("", "datasurge-backtest-"); err != nil {
		return k, fmt.Errorf("make a directory for the embedded Kafka: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return k, err
	}
	if k.broker, err = broker.Open(ctx, broker.Config{Dir: k.dir, Listener: listener, Logger: log}); err != nil {
		return k, err
	}
	k.options = []kgo.Opt{kgo.SeedBrokers(k.broker.Addr()), kgo.DisableClientMetrics()}
	if k.client, err = kgo.NewClient(k.options...); err != nil {
		return k, err
	}
	set, err := knative.Default()
	if err != nil {
		return k, err
	}
	topics := set.Topics
	if against {
		names, err := againstTopics()
		if err != nil {
			return k, err
		}
		for _, t := range set.Topics {
			if name, ok := names[t.Topic]; ok {
				other := *t
				other.Topic = name
				topics = append(topics, &other)
			}
		}
	}
	for _, t := range topics {
		if t.Partitions > 1 {
			t.Partitions = partitions
		}
	}
	return k, topic.Create(ctx, kadm.NewClient(k.client), topics, broker.TopicConfig)
}

// close ends the broker and deletes what it has kept.
func (k *kafka) close() error {
	var err error
	if k.client != nil {
		k.client.Close()
	}
	if k.broker != nil {
		err = k.broker.Close()
	}
	if k.dir != "" {
		err = errors.Join(err, os.RemoveAll(k.dir))
	}
	return err
}

// ends returns the offsets that readers of a topic get to, by partition.
func (k *kafka) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	ends, err := offsets.Ends(ctx, kadm.NewClient(k.client), topic)
	return ends[topic], err
}

// forget deletes what stands before offsets.
func (k *kafka) forget(ctx context.Context, offsets kadm.Offsets) error {
	deleted, err := kadm.NewClient(k.client).DeleteRecords(ctx, offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return fmt.Errorf("delete what has been read: %w", err)
	}
	return nil
}

// scoredTopic is where the n-th detect writes its decisions.
func scoredTopic(n int) string {
	if n == 0 {
		return events.TopicScored
	}
	return events.TopicScored + againstSuffix
}

// againstTopics are the topics of the second detect, by those of the first.
func againstTopics() (map[string]string, error) {
	def, err := detect.Definition(detect.DefaultConfig())
	if err != nil {
		return nil, err
	}
	names := map[string]string{stream.ChangelogTopic(def.Name): stream.ChangelogTopic(def.Name + againstSuffix)}
	for _, out := range def.Outputs {
		names[out.Topic] = out.Topic + againstSuffix
	}
	return names, nil
}
