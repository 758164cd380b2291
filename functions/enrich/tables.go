package enrich

import (
	"maps"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
)

// merchants is the view of the table merchants: by merchant id. It is never
// modified.
type merchants map[string]reference.Merchant

// risks is the view of the table merchant_risk: share of frauds by merchant id.
// It is never modified.
type risks map[string]float64

func merchantTable(observer Observer) step.Table {
	return step.Table{
		Topic:   reference.TopicMerchants,
		Initial: merchants{},
		Apply: func(old any, changes []step.Change) (any, error) {
			return merchants(apply(old.(merchants), changes, reference.TopicMerchants, observer, reference.ParseMerchant)), nil
		},
	}
}

func riskTable(observer Observer) step.Table {
	return step.Table{
		Topic:   events.TopicRisk,
		Initial: risks{},
		Apply: func(old any, changes []step.Change) (any, error) {
			return risks(apply(old.(risks), changes, events.TopicRisk, observer, parseRisk)), nil
		},
	}
}

// apply returns a copy of old after changes. A record that parse refuses leaves
// the entry of its key as it was: one bad record must not keep the good ones
// beside it from being seen.
func apply[V any](
	old map[string]V, changes []step.Change, topic string, observer Observer,
	parse func(key string, value []byte) (V, error),
) map[string]V {
	view := maps.Clone(old)
	for _, change := range changes {
		if change.Value == nil {
			delete(view, change.Key)
			continue
		}
		value, err := parse(change.Key, change.Value)
		if err != nil {
			observer.BadReference(topic, err)
			continue
		}
		view[change.Key] = value
	}
	return view
}

// parseRisk reads a record of merchant_risk. Of its windows the one of 7 days
// counts: that of one day jumps with every fraud, and that of 30 days is slow to
// notice that a merchant is compromised.
func parseRisk(_ string, value []byte) (float64, error) {
	var record events.MerchantRisk
	if err := events.ParseMerchantRisk(value, &record); err != nil {
		return 0, err
	}
	return record.Windows[events.RiskWeek].Risk, nil
}
