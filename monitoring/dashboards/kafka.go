package dashboards

func kafka() Dashboard {
	b := newDashboard("datasurge-kafka", "DataSurge / Kafka", "Kafka as its clients see it: brokers, partitions, quorum, topics, groups and the functions' own clients.",
		choose("topic", "Topic", "kafka_topic_partitions"), choose("group", "Group", "datasurge_consumer_lag_records"))
	const exporter, health = "kafka-exporter", "kafka-health"
	const topic = `{topic=~"$topic"}`

	b.row("Now")
	b.stat("Brokers", "Brokers that are registered. There should be three.", "short", `max(kafka_brokers)`).from(exporter).FieldConfig.Defaults.Thresholds = below(2, 3)
	b.stat("Offline partitions", "Partitions without a leader: nothing can be written to or read from them.", "short", `sum(kafka_topic_partition_leader < bool 0)`, 1).from(exporter)
	b.stat("Under min ISR", "Partitions of which too few replicas are in sync: writes are refused.", "short", `sum((kafka_topic_partition_in_sync_replica < bool 2) * (kafka_topic_partition_replicas > bool 2))`, 1).from(exporter)
	b.stat("Under-replicated", "Partitions with fewer replicas in sync than replicas.", "short", `sum(kafka_topic_partition_under_replicated_partition)`, 1).from(exporter)
	b.stat("Quorum leader", "Node id of the active controller; -1 when there is none.", "none", `max(datasurge_kafka_quorum_leader_id)`).from(health).FieldConfig.Defaults.Thresholds = below(0, 0)
	b.stat("Quorum epoch", "It grows with each election of a controller.", "none", `max(datasurge_kafka_quorum_leader_epoch)`).from(health)

	b.row("Topics")
	b.lines("Records in", "Growth of the end offsets per second, markers of transactions included.", "recps", q(`sum by (topic) (rate(kafka_topic_partition_current_offset`+topic+`[$__rate_interval]))`, "{{topic}}")).from(exporter)
	b.lines("Records out", "Growth of the groups' offsets per second.", "recps", q(`sum by (consumergroup, topic) (rate(kafka_consumergroup_current_offset`+topic+`[$__rate_interval]))`, "{{consumergroup}} {{topic}}")).from(exporter)
	b.lines("Size on disk", "Of all replicas together.", "bytes", q(`sum by (topic) (max by (topic) (datasurge_kafka_topic_bytes`+topic+`))`, "{{topic}}")).from(health)
	b.lines("Changes of the ISR", "How often a partition's replicas in sync changed in fifteen minutes.", "short", q(`sum by (topic) (changes(kafka_topic_partition_in_sync_replica`+topic+`[15m]))`, "{{topic}}")).from(exporter).limit(4)
	b.lines("Leaders that are not preferred", "Partitions led by another broker than the first of their replicas.", "short", q(`sum by (topic) (kafka_topic_partition_leader_is_preferred`+topic+` == bool 0)`, "{{topic}}")).from(exporter)
	b.lines("Internal topics under min ISR", "Partitions of __transaction_state and __consumer_offsets that refuse writes: then nothing commits.", "short", q(`sum by (topic) (datasurge_kafka_under_min_isr_partitions{topic=~"__.*"})`, "{{topic}}")).failureOnly()

	b.row("Groups")
	b.lines("Lag", "Records between a group's offset and the end.", "short", q(`sum by (group, topic) (max by (group, topic, partition) (datasurge_consumer_lag_records{group=~"$group"}))`, "{{group}} {{topic}}"))
	b.lines("Members", "Members of each group.", "short", q(`kafka_consumergroup_members`, "{{consumergroup}}")).from(exporter)
	b.table("Lag by partition", "What each group has not processed.", "short", 8, `max by (group, topic, partition) (datasurge_consumer_lag_records{group=~"$group"})`)

	b.row("Quorum and disks")
	b.lines("Lag of the voters", "Records of the metadata log that a controller has not fetched.", "short", q(`max by (voter) (datasurge_kafka_quorum_voter_lag_records)`, "controller {{voter}}")).from(health)
	b.lines("Free space", "Share of the volume of each log directory that is free.", "percentunit", q(`min by (broker, dir) (datasurge_kafka_log_dir_usable_bytes / datasurge_kafka_log_dir_total_bytes)`, "broker {{broker}} {{dir}}")).from(health)
	b.lines("Checks of Kafka's health", "1 when the last look succeeded.", "short", q(`min by (check) (datasurge_kafka_health_up)`, "{{check}}")).from(health)

	b.row("Our clients")
	const rate = `[$__rate_interval]`
	b.lines("Bytes written and read", "On the connections to the brokers.", "Bps", q(`sum(rate(datasurge_kafka_write_bytes_total`+rate+`))`, "written"), q(`sum(rate(datasurge_kafka_read_bytes_total`+rate+`))`, "read"))
	b.lines("Bytes produced and fetched", "Records before compression, per second.", "Bps",
		q(`sum by (topic) (rate(datasurge_kafka_produce_uncompressed_bytes_total`+rate+`))`, "{{topic}} produced"), q(`sum by (topic) (rate(datasurge_kafka_fetch_uncompressed_bytes_total`+rate+`))`, "{{topic}} fetched"))
	b.lines("Records produced and fetched", "Records per second.", "recps",
		q(`sum by (topic) (rate(datasurge_kafka_produce_records_total`+rate+`))`, "{{topic}} produced"), q(`sum by (topic) (rate(datasurge_kafka_fetch_records_total`+rate+`))`, "{{topic}} fetched"))
	b.lines("Records in a batch", "Mean number of records in a produced batch.", "short", q(`sum by (topic) (rate(datasurge_kafka_produce_records_total`+rate+`)) / (sum by (topic) (rate(datasurge_kafka_produce_batches_total`+rate+`)) > 0)`, "{{topic}}"))
	b.lines("Compression", "Bytes on the wire as a share of bytes before compression.", "percentunit", q(`sum(rate(datasurge_kafka_produce_compressed_bytes_total`+rate+`)) / (sum(rate(datasurge_kafka_produce_uncompressed_bytes_total`+rate+`)) > 0)`, "produced"))
	b.lines("Requests", "99th percentile of the time of a request by broker. The alert KafkaClientLatencyHigh fires above 1 s. Fetches wait up to half a second for data.", "s", q(`histogram_quantile(0.99, sum by (le, node_id) (rate(datasurge_kafka_request_duration_e2e_seconds_bucket`+rate+`)))`, "broker {{node_id}}")).limit(1)
	b.lines("Connections", "Connections opened and closed per second.", "cps", q(`sum(rate(datasurge_kafka_connects_total`+rate+`))`, "opened"), q(`sum(rate(datasurge_kafka_disconnects_total`+rate+`))`, "closed"))
	b.lines("Buffered", "Records and bytes that wait in the clients.", "short", q(`sum(datasurge_kafka_buffered_produce_records_total)`, "records to produce"), q(`sum(datasurge_kafka_buffered_fetch_records_total)`, "records fetched"))
	b.lines("Errors", "Connections, writes and reads that failed, per second.", "cps",
		q(`sum by (client_id) (rate(datasurge_kafka_connect_errors_total`+rate+`))`, "{{client_id}} connect"), q(`sum by (client_id) (rate(datasurge_kafka_write_errors_total`+rate+`))`, "{{client_id}} write"), q(`sum by (client_id) (rate(datasurge_kafka_read_errors_total`+rate+`))`, "{{client_id}} read")).failureOnly()
	b.lines("Throttling", "Time for which brokers held the clients back, per second.", "s", q(`sum by (client_id) (rate(datasurge_kafka_request_throttled_seconds_sum`+rate+`))`, "{{client_id}}")).failureOnly()
	return b.Dashboard
}
