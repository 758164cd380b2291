package dashboards

func business() Dashboard {
	b := newDashboard("datasurge-business", "DataSurge / Business", "What goes through: transactions, amounts, anomalies, users and merchants.")
	const transactions = `sum(rate(datasurge_transactions_total{result!="duplicate"}[$__rate_interval]))`
	const anomalies = `sum(rate(datasurge_anomalies_detected_total[$__rate_interval]))`

	b.row("Now")
	b.stat("Transactions", "Transactions accepted per second. Duplicates do not count.", "eps", transactions).
		FieldConfig.Defaults.Thresholds = below(0.01, 1)
	b.stat("Value", "Value of accepted transactions per second in the base currency.", "currencyUSD", `sum(rate(datasurge_business_transaction_amount_sum[$__rate_interval]))`)
	b.stat("Large transactions", "Transactions of more than 100,000 in the base currency per second. The alert LargeTransactionSpike fires above 10.", "eps", `sum(rate(datasurge_large_transactions_total[$__rate_interval]))`, 5, 10)
	b.stat("Anomalies", "Transactions flagged per second. The alert HighAnomalyRate fires above 5.", "eps", anomalies, 2, 5)
	b.stat("Anomaly share", "Flagged transactions as a share of all.", "percentunit", anomalies+` / `+transactions, 0.05, 0.2)
	b.stat("Since the last transaction", "Age of the latest accepted transaction.", "s", `time() - max(datasurge_last_transaction_timestamp_seconds)`, 60, 300)

	b.row("Transactions")
	b.lines("Rate and last week's", "Accepted transactions per second, and at the same time a week ago where that is known.", "eps",
		q(transactions, "now"), q(`sum(rate(datasurge_transactions_total{result!="duplicate"}[$__rate_interval] offset 1w))`, "a week ago"))
	b.lines("Rate by currency", "Accepted transactions per second by currency.", "eps", q(`sum by (currency) (rate(datasurge_transactions_total{result!="duplicate"}[$__rate_interval])) > 0`, "{{currency}}")).stacked()
	b.lines("Value by currency", "Value per second in units of each currency.", "short", q(`sum by (currency) (rate(datasurge_transaction_value_total[$__rate_interval])) > 0`, "{{currency}}"))
	b.lines("By merchant category", "Accepted transactions per second by group of merchant category codes.", "eps", q(`sum by (mcc_group) (rate(datasurge_transactions_by_mcc_total[$__rate_interval])) > 0`, "{{mcc_group}}")).stacked()
	b.lines("By channel", "Accepted transactions per second by way of payment, and duplicates that were dropped.", "eps",
		q(`sum by (channel) (rate(datasurge_transactions_total{result!="duplicate"}[$__rate_interval])) > 0`, "{{channel}}"), q(`sum(rate(datasurge_transactions_total{result="duplicate"}[$__rate_interval]))`, "duplicates"))
	b.bars("Busiest merchants", "Transactions per second of the busiest merchants over the last minute.", "eps", `topk(20, sum by (merchant) (datasurge_top_merchant_transactions_per_second))`, "{{merchant}}")

	b.row("Amounts")
	b.lines("Amount", "Quantiles and mean of amounts in the base currency.", "currencyUSD",
		append(quantiles("datasurge_business_transaction_amount_bucket", ""), q(`avg(datasurge_avg_transaction_amount)`, "mean of 5 minutes"))...)
	b.heatmap("Distribution of amounts", "Amounts in the base currency.", "currencyUSD", `sum by (le) (increase(datasurge_business_transaction_amount_bucket[$__rate_interval]))`)
	b.lines("Large transactions", "Transactions of more than 100,000 in the base currency per second, by their own.", "eps", q(`sum by (currency) (rate(datasurge_large_transactions_total[$__rate_interval]))`, "{{currency}}")).stacked()
	b.lines("Median by currency", "Median amount in units of each currency.", "short", q(`histogram_quantile(0.5, sum by (le, currency) (rate(datasurge_transaction_amount_bucket[$__rate_interval]))) > 0`, "{{currency}}"))
	b.lines("Active users", "Different users with a transaction in the window, about. Instances see different users.", "short", q(`sum by (window) (datasurge_active_users)`, "{{window}}"))
	b.lines("Active merchants", "Different merchants with a transaction in the window, about. Instances may see the same merchants, so this is a lower bound when there are several.", "short", q(`max by (window) (datasurge_active_merchants)`, "{{window}}"))

	b.row("Detection")
	b.lines("Anomalies by rule", "Flagged transactions per second by each rule that flagged them.", "eps", q(`sum by (rule) (rate(datasurge_anomalies_total[$__rate_interval]))`, "{{rule}}")).stacked()
	b.lines("Anomalies by severity", "Flagged transactions per second by severity.", "eps", q(`sum by (severity) (rate(datasurge_anomalies_detected_total[$__rate_interval]))`, "{{severity}}")).stacked()
	b.lines("Flagged value by rule", "Value of flagged transactions per second in the base currency.", "currencyUSD", q(`sum by (rule) (rate(datasurge_anomaly_value_total[$__rate_interval]))`, "{{rule}}")).stacked()
	b.lines("Precision by rule", "Frauds as a share of what a rule flags, over the labels of a day. Labels come later than transactions.", "percentunit",
		q(`sum by (rule) (increase(datasurge_labels_total{outcome="tp"}[1d])) / (sum by (rule) (increase(datasurge_labels_total{outcome=~"tp|fp"}[1d])) > 0)`, "{{rule}}"))
	b.lines("Labels", "Labels per second by what the verdict was: frauds that were flagged (tp) or not (fn), and others that were flagged (fp).", "eps", q(`sum by (outcome) (rate(datasurge_labels_total{rule="any"}[$__rate_interval]))`, "{{outcome}}"))
	b.lines("Time of a rule", "Mean time of an evaluation, of one transaction in 256.", "s", q(`sum by (rule) (rate(datasurge_rule_duration_seconds_sum[$__rate_interval])) / (sum by (rule) (rate(datasurge_rule_duration_seconds_count[$__rate_interval])) > 0)`, "{{rule}}"))
	b.lines("Rules that fire", "How often active and shadow rules fire, per second.", "eps", q(`sum by (rule, mode) (rate(datasurge_rule_fired_total[$__rate_interval])) > 0`, "{{rule}} {{mode}}"))
	b.lines("Evaluations", "Evaluations of rules per second.", "ops", q(`sum(rate(datasurge_rule_evaluations_total[$__rate_interval]))`, "evaluations"))
	b.lines("Rules that fail", "Evaluations that failed, and records of the rules table that were refused, per second.", "eps",
		q(`sum by (rule) (rate(datasurge_rule_errors_total[$__rate_interval]))`, "{{rule}}"), q(`sum(rate(datasurge_rules_refused_total[$__rate_interval]))`, "refused"))
	return b.Dashboard
}
