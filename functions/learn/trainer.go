package learn

import (
	"cmp"
	"fmt"
	"slices"

	"datasurge/events"
	"datasurge/functions/model"
	"datasurge/functions/step"
)

// trainer is the third phase, in the task that owns trainerKey.
type trainer struct {
	config   *Config
	examples []*example
	last     trained
	key      []byte
}

// example is a transaction with its label.
type example struct {
	id     string
	known  int64 // when the label became known, ms since the epoch
	fraud  bool
	weight float32 // how many transactions it stands for
	values []float32
}

// trained is how far the schedule of trainings has come.
type trained struct {
	midnight int64 // the last one that was looked at, ms since the epoch
	frauds   int   // known at the last training
}

func newTrainer(config *Config) trainer { return trainer{config: config} }

func (t *trainer) keyOf(e *example) []byte {
	t.key = append(step.AppendTime(append(t.key[:0], kindExample), e.known), e.id...)
	return t.key
}

// take takes an example.
func (t *trainer) take(tx step.Tx, event *events.Event) error {
	e, err := parseExample(event.Data, len(t.config.Features))
	if err != nil {
		return err
	}
	key := t.keyOf(e)
	if tx.Get(key) != nil {
		return nil
	}
	t.examples = append(t.examples, e)
	tx.Put(key, e)
	return nil
}

// tick trains at every midnight that has passed and is due. Of several at once only
// the last is trained for, but the schedule is that of all: it does not depend on
// when Tick is called.
func (t *trainer) tick(tx step.Tx) error {
	mark := tx.InputWatermark(events.TopicLearning)
	if mark == step.MinWatermark || len(t.examples) == 0 {
		return nil
	}
	latest := floorDay(mark - grace)
	if latest <= t.last.midnight {
		return nil
	}
	slices.SortFunc(t.examples, func(a, b *example) int {
		return cmp.Or(cmp.Compare(a.known, b.known), cmp.Compare(a.id, b.id))
	})
	midnight := t.last.midnight
	if midnight == 0 {
		midnight = floorDay(t.examples[0].known)
	}
	var due int64
	at, frauds, genuine := 0, 0, 0
	for midnight < latest {
		midnight += day
		for ; at < len(t.examples) && t.examples[at].known < midnight; at++ {
			if t.examples[at].fraud {
				frauds++
			} else {
				genuine++
			}
		}
		if genuine > 0 && frauds >= t.config.LeastFrauds && float64(frauds) >= t.config.Growth*float64(t.last.frauds) {
			due, t.last.frauds = midnight, frauds
		}
	}
	t.last.midnight = latest
	if due > 0 {
		if err := t.train(tx, due); err != nil {
			return err
		}
	}
	tx.Put([]byte{kindTrained}, t.last)
	return nil
}

// train publishes a model of what was known before midnight.
func (t *trainer) train(tx step.Tx, midnight int64) error {
	data := &model.Examples{Names: t.config.Features, Columns: make([][]float32, len(t.config.Features))}
	for _, e := range t.examples {
		if e.known >= midnight {
			break
		}
		for f, x := range e.values {
			data.Columns[f] = append(data.Columns[f], x)
		}
		data.Fraud = append(data.Fraud, e.fraud)
		data.Weight = append(data.Weight, e.weight)
	}
	m, err := model.Train(data, t.config.Params)
	if err != nil {
		return fmt.Errorf("learn: %w", err)
	}
	m = m.At(midnight + grace)
	emitData(tx, events.TopicModels, events.TypeModel, "score/"+m.Version, events.ModelKey, m.Since, m.Append(nil))
	t.forget(tx)
	return nil
}

// forget drops the oldest examples beyond the bound. Frauds among them stay counted
// in no training: the schedule goes by those that are kept.
func (t *trainer) forget(tx step.Tx) {
	extra := len(t.examples) - t.config.MostExamples
	if extra <= 0 {
		return
	}
	for _, e := range t.examples[:extra] {
		if e.fraud {
			t.last.frauds--
		}
		tx.Delete(t.keyOf(e))
	}
	t.examples = slices.Delete(t.examples, 0, extra)
}
