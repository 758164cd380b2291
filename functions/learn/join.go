package learn

import (
	"strings"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
)

// joiner is the first phase: it brings the label of a transaction together with
// the features that the transaction was scored by.
type joiner struct {
	config *Config
	places map[string]int // of the features
	waiting
	key []byte
	t   events.Scored
	l   events.Label
}

// pending is a transaction that waits for its label.
type pending struct {
	merchant string
	ratio    float32 // of the amount to what the customer usually pays
	values   []float32
}

// early is a label that waits for its transaction.
type early struct {
	known int64
	fraud bool
}

const ratioFeature = "usualRatio"

func newJoiner(config *Config) joiner {
	j := joiner{config: config, places: map[string]int{}, waiting: newWaiting(config.MostWaiting)}
	for i, name := range config.Features {
		j.places[name] = i
	}
	return j
}

func (j *joiner) keyOf(kind byte, time int64, id string) []byte {
	j.key = append(step.AppendTime(append(j.key[:0], kind), time), id...)
	return j.key
}

// scored takes a transaction.
func (j *joiner) scored(tx step.Tx, e *events.Event) error {
	t := &j.t
	if err := events.ParseScored(e.Data, t); err != nil {
		return err
	}
	if err := tx.Observe(t.Time); err != nil {
		return err
	}
	if j.leftOut(t.TransactionID, t.Time) {
		return nil
	}
	p := &pending{merchant: strings.Clone(t.MerchantID), ratio: 1, values: make([]float32, len(j.config.Features))}
	for _, f := range t.Features {
		if place, ok := j.places[f.Name]; ok {
			p.values[place] = float32(f.Value)
		}
		if f.Name == ratioFeature {
			p.ratio = float32(f.Value)
		}
	}
	if waiting, ok := tx.Get(j.keyOf(kindEarly, t.Time, t.TransactionID)).(*early); ok {
		j.end(tx, j.key)
		j.join(tx, t.TransactionID, t.Time, p, waiting)
		return nil
	}
	if t.Time < j.oldest {
		return nil // no label will be taken
	}
	j.add(tx, j.keyOf(kindPending, t.Time, t.TransactionID), p)
	return nil
}

// label takes a label.
func (j *joiner) label(tx step.Tx, e *events.Event) error {
	l := &j.l
	if err := events.ParseLabel(e.Data, l); err != nil {
		return err
	}
	if err := tx.Observe(l.LabelTime); err != nil {
		return err
	}
	if j.leftOut(l.TransactionID, l.TransactionTime) {
		return nil
	}
	label := &early{known: l.LabelTime, fraud: l.Fraud}
	if p, ok := tx.Get(j.keyOf(kindPending, l.TransactionTime, l.TransactionID)).(*pending); ok {
		j.end(tx, j.key)
		j.join(tx, l.TransactionID, l.TransactionTime, p, label)
		return nil
	}
	if l.TransactionTime < j.oldest {
		return &events.InvalidError{Path: "$.transactionTime", Reason: "is of a transaction too long ago to be learnt from"}
	}
	key := j.keyOf(kindEarly, l.TransactionTime, l.TransactionID)
	if tx.Get(key) != nil {
		return nil // the first label counts
	}
	j.add(tx, key, label)
	return nil
}

// join tells the other phases what became of a transaction.
func (j *joiner) join(tx step.Tx, id string, time int64, p *pending, l *early) {
	o := outcome.Outcome{Time: time, Known: l.known, Kind: outcome.KindOf(l.fraud, float64(p.ratio))}
	emit(tx, events.TypeOutcome, id+"/outcome", p.merchant, l.known, outcomeEvent{p.merchant, o.Time, o.Known, int(o.Kind)})

	weight := 1
	if !l.fraud {
		if xxhash.Sum64String(id)%uint64(j.config.GenuineShare) != 0 {
			return
		}
		weight = j.config.GenuineShare
	}
	emit(tx, events.TypeExample, id+"/example", trainerKey, l.known, exampleEvent{id, l.known, l.fraud, weight, p.values})
}
