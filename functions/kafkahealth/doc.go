// Package kafkahealth watches a Kafka cluster as a client can, without JMX, and
// exports what it sees to Prometheus. One process of a deployment runs it
// (functions kafka-health; emulator run has it inside).
//
// Where kafka_exporter has a metric per partition (kafka_topic_partition_*,
// kafka_consumergroup_*), dashboards use that. This package adds what
// kafka_exporter has not, and what must include the internal topics: without
// enough replicas of __transaction_state nothing commits.
//
//	datasurge_kafka_brokers                                brokers that are alive: registered and not fenced; 0 when none answers
//	datasurge_kafka_brokers_expected                       brokers that there should be: as configured, or else all that are registered
//	datasurge_kafka_offline_partitions{topic}              partitions without a leader
//	datasurge_kafka_under_replicated_partitions{topic}     partitions with fewer replicas in sync than replicas
//	datasurge_kafka_under_min_isr_partitions{topic}        partitions that refuse writes with acks=all: in sync < min.insync.replicas
//	datasurge_kafka_quorum_leader_id                       node id of the active controller; -1 when there is none
//	datasurge_kafka_quorum_leader_epoch                    grows with each election of a controller
//	datasurge_kafka_quorum_voters                          controllers with a vote
//	datasurge_kafka_quorum_voter_lag_records{voter}        records of the metadata log that a controller has not fetched
//	datasurge_kafka_quorum_voter_lag_seconds{voter}        time since a controller had all of it; no series until it ever had
//	datasurge_kafka_log_dir_up{broker,dir}                 1, or 0 when the directory is offline
//	datasurge_kafka_log_dir_total_bytes{broker,dir}        size of the volume
//	datasurge_kafka_log_dir_usable_bytes{broker,dir}       what is left of it
//	datasurge_kafka_topic_bytes{topic}                     size on disk, all replicas together
//	datasurge_consumer_lag_records{group,topic,partition}  records between a group's position and the end
//	datasurge_consumer_lag_seconds{group,topic,partition}  age of the oldest record that the group has not processed; 0 when there is none
//	datasurge_kafka_health_up{check}                       1 when the last look succeeded; check is cluster, quorum, disk or lag
//	datasurge_kafka_health_duration_seconds{check}         how long it took
//
// Nothing stale is exported: the series of a check that fails are gone until it
// succeeds again, but for datasurge_kafka_brokers, which is 0 then. A check that
// the cluster does not know (an embedded Kafka has no quorum) has no series at
// all.
//
// # The quorum
//
// The leader is asked for with DescribeQuorum. Metadata's controller id is that
// of a broker chosen at random in KRaft mode (KIP-590) and says nothing.
//
// # Lag
//
// The end of a partition is its last stable offset, the end for a reader with
// read_committed: what stands in an open transaction cannot be processed by
// anybody. Markers of transactions take offsets, too, so a count of many records
// is a little too high; where there are only markers left the lag is 0. The age
// is that of the first record at the position, by the record's timestamp, which
// our functions set to the time of writing.
//
// A consumer group's position is its committed offset. A function under transport
// kafka keeps its position in its changelog, in the same transaction as its
// state, and commits it to the group of its name only now and then, for tools;
// for that group the position is read from the end of the changelog, so that it
// is right to the last commit. Under transport http the position that counts is
// that of the KafkaSource's group, which delivers the events. A group that has
// never committed anything for a topic has no series for it.
//
// The functions export the same two metrics for the partitions that they work on.
// These here are also those of functions that are dead, and of the groups of
// others. Take the maximum by group, topic and partition before anything else.
//
// A function that is switched from kafka to http leaves its group's offsets
// behind, and lag that is none; delete them with kafka-consumer-groups
// --delete-offsets.
package kafkahealth
