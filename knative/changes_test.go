package knative

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"datasurge/emulator/golden"
)

func TestMain(m *testing.M) { os.Exit(golden.Main(m)) }

// changeable is a set with one object of each kind that has something that cannot
// be changed.
const changeable = `
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: source}
spec:
  bootstrapServers: [k]
  topics: [t]
  consumerGroup: group1
  ordering: ordered
  sink: {uri: "http://h/"}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: sink}
spec:
  bootstrapServers: [k]
  topic: topic1
  numPartitions: 1
  replicationFactor: 1
  contentMode: binary
---
apiVersion: messaging.knative.dev/v1
kind: KafkaChannel
metadata: {name: channel}
spec:
  numPartitions: 2
  retentionDuration: PT1H
---
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {name: subscription}
spec:
  channel: {apiVersion: messaging.knative.dev/v1, kind: KafkaChannel, name: channel}
  subscriber: {uri: "http://h/"}
---
apiVersion: flows.knative.dev/v1
kind: Sequence
metadata: {name: sequence}
spec:
  channelTemplate:
    apiVersion: messaging.knative.dev/v1
    kind: KafkaChannel
    spec:
      replicationFactor: 2
  steps: [{uri: "http://h/"}]
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: broker, annotations: {eventing.knative.dev/broker.class: Kafka}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: other, annotations: {eventing.knative.dev/broker.class: Kafka}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: trigger}
spec:
  broker: broker
  subscriber: {uri: "http://h/"}
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: topic, labels: {strimzi.io/cluster: c}}
spec:
  topicName: name1
  partitions: 3
`

func changed(t *testing.T, replace ...string) *Set {
	t.Helper()
	text := strings.NewReplacer(replace...).Replace(changeable)
	s, err := Read("m.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCheckUpdate: which changes a cluster refuses, where they stand.
func TestCheckUpdate(t *testing.T) {
	golden.Row(t, 26, golden.FromSourceReading)
	for _, c := range []struct{ was, is, want string }{
		{"consumerGroup: group1", "consumerGroup: group2", "m.yaml:8: spec.consumerGroup: cannot be changed from group1 to group2: delete KafkaSource source and make it anew"},
		{"  consumerGroup: group1\n", "", "m.yaml:6: spec.consumerGroup: cannot be changed from group1 to none"},
		{"topic: topic1", "topic: topic2", "m.yaml:17: spec.topic: cannot be changed from topic1 to topic2"},
		{"numPartitions: 1", "numPartitions: 2", "m.yaml:18: spec.numPartitions: cannot be changed from 1 to 2"},
		{"replicationFactor: 1", "replicationFactor: 3", "m.yaml:19: spec.replicationFactor: cannot be changed from 1 to 3"},
		{"numPartitions: 2", "numPartitions: 4", "m.yaml:26: spec.numPartitions: cannot be changed from 2 to 4"},
		{"retentionDuration: PT1H", "retentionDuration: PT2H", "m.yaml:27: spec.retentionDuration: cannot be changed from 1h0m0s to 2h0m0s"},
		{"name: channel}\n  sub", "name: sequence-kn-sequence-0}\n  sub", "m.yaml:33: spec.channel: cannot be changed from channel to sequence-kn-sequence-0"},
		{"replicationFactor: 2", "replicationFactor: 3", "spec.replicationFactor: cannot be changed from 2 to 3: delete KafkaChannel sequence-kn-sequence-0 and make it anew"},
		{"broker: broker", "broker: other", "m.yaml:59: spec.broker: cannot be changed from broker to other"},
		{"topicName: name1", "topicName: name2", "m.yaml:66: spec.topicName: cannot be changed from name1 to name2"},
		{"partitions: 3", "partitions: 2", "m.yaml:67: spec.partitions: cannot be lowered from 3 to 2"},
	} {
		err := changed(t, c.was, c.is).CheckUpdate(changed(t))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q to %q: %v, want %s", c.was, c.is, err, c.want)
		}
	}
	for _, c := range [][2]string{
		{"", ""}, {"ordering: ordered", "ordering: unordered"}, {"contentMode: binary", "contentMode: structured"}, {"partitions: 3", "partitions: 6"},
		{"name: source", "name: another"}, {"http://h/", "http://i/"},
	} {
		if err := changed(t, c[0], c[1]).CheckUpdate(changed(t)); err != nil {
			t.Errorf("%q to %q: %v", c[0], c[1], err)
		}
	}
	if err := changed(t).CheckUpdate(new(Set)); err != nil {
		t.Errorf("all new: %v", err)
	}
}

// TestDeliveryIsNotMerged holds row 15, for each kind that has a delivery: what
// is in force when none is given, when only a dead letter sink is, and when a
// retry without a delay is.
func TestDeliveryIsNotMerged(t *testing.T) {
	golden.Row(t, 15, golden.FromSourceReading)
	const source = "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {name: o}\nspec: {bootstrapServers: [k], topics: [t], sink: {uri: 'http://h/'}%s}\n"
	const subscription = "apiVersion: messaging.knative.dev/v1\nkind: KafkaChannel\nmetadata: {name: c}\n---\n" +
		"apiVersion: messaging.knative.dev/v1\nkind: Subscription\nmetadata: {name: o}\n" +
		"spec: {channel: {apiVersion: messaging.knative.dev/v1, kind: KafkaChannel, name: c}, subscriber: {uri: 'http://h/'}%s}\n"
	const trigger = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {eventing.knative.dev/broker.class: Kafka}}\n---\n" +
		"apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: o}\nspec: {broker: b, subscriber: {uri: 'http://h/'}%s}\n"
	for _, c := range []struct{ manifest, delivery, want string }{
		{source, "", "10 exponential 300ms 10m0s false"},
		{source, ", delivery: {}", "0 exponential 200ms 10m0s false"},
		{source, ", delivery: {deadLetterSink: {uri: 'http://d/'}}", "0 exponential 200ms 10m0s true"},
		{source, ", delivery: {retry: 3}", "3 exponential 200ms 10m0s false"},
		{source, ", delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT2S, timeout: PT4S}", "3 linear 2s 4s false"},
		{subscription, "", "0 exponential 1s 10m0s false"},
		{subscription, ", delivery: {retry: 3}", "3 exponential 1s 10m0s false"},
		{trigger, "", "0 exponential 200ms 10m0s false"},
		{trigger, ", delivery: {retry: 3}", "3 exponential 200ms 10m0s false"},
	} {
		s, err := Read("m.yaml", strings.NewReader(fmt.Sprintf(c.manifest, c.delivery)))
		if err != nil {
			t.Fatal(err)
		}
		var d Delivery
		switch {
		case len(s.Sources) > 0:
			d = s.Sources[0].Delivery
		case len(s.Triggers) > 0:
			d = s.Triggers[0].Delivery
		default:
			d = s.Subscriptions[0].Delivery
		}
		got := fmt.Sprintf("%d %s %v %v %v", d.Retry, d.Backoff, d.Delay, d.Timeout, d.DeadLetterSink != nil)
		if got != c.want {
			t.Errorf("%T%s: %s, want %s", s, c.delivery, got, c.want)
		}
	}
}

