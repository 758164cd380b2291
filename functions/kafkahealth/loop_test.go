package kafkahealth_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"datasurge/events"
	"datasurge/functions/kafkahealth"
	"datasurge/functions/step"
	"datasurge/functions/stream"
	"datasurge/functions/stream/kafkatest"
)

func open(t *testing.T, b kafkatest.Backend, config kafkahealth.Config) *kafkahealth.Loop {
	t.Helper()
	config.Kafka = b.Opts()
	loop, err := kafkahealth.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loop.Close)
	return loop
}

// look makes every check once and returns the series that are exported then, as
// name{label="value",...}.
func look(t *testing.T, loop *kafkahealth.Loop) map[string]float64 {
	t.Helper()
	loop.Look(t.Context())
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(loop)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := family.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			series[name] = m.GetGauge().GetValue()
		}
	}
	return series
}

// only returns the series whose names begin with one of prefixes.
func only(series map[string]float64, prefixes ...string) map[string]float64 {
	some := map[string]float64{}
	for name, value := range series {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			some[name] = value
		}
	}
	return some
}

func TestAHealthyCluster(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		b.CreateTopic(t, "payments", 3, nil)
		b.Produce(t, "payments", &kgo.Record{Value: make([]byte, 100)})
		got := look(t, open(t, b, kafkahealth.Config{}))
		want := map[string]float64{
			"datasurge_kafka_brokers":                                       1,
			"datasurge_kafka_brokers_expected":                              1,
			`datasurge_kafka_offline_partitions{topic="payments"}`:          0,
			`datasurge_kafka_under_replicated_partitions{topic="payments"}`: 0,
			`datasurge_kafka_under_min_isr_partitions{topic="payments"}`:    0,
			`datasurge_kafka_health_up{check="cluster"}`:                    1,
			`datasurge_kafka_health_up{check="disk"}`:                       1,
			`datasurge_kafka_health_up{check="lag"}`:                        1,
		}
		if diff := cmp.Diff(want, only(got, "datasurge_kafka_brokers", "datasurge_kafka_offline", "datasurge_kafka_under", "datasurge_kafka_health_up", "datasurge_kafka_quorum")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got[`datasurge_kafka_topic_bytes{topic="payments"}`] < 50 {
			t.Errorf("a topic with a record has %v", only(got, "datasurge_kafka_topic_bytes"))
		}
	})
}

func TestBrokersThatShouldBeThere(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		// The cluster answers that two of three brokers are fenced.
		b.Fake.ControlKey(int16(kmsg.DescribeCluster), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.Fake.KeepControl()
			if !req.(*kmsg.DescribeClusterRequest).IncludeFencedBrokers {
				t.Error("fenced brokers are not asked for")
			}
			response := req.ResponseKind().(*kmsg.DescribeClusterResponse)
			for id := range int32(3) {
				response.Brokers = append(response.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: id, IsFenced: id > 0})
			}
			return response, nil, true
		})
		for _, test := range []struct {
			configured int
			want       float64
		}{{0, 3}, {5, 5}} {
			got := only(look(t, open(t, b, kafkahealth.Config{Brokers: test.configured})), "datasurge_kafka_brokers")
			want := map[string]float64{"datasurge_kafka_brokers": 1, "datasurge_kafka_brokers_expected": test.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d configured (-want +got):\n%s", test.configured, diff)
			}
		}
	})
}

