package dashboards

func slo() Dashboard {
	b := newDashboard("datasurge-slo", "DataSurge / SLO and alerting", "What was promised, how much of it is used up, and whether alerting itself works.")
	b.Time.From = "now-6h"

	b.row("Promises")
	b.stat("Processed without error", "Share of events over three days without error or dead letter, of the worst function. The objective is 99.9 %.", "percentunit", `1 - max(function:error_ratio:rate3d)`).
		FieldConfig.Defaults.Thresholds = below(0.998, 0.999)
	b.stat("Error budget left", "Of the 0.1 % of three days, of the worst function. 0 when more is used up.", "percentunit", `clamp_min(1 - max(function:error_ratio:rate3d) / 0.001, 0)`).
		FieldConfig.Defaults.Thresholds = below(0.001, 0.25)
	b.stat("Within 2 s", "Share of events over three days committed within 2 s of their event time. The objective is 99 %.", "percentunit", `1 - e2e:slow_ratio:rate3d`).
		FieldConfig.Defaults.Thresholds = below(0.98, 0.99)
	b.stat("Latency budget left", "Of the 1 % of three days. 0 when more is used up.", "percentunit", `clamp_min(1 - e2e:slow_ratio:rate3d / 0.01, 0)`).
		FieldConfig.Defaults.Thresholds = below(0.001, 0.25)
	b.stat("Firing", "Alerts that fire, without Watchdog.", "short", `count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)`, 1, 5)
	b.stat("Watchdog", "1 while alerting works from end to end: this alert always fires.", "short", `count(ALERTS{alertstate="firing",alertname="Watchdog"})`).
		FieldConfig.Defaults.Thresholds = below(1, 1)

	b.row("How fast the budgets burn")
	b.wide(b.lines("Error budget", "Times as fast as it may, by window, of the worst function. Fast burn pages at 14.4 in an hour and 6 in six, slow burn is a ticket at 3 in a day and 1 in three.", "short",
		q(`max(function:error_ratio:rate5m) / 0.001`, "5m"), q(`max(function:error_ratio:rate1h) / 0.001`, "1h"), q(`max(function:error_ratio:rate6h) / 0.001`, "6h"), q(`max(function:error_ratio:rate1d) / 0.001`, "1d"), q(`max(function:error_ratio:rate3d) / 0.001`, "3d")), 12).limit(14.4)
	b.wide(b.lines("Latency budget", "The same of events that took more than 2 s.", "short",
		q(`e2e:slow_ratio:rate5m / 0.01`, "5m"), q(`e2e:slow_ratio:rate1h / 0.01`, "1h"), q(`e2e:slow_ratio:rate6h / 0.01`, "6h"), q(`e2e:slow_ratio:rate1d / 0.01`, "1d"), q(`e2e:slow_ratio:rate3d / 0.01`, "3d")), 12).limit(14.4)

	b.row("Alerting")
	p := b.table("Alerts that fire", "Now. The name leads to the page that says what to do.", "short", 12, `ALERTS{alertstate="firing"}`)
	p.FieldConfig.Overrides = []any{map[string]any{
		"matcher":    map[string]any{"id": "byName", "options": "alertname"},
		"properties": []any{map[string]any{"id": "links", "value": []any{PanelLink{Title: "Runbook", URL: "${runbooks}/${__value.text}.md", TargetBlank: true}}}},
	}}
	b.wide(b.lines("Alerts", "Alerts that fire or are about to, by state.", "short", q(`count by (alertstate) (ALERTS)`, "{{alertstate}}")), 12)
	b.lines("Time to evaluate the rules", "Of each group, against its interval.", "s", q(`max by (rule_group) (prometheus_rule_group_last_duration_seconds)`, "{{rule_group}}"))
	b.lines("Samples of a scrape", "Series that each target exports. The alert CardinalityHigh fires above 20,000.", "short", q(`scrape_samples_post_metric_relabeling`, "{{job}} {{service}} {{instance}}"))
	b.lines("Time of a scrape", "How long each target takes to answer.", "s", q(`scrape_duration_seconds`, "{{job}} {{service}} {{instance}}"))
	b.lines("Targets", "1 while a target is scraped.", "short", q(`up`, "{{job}} {{service}} {{instance}}"))
	b.lines("Notifications", "Sent by Alertmanager per second, and those that failed.", "mps", q(`sum(rate(alertmanager_notifications_total[$__rate_interval]))`, "sent"), q(`sum(rate(alertmanager_notifications_failed_total[$__rate_interval]))`, "failed")).from("alertmanager")
	b.lines("Rules that fail", "Evaluations that failed, in ten minutes.", "short", q(`sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total[10m]))`, "{{rule_group}}"))
	return b.Dashboard
}
