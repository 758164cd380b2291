package kafkahealth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// desc describes one exported metric, a gauge.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("datasurge_"+name, help, labels, nil)
}

var (
	descBrokers = desc("kafka_brokers", "Brokers that are registered and not fenced; 0 when none answers.")
	descWanted  = desc("kafka_brokers_expected", "Brokers that there should be.")
	descOffline = desc("kafka_offline_partitions", "Partitions without a leader, by topic, internal topics included.", "topic")
	descUnder   = desc("kafka_under_replicated_partitions", "Partitions with fewer replicas in sync than replicas, by topic, internal topics included.", "topic")
	descMinISR  = desc("kafka_under_min_isr_partitions", "Partitions that refuse writes with acks=all because too few replicas are in sync, by topic, internal topics included.", "topic")

	descLeader     = desc("kafka_quorum_leader_id", "Node id of the active controller, -1 when there is none.")
	descEpoch      = desc("kafka_quorum_leader_epoch", "Epoch of the active controller; it grows with each election.")
	descVoters     = desc("kafka_quorum_voters", "Controllers that have a vote.")
	descVoterLag   = desc("kafka_quorum_voter_lag_records", "Records of the metadata log that a controller has not fetched.", "voter")
	descVoterAge   = desc("kafka_quorum_voter_lag_seconds", "Time since a controller had all of the metadata log.", "voter")
	descDirUp      = desc("kafka_log_dir_up", "1, or 0 when the log directory is offline.", "broker", "dir")
	descDirTotal   = desc("kafka_log_dir_total_bytes", "Size of the volume of a log directory.", "broker", "dir")
	descDirUsable  = desc("kafka_log_dir_usable_bytes", "Free space of the volume of a log directory.", "broker", "dir")
	descTopicBytes = desc("kafka_topic_bytes", "Size of a topic on disk, all replicas together.", "topic")

	descLag    = desc("consumer_lag_records", "Records between the position of a group and the end of the partition.", "group", "topic", "partition")
	descLagAge = desc("consumer_lag_seconds", "Age of the oldest record that a group has not processed, 0 when there is none.", "group", "topic", "partition")

	descUp   = desc("kafka_health_up", "1 when the last look at this part of Kafka's health succeeded, else 0.", "check")
	descTook = desc("kafka_health_duration_seconds", "Time that the last look at this part of Kafka's health took.", "check")
)

// Describe implements [prometheus.Collector].
func (l *Loop) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBrokers, descWanted, descOffline, descUnder, descMinISR,
		descLeader, descEpoch, descVoters, descVoterLag, descVoterAge,
		descDirUp, descDirTotal, descDirUsable, descTopicBytes,
		descLag, descLagAge, descUp, descTook,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector] with what was seen last.
func (l *Loop) Collect(to chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, o := range l.seen {
		if errors.Is(o.err, errUnsupported) {
			continue
		}
		up := 1.0
		if o.err != nil {
			up = 0
		}
		to <- gauge(descUp, up, name)
		to <- gauge(descTook, o.took.Seconds(), name)
		for _, m := range o.metrics {
			to <- m
		}
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}
