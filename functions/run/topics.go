package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/knative"
	"datasurge/knative/topic"
)

// topicsWithin bounds the mode topics: what has to come up before it is waited
// for, but not for ever.
const topicsWithin = 2 * time.Minute

// makeTopics is the mode topics: it creates the topics that the manifests of
// knative/ declare, as far as they are not there, and ends. It waits until there
// are as many brokers as there should be, for a topic that is created while one
// of three is away has two replicas from then on.
func makeTopics(ctx context.Context, c *Config, log *slog.Logger) error {
	if len(c.Brokers) == 0 {
		return errors.New("KAFKA_BROKERS is not set: there is no Kafka to make topics on")
	}
	set, err := knative.Default()
	if err != nil {
		return err
	}
	kafka, err := KafkaOptions(c, log)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(kafka, kgo.DisableClientMetrics())...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(ctx, topicsWithin)
	defer cancel()
	if err := awaitBrokers(ctx, admin, c, log); err != nil {
		return err
	}
	if err := topic.Create(ctx, admin, set.Topics, nil); err != nil {
		return err
	}
	log.Info("all topics are there", slog.Int("topics", len(set.Topics)))
	return nil
}

// awaitBrokers returns when as many brokers are registered as there should be. A
// password that is refused is wrong for ever; everything else may come right.
func awaitBrokers(ctx context.Context, admin *kadm.Client, c *Config, log *slog.Logger) error {
	n, said := c.Expected, -1
	for {
		brokers, err := admin.ListBrokers(ctx)
		switch {
		case err == nil && len(brokers) >= n:
			return nil
		case errors.Is(err, kerr.SaslAuthenticationFailed):
			return fmt.Errorf("log in as %q (KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD): %w", c.SASL.Username, err)
		}
		if err == nil && len(brokers) != said {
			said = len(brokers)
			log.Info("waiting for brokers", slog.Int("there", said), slog.Int("expected", n))
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%d of %d brokers are there (KAFKA_BROKERS_EXPECTED): %w", max(said, 0), n, err)
		}
	}
}
