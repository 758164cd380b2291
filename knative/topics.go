package knative

import (
	"slices"
	"strconv"
)

// AllTopics are the topics that are declared and those that controllers make: of
// KafkaChannels, of Brokers without an external topic, and of KafkaSinks that say
// how many partitions theirs has. One that is declared is made as declared.
func (s *Set) AllTopics() []*KafkaTopic {
	all := slices.Clone(s.Topics)
	add := func(o *Object, topic string, partitions, replicas int, config map[string]string) {
		if !slices.ContainsFunc(all, func(t *KafkaTopic) bool { return t.Topic == topic }) {
			all = append(all, &KafkaTopic{Object: *o, Topic: topic, Partitions: partitions, Replicas: replicas, Config: config})
		}
	}
	for _, c := range s.Channels {
		add(&c.Object, c.Topic(), c.NumPartitions, c.ReplicationFactor,
			map[string]string{"retention.ms": strconv.FormatInt(c.Retention.Milliseconds(), 10)})
	}
	for _, b := range s.Brokers {
		if !b.External {
			add(&b.Object, b.Topic, brokerPartitions, brokerReplicas, nil)
		}
	}
	for _, k := range s.Sinks {
		if k.NumPartitions > 0 {
			add(&k.Object, k.Topic, k.NumPartitions, k.ReplicationFactor, nil)
		}
	}
	return all
}
