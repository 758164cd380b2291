package topic

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/knative"
)

func admin(t *testing.T, brokers int) *kadm.Client {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

func read(t *testing.T, spec string) []*knative.KafkaTopic {
	t.Helper()
	s, err := knative.Read("m.yaml", strings.NewReader(`
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: t, labels: {strimzi.io/cluster: c}}
spec: `+spec))
	if err != nil {
		t.Fatal(err)
	}
	return s.Topics
}

// TestReplicas: as many as there are brokers, at most those declared, three when
// none are; min.insync.replicas follows.
func TestReplicas(t *testing.T) {
	for _, c := range []struct {
		name     string
		brokers  int
		spec     string
		replicas int
		insync   string
	}{
		{"one broker", 1, "{partitions: 2, replicas: 3, config: {min.insync.replicas: 2}}", 1, "1"},
		{"three brokers", 3, "{partitions: 2, replicas: 3, config: {min.insync.replicas: 2}}", 3, "2"},
		{"fewer declared", 3, "{partitions: 2, replicas: 1, config: {min.insync.replicas: 2}}", 1, "1"},
		{"none declared", 5, "{partitions: 2, config: {min.insync.replicas: 2}}", 3, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := admin(t, c.brokers)
			topics := read(t, c.spec)
			for range 2 { // the second time it is there
				if err := Create(t.Context(), a, topics, nil); err != nil {
					t.Fatal(err)
				}
			}
			listed, err := a.ListTopics(t.Context(), "t")
			if err != nil {
				t.Fatal(err)
			}
			if n, r := len(listed["t"].Partitions), len(listed["t"].Partitions[0].Replicas); n != 2 || r != c.replicas {
				t.Errorf("%d partitions with %d replicas, want 2 with %d", n, r, c.replicas)
			}
			if got := setting(t, a, "min.insync.replicas"); got != c.insync {
				t.Errorf("min.insync.replicas is %s, want %s", got, c.insync)
			}
			if topics[0].Config["min.insync.replicas"] != "2" {
				t.Error("the declaration was changed")
			}
		})
	}
}

func setting(t *testing.T, a *kadm.Client, key string) string {
	t.Helper()
	configs, err := a.DescribeTopicConfigs(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range configs[0].Configs {
		if kv.Key == key {
			return kv.MaybeValue()
		}
	}
	return ""
}

func TestConfig(t *testing.T) {
	a := admin(t, 1)
	hook := func(c map[string]string) map[string]string {
		return map[string]string{"retention.ms": c["retention.ms"] + "0"}
	}
	if err := Create(t.Context(), a, read(t, "{config: {retention.ms: 7}}"), hook); err != nil {
		t.Fatal(err)
	}
	if got := setting(t, a, "retention.ms"); got != "70" {
		t.Errorf("retention.ms is %s, want 70", got)
	}
}

func TestOtherPartitions(t *testing.T) {
	a := admin(t, 1)
	if err := Create(t.Context(), a, read(t, "{partitions: 2}"), nil); err != nil {
		t.Fatal(err)
	}
	err := Create(t.Context(), a, read(t, "{partitions: 3}"), nil)
	e, ok := errors.AsType[*knative.Error](err)
	if !ok || e.Field != "spec.partitions" || e.Line != 5 {
		t.Errorf("another number of partitions: %v", err)
	}
	if err := Create(t.Context(), a, read(t, "{}"), nil); err != nil {
		t.Errorf("no number declared: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	a := admin(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Create(ctx, a, read(t, "{}"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
