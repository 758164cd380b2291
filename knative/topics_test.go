package knative

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"datasurge/emulator/golden"
)

// TestAllTopics: controllers make the topics of channels, of brokers, and of
// sinks that say how many partitions theirs has; what is declared goes before.
func TestAllTopics(t *testing.T) {
	golden.Row(t, 31, golden.FromSourceReading)
	s, err := Read("m.yaml", strings.NewReader(`
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: declared, labels: {strimzi.io/cluster: c}}
spec: {partitions: 7}
---
apiVersion: messaging.knative.dev/v1
kind: KafkaChannel
metadata: {name: c}
spec: {numPartitions: 2, retentionDuration: PT1H}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: b, annotations: {eventing.knative.dev/broker.class: Kafka}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: x, annotations: {eventing.knative.dev/broker.class: Kafka, kafka.eventing.knative.dev/external.topic: theirs}}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: made}
spec: {topic: made, bootstrapServers: [k], numPartitions: 3, replicationFactor: 2}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: there}
spec: {topic: there, bootstrapServers: [k]}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: declared}
spec: {topic: declared, bootstrapServers: [k], numPartitions: 3, replicationFactor: 2}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range s.AllTopics() {
		got = append(got, fmt.Sprintf("%s: %s %d partitions, %d replicas, %v", v, v.Topic, v.Partitions, v.Replicas, v.Config))
	}
	want := []string{
		"KafkaTopic declared: declared 7 partitions, 0 replicas, map[]",
		"KafkaChannel c: knative-messaging-kafka.default.c 2 partitions, 1 replicas, map[retention.ms:3600000]",
		"Broker b: knative-broker-default-b 10 partitions, 3 replicas, map[]",
		"KafkaSink made: made 3 partitions, 2 replicas, map[]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
