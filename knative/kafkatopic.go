package knative

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// KafkaTopic: kafka.strimzi.io/v1
//
// Read: topicName, partitions, replicas, config. The names of settings are
// checked against those of Apache Kafka 4.3.
//
// KafkaTopic declares a topic.
type KafkaTopic struct {
	Object
	Topic      string // topicName, or else the object's name
	Partitions int    // 0: the broker's default
	Replicas   int    // 0: the broker's default
	Config     map[string]string
}

// Compacted reports whether cleanup.policy has compact in it.
func (t *KafkaTopic) Compacted() bool {
	return slices.Contains(strings.Split(t.Config["cleanup.policy"], ","), "compact")
}

type kafkaTopicSpec struct {
	TopicName  string             `yaml:"topicName"`
	Partitions *int               `yaml:"partitions"`
	Replicas   *int               `yaml:"replicas"`
	Config     map[string]setting `yaml:"config"`
}

// setting is a value of a topic's configuration: text, number or boolean.
type setting string

func (s *setting) unmarshalText(text string) error {
	*s = setting(text)
	return nil
}

const clusterLabel = "strimzi.io/cluster"

func readKafkaTopic(root *yaml.Node, o *Object) (*KafkaTopic, error) {
	var spec kafkaTopicSpec
	if err := readObject(root, o, "kafka.strimzi.io/v1", &spec); err != nil {
		return nil, err
	}
	t := &KafkaTopic{Object: *o, Topic: spec.TopicName, Config: make(map[string]string, len(spec.Config))}
	if t.Topic == "" {
		t.Topic = o.Name
	}
	if err := checkTopic(t.Topic); err != nil {
		return nil, o.Errorf("spec.topicName", "%v", err)
	}
	if o.Labels[clusterLabel] == "" {
		return nil, o.Errorf("metadata.labels", "the label %s is missing: without it no topic is made on a cluster", clusterLabel)
	}
	if spec.Partitions != nil {
		if *spec.Partitions < 1 {
			return nil, o.Errorf("spec.partitions", "%d: want at least 1", *spec.Partitions)
		}
		t.Partitions = *spec.Partitions
	}
	if spec.Replicas != nil {
		if *spec.Replicas < 1 || *spec.Replicas > 32767 {
			return nil, o.Errorf("spec.replicas", "%d: want 1 to 32767", *spec.Replicas)
		}
		t.Replicas = *spec.Replicas
	}
	for name, v := range spec.Config {
		if !slices.Contains(topicSettings, name) {
			return nil, o.Errorf("spec.config."+name, "is no topic setting of Kafka")
		}
		t.Config[name] = string(v)
	}
	return t, nil
}

// checkTopic checks a topic's name as Kafka does.
func checkTopic(s string) error {
	if s == "" || len(s) > 249 || s == "." || s == ".." {
		return fmt.Errorf("%q is no topic name: want 1 to 249 characters", s)
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return fmt.Errorf("%q is no topic name: want letters, digits, ., _ and -", s)
		}
	}
	return nil
}

// topicSettings are the topic settings of Apache Kafka 4.3.
var topicSettings = []string{
	"cleanup.policy", "compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
	"delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms", "follower.replication.throttled.replicas",
	"index.interval.bytes", "leader.replication.throttled.replicas", "local.retention.bytes", "local.retention.ms",
	"max.compaction.lag.ms", "max.message.bytes", "message.timestamp.after.max.ms", "message.timestamp.before.max.ms",
	"message.timestamp.type", "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate",
	"remote.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable", "retention.bytes", "retention.ms",
	"segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms", "unclean.leader.election.enable",
}