func TestWhatIsWrongWithPartitions(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		b.CreateTopic(t, "payments", 1, map[string]string{"min.insync.replicas": "2"})
		b.Fake.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
			b.Fake.KeepControl()
			response := req.ResponseKind().(*kmsg.MetadataResponse)
			broker := kmsg.NewMetadataResponseBroker()
			broker.NodeID, broker.Host, broker.Port = 0, "127.0.0.1", 9092
			response.Brokers = append(response.Brokers, broker)
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic = new("payments")
			for id, inSync := range [][]int32{{0, 1, 2}, {0, 1}, {0}, {}} {
				p := kmsg.NewMetadataResponseTopicPartition()
				p.Partition, p.Replicas, p.ISR, p.Leader = int32(id), []int32{0, 1, 2}, inSync, 0
				if len(inSync) == 0 {
					p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
				}
				topic.Partitions = append(topic.Partitions, p)
			}
			response.Topics = append(response.Topics, topic)
			return response, nil, true
		})
		got := only(look(t, open(t, b, kafkahealth.Config{})), "datasurge_kafka_offline", "datasurge_kafka_under")
		want := map[string]float64{
			`datasurge_kafka_offline_partitions{topic="payments"}`:          1,
			`datasurge_kafka_under_replicated_partitions{topic="payments"}`: 3,
			`datasurge_kafka_under_min_isr_partitions{topic="payments"}`:    2,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// What was seen before a cluster went away is not what is exported then.
func TestNothingStaleIsExported(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		b.CreateTopic(t, "payments", 1, nil)
		loop := open(t, b, kafkahealth.Config{Brokers: 3})
		if got := look(t, loop); got["datasurge_kafka_brokers"] != 1 {
			t.Fatalf("before: %v", got)
		}
		b.Fake.Close()
		got := look(t, loop)
		for name := range got {
			if strings.HasPrefix(name, "datasurge_kafka_health_duration") {
				delete(got, name)
			}
		}
		want := map[string]float64{
			"datasurge_kafka_brokers":                    0,
			"datasurge_kafka_brokers_expected":           3,
			`datasurge_kafka_health_up{check="cluster"}`: 0,
			`datasurge_kafka_health_up{check="disk"}`:    0,
			`datasurge_kafka_health_up{check="lag"}`:     0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestRunLooksAgainUntilItIsStopped(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		looks := 0
		b.Fake.ControlKey(int16(kmsg.DescribeCluster), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.Fake.KeepControl()
			looks++
			return nil, nil, false
		})
		loop := open(t, b, kafkahealth.Config{Interval: 10 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		loop.Run(ctx)
		if looks != 7 {
			t.Errorf("looked %d times in 65 s at an interval of 10 s, want 7", looks)
		}
	})
}

func lag(records, seconds float64, group, topic string, partition int) map[string]float64 {
	labels := fmt.Sprintf("{group=%q,partition=\"%d\",topic=%q}", group, partition, topic)
	return map[string]float64{"datasurge_consumer_lag_records" + labels: records, "datasurge_consumer_lag_seconds" + labels: seconds}
}

func TestLag(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		b.CreateTopic(t, "payments", 1, nil)
		b.CreateTopic(t, "unread", 1, nil)
		admin := kadm.NewClient(b.Client(t))
		commit := func(offset int64) {
			t.Helper()
			if err := admin.CommitAllOffsets(t.Context(), "billing", kadm.OffsetsFromRecords(kgo.Record{Topic: "payments", Offset: offset - 1})); err != nil {
				t.Fatal(err)
			}
		}
		loop := open(t, b, kafkahealth.Config{})
		check := func(when string, want map[string]float64) {
			t.Helper()
			// A look takes some time, even fake.
			if diff := cmp.Diff(want, only(look(t, loop), "datasurge_consumer_lag"), cmpopts.EquateApprox(0, 0.5)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		produce := func() {
			t.Helper()
			b.Produce(t, "payments", &kgo.Record{Value: []byte("a")})
		}
		check("nobody has committed anything", map[string]float64{})
		produce()
		commit(1)
		check("all is processed", lag(0, 0, "billing", "payments", 0))
		produce()
		time.Sleep(20 * time.Second)
		produce()
		time.Sleep(10 * time.Second)
		check("two records wait, the older for 30 s", lag(2, 30, "billing", "payments", 0))
		commit(2)
		check("one record waits, for 10 s", lag(1, 10, "billing", "payments", 0))
		commit(3)
		check("all is processed again", lag(0, 0, "billing", "payments", 0))
	})
}

// Behind the position there are only the marker of the transaction that wrote
// the last record, and records of one that was aborted: there is nothing to
// process.
func TestMarkersAreNoLag(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		b.CreateTopic(t, "payments", 1, nil)
		producer := b.Client(t, kgo.TransactionalID("producer"), kgo.DefaultProduceTopic("payments"))
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			if err := producer.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := producer.ProduceSync(t.Context(), kgo.StringRecord("a")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := producer.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		admin := kadm.NewClient(b.Client(t))
		if err := admin.CommitAllOffsets(t.Context(), "billing", kadm.OffsetsFromRecords(kgo.Record{Topic: "payments", Offset: 0})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		got := only(look(t, open(t, b, kafkahealth.Config{})), "datasurge_consumer_lag")
		if diff := cmp.Diff(lag(0, 0, "billing", "payments", 0), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// idle is a function that does nothing with its events.
type idle struct{}

func (idle) Step(step.Tx, *events.Event) error { return nil }
func (idle) Tick(step.Tx, time.Time) error     { return nil }

// What a function commits to its group is seconds old; its changelog tells how far
// it is.
func TestLagOfAFunctionIsThatOfItsChangelog(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		for _, topic := range []string{"payments", "billing_state", events.TopicLate, events.TopicDeadLetters} {
			b.CreateTopic(t, topic, 1, nil)
		}
		admin := kadm.NewClient(b.Client(t))
		if err := admin.CommitAllOffsets(t.Context(), "billing", kadm.OffsetsFromRecords(kgo.Record{Topic: "payments", Offset: 0})); err != nil {
			t.Fatal(err)
		}
		loop := open(t, b, kafkahealth.Config{})
		check := func(when string, want map[string]float64) {
			t.Helper()
			if diff := cmp.Diff(want, only(look(t, loop), "datasurge_consumer_lag"), cmpopts.EquateApprox(0, 0.5)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		produce := func(n int) {
			t.Helper()
			for range n {
				b.Produce(t, "payments", kgo.StringRecord(`{}`))
			}
		}
		produce(5)
		check("before the function has ever run", lag(4, 0, "billing", "payments", 0))

		engine, err := stream.Open(t.Context(), stream.Options{
			Definition: step.Definition{
				Name:   "billing",
				Inputs: []step.Input{{Topic: "payments", Types: []string{events.TypePlain}}},
				New:    func(step.Task) step.Function { return idle{} },
			},
			Kafka: b.Opts(), Consume: true, Owner: stream.Static{}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		check("the function runs", lag(0, 0, "billing", "payments", 0))
		if err := engine.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		produce(3)
		time.Sleep(time.Minute)
		check("the function is gone", lag(3, 60, "billing", "payments", 0))
	})
}

// The same over the network, on the Kafka that KAFKA_BROKERS names. Only a real one
// has a quorum.
func TestOnAnyKafka(t *testing.T) {
	b := kafkatest.Brokers(t)
	topic, group := b.Name(t, "payments"), b.Name(t, "billing")
	b.CreateTopic(t, topic, 1, nil)
	b.Produce(t, topic, kgo.StringRecord("a"), kgo.StringRecord("b"), kgo.StringRecord("c"))
	admin := kadm.NewClient(b.Client(t))
	if err := admin.CommitAllOffsets(t.Context(), group, kadm.OffsetsFromRecords(kgo.Record{Topic: topic, Offset: 0})); err != nil {
		t.Fatal(err)
	}
	got := look(t, open(t, b, kafkahealth.Config{}))
	want := map[string]float64{
		`datasurge_kafka_health_up{check="cluster"}`: 1,
		`datasurge_kafka_health_up{check="disk"}`:    1,
		`datasurge_kafka_health_up{check="lag"}`:     1,
	}
	if b.Real {
		want[`datasurge_kafka_health_up{check="quorum"}`] = 1
		for _, name := range []string{"datasurge_kafka_quorum_leader_id", "datasurge_kafka_quorum_leader_epoch", "datasurge_kafka_quorum_voters"} {
			if got[name] < 1 {
				t.Errorf("%s is %v", name, got[name])
			}
		}
	}
	if diff := cmp.Diff(want, only(got, "datasurge_kafka_health_up")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	labels := fmt.Sprintf("{group=%q,partition=\"0\",topic=%q}", group, topic)
	if n := got["datasurge_consumer_lag_records"+labels]; n != 2 {
		t.Errorf("the lag is %v, want 2: %v", n, only(got, "datasurge_consumer_lag"))
	}
	for name := range only(got, "datasurge_kafka_log_dir_usable_bytes") {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if n := got[fmt.Sprintf("datasurge_kafka_topic_bytes{topic=%q}", topic)]; n <= 0 {
		t.Errorf("the topic has %v bytes", n)
	}
}
