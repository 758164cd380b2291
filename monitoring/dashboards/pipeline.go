package dashboards

func pipeline() Dashboard {
	b := newDashboard("datasurge-pipeline", "DataSurge / Pipeline", "The functions: rate, errors, duration, latency, lag, state.",
		choose("function", "Function", "datasurge_function_events_total"))
	const of = `{function=~"$function"}`

	b.row("Rate, errors, duration")
	b.lines("Events", "Events per second that each function has dealt with.", "eps", q(`sum by (function) (rate(datasurge_function_events_total`+of+`[$__rate_interval]))`, "{{function}}"))
	b.lines("Error ratio", "Errors and dead letters as a share of all events. The budget is 0.1 %.", "percentunit",
		q(`sum by (function) (rate(datasurge_function_events_total{function=~"$function",result=~"error|dead_letter"}[$__rate_interval])) / (sum by (function) (rate(datasurge_function_events_total`+of+`[$__rate_interval])) > 0)`, "{{function}}")).limit(0.001)
	b.lines("Results", "Events per second by what became of them.", "eps", q(`sum by (function, result) (rate(datasurge_function_events_total`+of+`[$__rate_interval]))`, "{{function}} {{result}}"))
	b.lines("Duration of a commit", "99th percentile of the time from the first step of a commit to its end.", "s",
		q(`histogram_quantile(0.99, sum by (le, function) (rate(datasurge_function_duration_seconds_bucket`+of+`[$__rate_interval])))`, "{{function}} p99"),
		q(`histogram_quantile(0.95, sum by (le, function) (rate(datasurge_function_duration_seconds_bucket`+of+`[$__rate_interval])))`, "{{function}} p95"),
		q(`histogram_quantile(0.5, sum by (le, function) (rate(datasurge_function_duration_seconds_bucket`+of+`[$__rate_interval])))`, "{{function}} p50")).exemplars()
	b.lines("In flight", "Events that wait or are stepped and not committed.", "short", q(`sum by (function) (datasurge_function_in_flight`+of+`)`, "{{function}}"))
	b.lines("Messages written", "Records committed per second by topic, and records whose commit failed.", "recps",
		q(`sum by (topic) (rate(datasurge_messages_produced_total`+of+`[$__rate_interval]))`, "{{topic}}"), q(`sum(rate(datasurge_messages_failed_total`+of+`[$__rate_interval]))`, "failed"))
	b.lines("Time to commit messages", "99th percentile of the time from the flush of a commit's records to the end of its transaction.", "s", q(`histogram_quantile(0.99, sum by (le, function) (rate(datasurge_message_produce_duration_seconds_bucket`+of+`[$__rate_interval])))`, "{{function}}"))

	b.row("Latency")
	b.lines("End to end", "Time from the event time of an event to the commit of what came of it.", "s",
		q(`histogram_quantile(0.5, sum by (le, function) (rate(datasurge_end_to_end_latency_seconds_bucket`+of+`[$__rate_interval]))) >= 0`, "{{function}} p50"),
		q(`histogram_quantile(0.95, sum by (le, function) (rate(datasurge_end_to_end_latency_seconds_bucket`+of+`[$__rate_interval]))) >= 0`, "{{function}} p95"),
		q(`histogram_quantile(0.99, sum by (le, function) (rate(datasurge_end_to_end_latency_seconds_bucket`+of+`[$__rate_interval]))) >= 0`, "{{function}} p99")).limit(2).exemplars()
	b.lines("Within 2 s", "Events committed within 2 s of their event time as a share of all. The objective is 99 %.", "percentunit",
		q(`sum by (function) (rate(datasurge_end_to_end_latency_seconds_bucket{function=~"$function",le=~"2([.]0)?"}[$__rate_interval])) / (sum by (function) (rate(datasurge_end_to_end_latency_seconds_count`+of+`[$__rate_interval])) > 0)`, "{{function}}"))
	b.lines("Age of the watermark", "How far the event time of the slowest partition is behind the clock.", "s", q(`time() - min by (function) (datasurge_watermark_timestamp_seconds`+of+`)`, "{{function}}")).limit(120)

	b.row("Lag")
	b.lines("Lag in records", "Offsets of the input that are not processed.", "short", q(`sum by (group, topic) (max by (group, topic, partition) (datasurge_consumer_lag_records))`, "{{group}} {{topic}}"))
	b.lines("Lag in seconds", "Age of what was processed last, of the slowest partition. The alert ConsumerLagSeconds fires above 60.", "s", q(`max by (group) (datasurge_consumer_lag_seconds)`, "{{group}}")).limit(60)
	b.lines("Rebalances and commits that failed", "In five minutes, by consumer group.", "short",
		q(`sum by (group) (increase(datasurge_rebalances_total[5m]))`, "{{group}} rebalances"), q(`sum by (group) (increase(datasurge_commit_failures_total[5m]))`, "{{group}} commits failed"))

	b.row("What is not processed as it should be")
	b.lines("Late events", "Events per second that went to the topic late_events.", "eps", q(`sum by (function, action) (rate(datasurge_late_events_total`+of+`[$__rate_interval]))`, "{{function}} {{action}}"))
	b.lines("Duplicates", "Events per second dropped because they had been processed.", "eps", q(`sum by (function) (rate(datasurge_duplicates_dropped_total`+of+`[$__rate_interval]))`, "{{function}}"))
	b.lines("Dead letters", "Events per second refused for good.", "eps", q(`sum by (function, reason) (rate(datasurge_dead_letters_total`+of+`[$__rate_interval]))`, "{{function}} {{reason}}"))
	b.lines("Partitions taken over again", "How often a partition was given up after an error, in five minutes.", "short", q(`sum by (function) (increase(datasurge_retries_total`+of+`[5m]))`, "{{function}}"))
	b.lines("Other faults", "Records of reference tables that cannot be read, sums that do not fit, transactions not generated, in five minutes.", "short",
		q(`sum(increase(datasurge_reference_errors_total[5m]))`, "reference records"), q(`sum(increase(datasurge_sum_overflows_total[5m]))`, "sums"), q(`sum(increase(datasurge_transactions_skipped_total[5m]))`, "not generated"))

	b.row("State")
	b.lines("Keys", "Keys in the state of the functions.", "short", q(`sum by (store) (datasurge_state_entries)`, "{{store}}"))
	b.lines("Size", "Size of the state as it stands in the changelog.", "bytes", q(`sum by (store) (datasurge_state_bytes)`, "{{store}}")).limit(1e9)
	b.lines("Deletions", "Keys deleted per second.", "ops", q(`sum by (store) (rate(datasurge_state_evictions_total[$__rate_interval]))`, "{{store}}"))
	b.lines("Restoring", "Processes that restore a partition.", "short", q(`sum by (store) (datasurge_state_restoring)`, "{{store}}"))
	b.lines("Left to restore", "Changelog records that restores have still to read, and those that they read per second.", "short",
		q(`sum by (store) (datasurge_state_restore_remaining_records)`, "{{store}} left"), q(`sum by (store) (rate(datasurge_state_restored_records_total[$__rate_interval]))`, "{{store}} read/s"))
	b.lines("Mean time of a restore", "Since the process started.", "s", q(`sum by (store) (datasurge_state_restore_duration_seconds_sum) / sum by (store) (datasurge_state_restore_duration_seconds_count)`, "{{store}}"))

	b.row("Versions")
	b.table("What is running", "Version, revision and Go version by instance.", "short", 24, `datasurge_build_info`)
	return b.Dashboard
}