// TestAdmission holds row 16.
func TestAdmission(t *testing.T) {
	golden.Row(t, 16, golden.FromSourceReading)
	const source = "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {name: s}\nspec:\n  bootstrapServers: [k]\n  topics: [t]\n" +
		"  sink: {uri: 'http://h/'}\n  delivery:\n    retry: 1\n    %s\n"
	for _, c := range []struct{ line, err, warning string }{
		{"backoffDelay: PT1S", "", ""},
		{"backoffDelay: PT0S", "", "m.yaml:10: spec.delivery.backoffDelay: a delay of nothing means no retry"},
		{"retryAfterMax: PT1S", "m.yaml:10: spec.delivery.retryAfterMax: clusters refuse it", ""},
		{"backoffDelay: 1s", `m.yaml:10: spec.delivery.backoffDelay: "1s" is no ISO 8601 duration`, ""},
		{"timeout: 5", `m.yaml:10: spec.delivery.timeout: "5" is no ISO 8601 duration`, ""},
		{"timeout: PT0S", "m.yaml:10: spec.delivery.timeout: want more than nothing", ""},
		{"backoffPolicy: cubic", `m.yaml:10: spec.delivery.backoffPolicy: "cubic"`, ""},
	} {
		s, err := Read("m.yaml", strings.NewReader(fmt.Sprintf(source, c.line)))
		if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.line, err, c.err)
		}
		var warnings []string
		if s != nil {
			for _, w := range s.Warnings {
				warnings = append(warnings, w.Error())
			}
		}
		if got := strings.Join(warnings, "\n"); (got == "") != (c.warning == "") || !strings.HasPrefix(got, c.warning) {
			t.Errorf("%s: warning %q, want %q", c.line, got, c.warning)
		}
	}
}
