package run

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"datasurge/functions/stream/kafkatest"
	"datasurge/knative"
)

// ownKafka starts an embedded Kafka of this test's own and names it in the
// environment: the topics have the names of the manifests.
func ownKafka(t *testing.T, brokers int) kafkatest.Backend {
	t.Helper()
	t.Setenv(kafkatest.EnvBrokers, "")
	b := kafkatest.Brokers(t, kfake.NumBrokers(brokers))
	t.Setenv("KAFKA_BROKERS", strings.Join(b.Addrs, ","))
	return b
}

func TestTopicsAreThoseOfTheManifests(t *testing.T) {
	b := ownKafka(t, 3)
	t.Setenv("KAFKA_BROKERS_EXPECTED", "3")
	for range 2 { // the second time there is nothing to do
		if err := Main(t.Context(), []string{"topics"}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	set, err := knative.Default()
	if err != nil {
		t.Fatal(err)
	}
	topics, err := kadm.NewClient(b.Client(t)).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range set.Topics {
		got := topics[want.Topic]
		if len(got.Partitions) != want.Partitions || got.Partitions.NumReplicas() != want.Replicas {
			t.Errorf("%s has %d partitions with %d replicas, want %d with %d", want.Topic,
				len(got.Partitions), got.Partitions.NumReplicas(), want.Partitions, want.Replicas)
		}
	}
	if len(topics) != len(set.Topics) {
		t.Errorf("there are %d topics, want %d", len(topics), len(set.Topics))
	}
}

// A topic that is made while a broker is away has a replica too few for ever.
func TestTopicsWaitForTheBrokers(t *testing.T) {
	b := ownKafka(t, 1)
	t.Setenv("KAFKA_BROKERS_EXPECTED", "2")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := Main(ctx, []string{"topics"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 brokers") {
		t.Errorf("with one broker of two: %v", err)
	}
	if topics, err := kadm.NewClient(b.Client(t)).ListTopics(t.Context()); err != nil || len(topics) > 0 {
		t.Errorf("%d topics were made (%v)", len(topics), err)
	}
}

func TestTopicsWithAPassword(t *testing.T) {
	t.Setenv(kafkatest.EnvBrokers, "")
	b := kafkatest.Brokers(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "datasurge", "secret"))
	t.Setenv("KAFKA_BROKERS", strings.Join(b.Addrs, ","))
	t.Setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
	t.Setenv("KAFKA_SASL_USERNAME", "datasurge")
	t.Setenv("KAFKA_SASL_PASSWORD", "secret")
	if err := Main(t.Context(), []string{"topics"}, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestKafkaHealth(t *testing.T) {
	ownKafka(t, 1)
	port := freePort(t)
	t.Setenv("HOST", "127.0.0.1")
	t.Setenv("PORT", strconv.Itoa(port))
	check := func() error { return Main(t.Context(), []string{"healthcheck"}, io.Discard) }
	if err := check(); err == nil {
		t.Error("healthcheck succeeds while nothing runs")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Main(ctx, []string{"kafka-health"}, io.Discard) }()
	want := "\ndatasurge_kafka_brokers 1\n"
	var body string
	for deadline := time.Now().Add(time.Minute); !strings.Contains(body, want); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in a minute, but\n%s", want, body)
		}
		response, err := http.Get("http://127.0.0.1:" + strconv.Itoa(port) + "/metrics")
		if err != nil {
			continue // not yet
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		body = string(text)
	}
	if err := check(); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("kafka-health ended with %v", err)
	}
}

func TestModesThatNeedKafkaSaySo(t *testing.T) {
	for _, mode := range []string{"topics", "kafka-health"} {
		t.Setenv("KAFKA_BROKERS", "")
		if err := Main(t.Context(), []string{mode}, io.Discard); err == nil || !strings.Contains(err.Error(), "KAFKA_BROKERS") {
			t.Errorf("%s without KAFKA_BROKERS: %v", mode, err)
		}
	}
}

func TestArgumentsThatNameNoFunction(t *testing.T) {
	for want, args := range map[string][]string{
		"which function?":                   nil,
		`there is no function "foo"`:        {"foo"},
		`there is no function "enrich foo"`: {"enrich", "foo"},
	} {
		t.Setenv("FUNCTION", "")
		if err := Main(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), Usage) {
			t.Errorf("%q: %v, want %q and the usage", args, err, want)
		}
	}
}

// A process that restores is not ready, and the check tells why.
func TestHealthcheckTellsTheReason(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "partition 3 is being restored", http.StatusServiceUnavailable)
	}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	c := &Config{Port: listener.Addr().(*net.TCPAddr).Port}
	if err := checkHealth(t.Context(), c); err == nil || !strings.Contains(err.Error(), "partition 3 is being restored") {
		t.Errorf("got %v", err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
