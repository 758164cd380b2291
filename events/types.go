package events

// Event types (the CloudEvents attribute type).
const (
	TypeTransaction = "com.datasurge.transaction.v1"
	TypeEnriched    = "com.datasurge.enriched.v1"
	TypeScored      = "com.datasurge.scored.v1"
	TypeAnomaly     = "com.datasurge.anomaly.v1"
	TypeLabel       = "com.datasurge.label.v1"
	TypeAggregate   = "com.datasurge.aggregate.v1"
	TypePartial     = "com.datasurge.aggregate.partial.v1"
	TypeRule        = "com.datasurge.rule.v1"
	TypeList        = "com.datasurge.list.v1"
	TypeSuppression = "com.datasurge.suppression.v1"
	TypeWindowStart = "com.datasurge.window.start.v1"
	TypeWindowPanes = "com.datasurge.window.panes.v1"
	TypeRisk        = "com.datasurge.merchant.risk.v1"
	TypeModel       = "com.datasurge.model.v1"
	TypeOutcome     = "com.datasurge.outcome.v1"
	TypeOutcomes    = "com.datasurge.merchant.outcomes.v1"
	TypeExample     = "com.datasurge.example.v1"
	TypeLate        = "com.datasurge.late.v1"
	TypeWatermark   = "com.datasurge.watermark.v1"
	TypeDeadLetter  = "com.datasurge.deadletter.v1"

	// TypePlain is what a KafkaSource makes of a record that is no CloudEvent.
	TypePlain = "dev.knative.kafka.event"
)

// Topics of the pipeline.
const (
	TopicTransactions = "financial_transactions"
	TopicLabels       = "transaction_labels"
	TopicEnriched     = "enriched_transactions"
	TopicScored       = "scored_transactions"
	TopicAnomalies    = "transaction_anomalies"
	TopicPartials     = "aggregate_partials"
	TopicAggregates   = "transaction_aggregates"
	TopicRisk         = "merchant_risk"
	TopicRules        = "detection_rules"
	TopicLists        = "detection_lists"
	TopicWindows      = "detection_windows"
	TopicModels       = "detection_models"
	TopicOutcomes     = "merchant_outcomes"
	TopicLearning     = "learning_examples"
	TopicLate         = "late_events"
	TopicDeadLetters  = "dead_letters"
)

// ModelKey is the key of the score's model in TopicModels.
const ModelKey = "score"

// Extensions that the engine puts on events between functions.
const (
	ExtTask      = "datasurgetask"      // function/partition of the task that emitted the event
	ExtWatermark = "datasurgewatermark" // that task's watermark, ms since the epoch
	ExtIdle      = "datasurgeidle"      // "true" on a watermark event of an idle, caught up task
	ExtTopic     = "kafkatopic"         // topic an event was delivered from, set by ceOverrides of our KafkaSources
	ExtPartition = "knativekafkapartition"
	ExtOffset    = "knativekafkaoffset"
)
