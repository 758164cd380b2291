// Package aggregate keeps windows of transactions by dimension, and the share of
// frauds by merchant.
//
// It works in two phases, both in every task, connected by the topic
// aggregate_partials:
//
//	scored_transactions ──▶ collect ──▶ aggregate_partials ──▶ merge ──▶ transaction_aggregates
//	transaction_labels  ──▶    "    (by dimension|value)         "   ──▶ merchant_risk
//
// Collecting is by partition of the input: each transaction is added once per
// dimension and grain to the slice it falls in (see package window), and what
// the partition has of a slice is published, cumulatively, under the key of its
// series. Merging is by series: the task that owns the key keeps the newest part
// of every partition and merges parts into windows.
//
// # What is late
//
// An event belongs to a window iff the window's end plus the lateness is after
// the watermark of scored_transactions when the event is collected; every task
// judges its own partition, and the judgement is final. A slice that lies in
// several windows takes events as long as the last of them is open; what comes
// after the first has closed is kept in a part of its own, which only the later
// windows count. An event that no window takes is late.
//
// # When results are final
//
// Collect publishes on Tick, before the engine announces the watermark, every
// part of a slice that the watermark has passed. So when the watermark of
// aggregate_partials has passed a window's end plus the lateness, everything
// that any partition has to say about the window is here, and its result is
// final: it is emitted once, the window forgotten, and never opened again. A
// part that comes later (from a partition that was given up as idle and spoke
// again) changes nothing of it; when no open window takes the part, it is late.
//
// # How often
//
// In wall clock time a window is updated at most every second, or a sixtieth of
// its size when that is more, and parts are published as often as the most
// frequent window that they belong to, or less often when there are more than a
// task can publish; finals are not held back.
//
// # State
//
// A slice is written to the state when it has been quiet for some seconds, not
// with every commit: its sketches would be written again for every event. What
// came since is in a journal, one small record a commit. Restoring reads the
// slices and replays the journal.
//
// Only dimensions of few values (all, currency, category, country, type,
// payment) have quantiles and distinct customers. A merchant's slice takes about
// 0.3 KB of memory without them; with them it would be ten times as much for
// each of the many thousand merchants.
package aggregate
