package detect

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"datasurge/events"
	"datasurge/functions/model"
	"datasurge/functions/step"
)

// models is the view of the table detection_models: the latest models, the one
// with the latest Since last. It is never modified. Several are kept because the
// table may be ahead of the transactions: none is scored by a model that has
// learnt from what became known after it.
type models []*scorer

// mostModels is how many models are kept.
const mostModels = 8

// scorer is a model whose features were found.
type scorer struct {
	*model.Model
	places []feature // of the model's features
}

func newScorer(m *model.Model) (*scorer, error) {
	s := &scorer{Model: m}
	for _, name := range m.Features {
		place := slices.Index(featureNames[:], name)
		if place < 0 {
			return nil, fmt.Errorf("model %s asks for the feature %q, which this binary does not have", m.Version, name)
		}
		s.places = append(s.places, feature(place))
	}
	return s, nil
}

func modelTable() step.Table {
	return step.Table{Topic: events.TopicModels, Initial: models(nil), Apply: applyModels}
}

// applyModels keeps the table's view. Deleting the record brings the baseline back;
// a record that is refused leaves the last good model in force, and is named by the
// error.
func applyModels(old any, changes []step.Change) (any, error) {
	view := slices.Clone(old.(models))
	var refused []error
	for _, change := range changes {
		switch {
		case change.Key != events.ModelKey:
			refused = append(refused, fmt.Errorf("a model of key %q: want %q", change.Key, events.ModelKey))
		case change.Value == nil:
			view = nil
		default:
			if err := view.add(change.Value); err != nil {
				refused = append(refused, err)
			}
		}
	}
	return view, errors.Join(refused...)
}

func (m *models) add(data []byte) error {
	parsed, err := model.Parse(data)
	if err != nil {
		return err
	}
	s, err := newScorer(parsed)
	if err != nil {
		return err
	}
	at, found := slices.BinarySearchFunc(*m, s, func(a, b *scorer) int { return cmp.Compare(a.Since, b.Since) })
	if found {
		(*m)[at] = s // m is a copy already
	} else {
		*m = slices.Insert(*m, at, s)
	}
	*m = (*m)[max(0, len(*m)-mostModels):]
	return nil
}

// at returns the latest model that may score a transaction at t, nil when there is
// none.
func (m models) at(t int64) *scorer {
	for _, s := range slices.Backward(m) {
		if s.Since <= t {
			return s
		}
	}
	return nil
}

// values are the model's features.
func (s *scorer) values(v *vector, into []float32) []float32 {
	into = into[:0]
	for _, place := range s.places {
		into = append(into, float32(v[place]))
	}
	return into
}

// appendExplanation appends the features that raised the score most, in words.
func (s *scorer) appendExplanation(dst []byte, v *vector) []byte {
	var parts []term
	for i, logit := range s.Contributions(s.values(v, nil)) {
		parts = append(parts, term{s.places[i], logit})
	}
	return appendLargest(dst, parts, v)
}

// appendMerchantTerm is appendTerm for what is known of the merchant.
func appendMerchantTerm(dst []byte, f feature, v *vector) []byte {
	switch f {
	case merchantFraudShare:
		dst = strconv.AppendFloat(dst, 100*v[f], 'f', 0, 64)
		return append(dst, "% of the merchant's payments known of the last 35 days are frauds"...)
	case merchantFraudRun:
		dst = append(dst, "the last "...)
		dst = strconv.AppendFloat(dst, v[f], 'f', 0, 64)
		return append(dst, " payments known of the merchant are frauds"...)
	case merchantFraudDays:
		dst = append(dst, "the merchant's frauds began "...)
		dst = strconv.AppendFloat(dst, v[f], 'f', 0, 64)
		return append(dst, " days ago"...)
	case merchantAbuse:
		dst = append(dst, "by what is known of the merchant, its payments are frauds now with a probability of "...)
		dst = strconv.AppendFloat(dst, 100*v[f], 'f', 1, 64)
		return append(dst, '%')
	default:
		dst = append(dst, "the merchant's last payment known as genuine was "...)
		dst = strconv.AppendFloat(dst, v[f], 'f', 0, 64)
		return append(dst, " days ago"...)
	}
}
