package dashboards

func system() Dashboard {
	b := newDashboard("datasurge-system", "DataSurge / System", "The machines and the processes.",
		choose("instance", "Process", `process_start_time_seconds{job="datasurge"}`))
	const node = "node"
	const rate = `[$__rate_interval]`
	const disks = `fstype!~"tmpfs|overlay|squashfs"`
	const ours = `{job="datasurge",instance=~"$instance"}`

	b.row("Machines")
	b.lines("CPU", "Share of the time by mode.", "percentunit", q(`avg by (instance, mode) (rate(node_cpu_seconds_total{mode!="idle"}`+rate+`))`, "{{instance}} {{mode}}")).from(node).stacked().limit(0.8)
	b.lines("Load", "Processes that run or want to, for each core.", "short", q(`node_load1 / on (instance) count by (instance) (node_cpu_seconds_total{mode="idle"})`, "{{instance}}")).from(node).limit(1)
	b.lines("Memory", "Share that is not available.", "percentunit", q(`1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes`, "{{instance}}")).from(node).limit(0.85)
	b.lines("Swap", "What is used of it.", "bytes", q(`node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes`, "{{instance}}")).from(node)
	b.lines("Disk space", "Share that is free. The alert DiskSpaceLow fires below 15 %.", "percentunit", q(`node_filesystem_avail_bytes{`+disks+`} / node_filesystem_size_bytes`, "{{instance}} {{mountpoint}}")).from(node)
	b.lines("Inodes", "Share that is free.", "percentunit", q(`node_filesystem_files_free{`+disks+`} / (node_filesystem_files > 0)`, "{{instance}} {{mountpoint}}")).from(node)
	b.lines("Disk time", "Share of the time in which the disk had something to do.", "percentunit", q(`rate(node_disk_io_time_seconds_total`+rate+`)`, "{{instance}} {{device}}")).from(node)
	b.lines("Network", "Bytes per second.", "Bps", q(`sum by (instance) (rate(node_network_receive_bytes_total{device!~"lo|veth.+"}`+rate+`))`, "{{instance}} in"), q(`sum by (instance) (rate(node_network_transmit_bytes_total{device!~"lo|veth.+"}`+rate+`))`, "{{instance}} out")).from(node)
	b.lines("Network errors", "Packets that were damaged, per second.", "pps", q(`sum by (instance, device) (rate(node_network_receive_errs_total{device!~"lo|veth.+"}`+rate+`) + rate(node_network_transmit_errs_total{device!~"lo|veth.+"}`+rate+`))`, "{{instance}} {{device}}")).from(node)
	b.lines("OOM kills", "Processes that the kernel killed in ten minutes for want of memory.", "short", q(`increase(node_vmstat_oom_kill[10m])`, "{{instance}}")).from(node)
	b.lines("Clock", "Offset of the clock. Latency in event time is not to be trusted beyond 50 ms.", "s", q(`node_timex_offset_seconds`, "{{instance}}")).from(node).signed()

	b.row("Processes")
	b.lines("CPU", "Cores used.", "short", q(`rate(process_cpu_seconds_total`+ours+rate+`)`, "{{service}} {{instance}}"))
	b.lines("Resident memory", "Memory that the process occupies.", "bytes", q(`process_resident_memory_bytes`+ours, "{{service}} {{instance}}"))
	b.lines("Heap", "Live memory of the Go heap after the last collection.", "bytes", q(`go_gc_heap_live_bytes`+ours, "{{service}} {{instance}}"))
	b.lines("Goroutines", "The alert GoroutineLeak fires above 10,000.", "short", q(`go_goroutines`+ours, "{{service}} {{instance}}")).limit(10000)
	b.lines("Pauses of the collector", "99th percentile.", "s", q(`histogram_quantile(0.99, sum by (le, service, instance) (rate(go_gc_pauses_seconds_bucket`+ours+rate+`)))`, "{{service}} {{instance}}"))
	b.lines("Waiting for a core", "99th percentile of the time that goroutines wait until they run.", "s", q(`histogram_quantile(0.99, sum by (le, service, instance) (rate(go_sched_latencies_seconds_bucket`+ours+rate+`)))`, "{{service}} {{instance}}"))
	b.lines("File descriptors", "Share of those allowed. The alert FileDescriptorsLow fires above 80 %.", "percentunit", q(`process_open_fds`+ours+` / process_max_fds`, "{{service}} {{instance}}")).limit(0.8)
	b.lines("Restarts", "Restarts in the last hour.", "short", q(`changes(process_start_time_seconds`+ours+`[1h])`, "{{service}} {{instance}}"))
	b.lines("Up for", "Time since the process started.", "s", q(`time() - process_start_time_seconds`+ours, "{{service}} {{instance}}"))
	return b.Dashboard
}
