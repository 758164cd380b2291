package kafkatest

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// EnvBrokers is the environment variable with the addresses of a real Kafka,
// comma-separated, that [Brokers] hands to tests.
const EnvBrokers = "KAFKA_BROKERS"

// patience is how long a helper waits for a broker before it fails the test.
// It is far more than anything takes on an idle machine: a test that fails
// because the machine was busy teaches nothing.
const patience = 60 * time.Second

// maxName is how much of a test's name goes into [Backend.Name].
const maxName = 140

// Backend is a Kafka to test against.
type Backend struct {
	// Addrs are the addresses to bootstrap from, host:port.
	Addrs []string
	// Real is true for Apache Kafka, false for the embedded kfake. Tests may
	// use it to do less of the same, never to expect something else.
	Real bool
	// Fake is the embedded cluster, for its fault hooks; nil if Real.
	Fake *kfake.Cluster

	dial  func(ctx context.Context, network, addr string) (net.Conn, error) // nil: TCP
	opts  []kgo.Opt                                                         // what a cluster needs beside its addresses
	token string                                                            // starts every name; "" on a cluster of the test's own
}

// Brokers returns the Kafka that KAFKA_BROKERS names, or an embedded one on
// free loopback ports that lives as long as the test. opts configure the
// embedded one only, after the defaults: one broker, and no compaction that the
// test has not asked for with [kfake.Cluster.Compact].
//
// A real Kafka is shared with other tests: take topic and group names from
// [Backend.Name].
func Brokers(t testing.TB, opts ...kfake.Opt) Backend {
	t.Helper()
	if addrs := os.Getenv(EnvBrokers); addrs != "" {
		b := Backend{
			Addrs: strings.Split(addrs, ","),
			Real:  true,
			token: fmt.Sprintf("t%08x", rand.Uint32()),
		}
		t.Cleanup(func() { b.deleteTopics(t) })
		return b
	}
	return fake(t, opts...)
}

// fake starts an embedded cluster that is closed when the test ends.
func fake(t testing.TB, opts ...kfake.Opt) Backend {
	t.Helper()
	defaults := []kfake.Opt{
		kfake.NumBrokers(1),
		// kfake compacts with no regard to open transactions: a value that is
		// committed can go because of a newer one that is then aborted.
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "1000000000000"}),
	}
	cluster, err := kfake.NewCluster(append(defaults, opts...)...)
	if err != nil {
		t.Fatalf("kafkatest: start the embedded Kafka: %v", err)
	}
	t.Cleanup(cluster.Close)
	return Backend{Addrs: cluster.ListenAddrs(), Fake: cluster}
}

// Opts returns what a client needs to reach b, followed by more.
func (b Backend) Opts(more ...kgo.Opt) []kgo.Opt {
	opts := append(slices.Clone(b.opts), kgo.SeedBrokers(b.Addrs...))
	if b.dial != nil {
		opts = append(opts, kgo.Dialer(b.dial))
	}
	return append(opts, more...)
}

// Dial returns what connects to b: nil is TCP, as a client does it by itself.
func (b Backend) Dial() func(ctx context.Context, network, addr string) (net.Conn, error) {
	return b.dial
}

// Client returns a client of b that is closed when the test ends.
func (b Backend) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(b.Opts(opts...)...)
	if err != nil {
		t.Fatalf("kafkatest: new client: %v", err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Name returns a topic, group or transactional id that is this test's own: it
// holds the test's name, ends in suffix, and is the same each time. On a
// cluster of the test's own it is the same in every run, too.
func (b Backend) Name(t testing.TB, suffix string) string {
	var name strings.Builder
	if b.token != "" {
		name.WriteString(b.token + "-")
	}
	for _, c := range t.Name() {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			name.WriteRune(c)
		default:
			name.WriteByte('-')
		}
	}
	// Kafka allows 249 characters, and suffixes are appended to topic names
	// elsewhere, as in enrich_state. What is cut off still counts.
	if name.Len() > maxName {
		sum := fnv.New32a()
		sum.Write([]byte(t.Name()))
		cut := name.String()[:maxName]
		name.Reset()
		name.WriteString(cut + "-" + hex.EncodeToString(sum.Sum(nil)))
	}
	return name.String() + "-" + suffix
}

// CreateTopic creates a topic with the cluster's default replication. The
// values of configs are topic configurations, such as cleanup.policy; nil for
// the cluster's defaults.
func (b Backend) CreateTopic(t testing.TB, topic string, partitions int32, configs map[string]string) {
	t.Helper()
	values := make(map[string]*string, len(configs))
	for k, v := range configs {
		values[k] = new(v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	adm, done := b.admin(t)
	defer done()
	if _, err := adm.CreateTopic(ctx, partitions, -1, values, topic); err != nil {
		t.Fatalf("kafkatest: create topic %s: %v", topic, err)
	}
}

// deleteTopics deletes all topics that were named by [Backend.Name], so that a
// shared Kafka does not slow down from test to test. The test is over: a
// failure is worth a line, no more.
func (b Backend) deleteTopics(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	adm, done := b.admin(t)
	defer done()
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		t.Logf("kafkatest: list the topics to delete: %v", err)
		return
	}
	var mine []string
	for _, topic := range topics.Names() {
		if strings.HasPrefix(topic, b.token+"-") {
			mine = append(mine, topic)
		}
	}
	deleted, err := adm.DeleteTopics(ctx, mine...)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Logf("kafkatest: delete topics %v: %v", mine, err)
	}
}

// admin returns an admin client and what closes it. It is not closed by a
// cleanup because cleanups need one, too.
func (b Backend) admin(t testing.TB) (adm *kadm.Client, done func()) {
	t.Helper()
	cl, err := kgo.NewClient(b.Opts()...)
	if err != nil {
		t.Fatalf("kafkatest: new client: %v", err)
	}
	return kadm.NewClient(cl), cl.Close
}
