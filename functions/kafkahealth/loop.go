package kafkahealth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config configures a Loop. Zero values take the documented default.
type Config struct {
	// Kafka connects clients: seed brokers, TLS, SASL, dialer. Required.
	Kafka []kgo.Opt
	// Brokers is the number of brokers that there should be. Default: as many as
	// are registered with the controllers, which forget none by themselves.
	Brokers int
	// Interval is the time between two looks. Default 10 s.
	Interval time.Duration
	Logger   *slog.Logger
}

// checkWithin bounds one look. It is longer than a client takes to find out that
// a broker has died and to ask another.
const checkWithin = 15 * time.Second

// Loop looks at a cluster again and again. It is a [prometheus.Collector] of what
// it saw last. Don't forget to Run and to Close it.
type Loop struct {
	config Config
	client *kgo.Client
	admin  *kadm.Client
	log    *slog.Logger
	checks []check
	quorum *bool // whether DescribeQuorum is supported; nil until that is known

	mu   sync.Mutex
	seen map[string]outcome // by check
}

type check struct {
	name string
	// look returns what there is to export. Beside an error, it is exported, too.
	look func(ctx context.Context, l *Loop) ([]prometheus.Metric, error)
}

// outcome is the last result of a check.
type outcome struct {
	metrics []prometheus.Metric
	err     error
	took    time.Duration
}

// errUnsupported: the cluster does not know what the check asks for.
var errUnsupported = errors.New("not supported by this cluster")

// New returns a loop that has seen nothing yet. It does not connect.
func New(config Config) (*Loop, error) {
	if len(config.Kafka) == 0 {
		return nil, errors.New("kafka health: the options that connect to Kafka are required")
	}
	config.Interval = cmp.Or(config.Interval, 10*time.Second)
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	client, err := kgo.NewClient(append(slices.Clone(config.Kafka),
		kgo.ClientID("datasurge-kafka-health"),
		kgo.RetryTimeout(checkWithin),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("kafka health: %w", err)
	}
	return &Loop{
		config: config,
		client: client,
		admin:  kadm.NewClient(client),
		log:    config.Logger,
		seen:   map[string]outcome{},
		checks: []check{
			{"cluster", lookAtCluster},
			{"quorum", lookAtQuorum},
			{"disk", lookAtDisks},
			{"lag", lookAtLag},
		},
	}, nil
}

// Run looks at the cluster until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	tick := time.NewTicker(l.config.Interval)
	defer tick.Stop()
	for {
		l.Look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look makes every check once, all at the same time, and returns when they are
// done. Run calls it; it must not be called twice at once.
func (l *Loop) Look(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range l.checks {
		wg.Go(func() {
			within, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			started := time.Now()
			metrics, err := c.look(within, l)
			if ctx.Err() == nil { // else it failed because it was stopped
				l.store(c.name, outcome{metrics, err, time.Since(started)})
			}
		})
	}
	wg.Wait()
}

// store replaces what is exported of a check, and logs when it begins to fail or
// to succeed.
func (l *Loop) store(name string, now outcome) {
	l.mu.Lock()
	before, again := l.seen[name]
	l.seen[name] = now
	l.mu.Unlock()
	switch {
	case errors.Is(now.err, errUnsupported):
		if !again {
			l.log.Info("a part of Kafka's health is not watched", slog.String("check", name), slog.Any("reason", now.err))
		}
	case now.err != nil && before.err == nil:
		l.log.Warn("Kafka's health cannot be told", slog.String("check", name), slog.Any("error", now.err))
	case now.err == nil && before.err != nil:
		l.log.Info("Kafka's health can be told again", slog.String("check", name))
	}
}

// Close closes the connections. Call it when Run has returned.
func (l *Loop) Close() { l.client.Close() }
