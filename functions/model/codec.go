package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// format is that of the encoding. A reader refuses one that it does not know.
const format = 1

// ErrNewerFormat: the model was written by a newer binary.
var ErrNewerFormat = errors.New("model was written in a newer format than this binary knows")

// document is a model as JSON. The names are short because there are many trees.
type document struct {
	Format   int         `json:"format"`
	Version  string      `json:"version"`
	Since    int64       `json:"since"`
	Examples int         `json:"examples"`
	Frauds   int         `json:"frauds"`
	Features []string    `json:"features"`
	Borders  [][]float32 `json:"borders"`
	Prior    float64     `json:"prior"`
	Trees    []treeText  `json:"trees"`
}

type treeText struct {
	Splits [][2]uint8 `json:"splits"` // feature, bin
	Leaves []float64  `json:"leaves"`
	Cover  []float64  `json:"cover"`
}

// Append appends m as [Parse] reads it.
func (m *Model) Append(dst []byte) []byte {
	d := document{
		Format: format, Version: m.Version, Since: m.Since, Examples: m.Examples, Frauds: m.Frauds,
		Features: m.Features, Borders: m.Borders, Prior: m.Prior,
	}
	for _, t := range m.Trees {
		text := treeText{Leaves: t.Leaves, Cover: t.Cover}
		for _, s := range t.Splits {
			text.Splits = append(text.Splits, [2]uint8{s.Feature, s.Bin})
		}
		d.Trees = append(d.Trees, text)
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("model: %v", err)) // only for numbers that are none, which Train does not make
	}
	return append(dst, text...)
}

// At returns m as one that may be used from since on.
func (m *Model) At(since int64) *Model {
	dated := *m
	dated.Since = since
	dated.Version = dated.version()
	return &dated
}

// version is a hash of all of m but the version itself.
func (m *Model) version() string {
	nameless := *m
	nameless.Version = ""
	sum := sha256.Sum256(nameless.Append(nil))
	return hex.EncodeToString(sum[:6])
}

// Parse reads what Append wrote. An error says what is wrong: a format that is
// newer than this binary ([ErrNewerFormat]), a part that does not fit the others,
// or content that its version does not name.
func Parse(data []byte) (*Model, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read a model: %w", err)
	}
	if head.Format > format {
		return nil, fmt.Errorf("read a model of format %d: %w", head.Format, ErrNewerFormat)
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, fmt.Errorf("read a model: %w", err)
	}
	m := &Model{
		Version: d.Version, Since: d.Since, Examples: d.Examples, Frauds: d.Frauds,
		Features: d.Features, Borders: d.Borders, Prior: d.Prior,
	}
	for _, text := range d.Trees {
		t := Tree{Leaves: text.Leaves, Cover: text.Cover}
		for _, s := range text.Splits {
			t.Splits = append(t.Splits, Split{s[0], s[1]})
		}
		m.Trees = append(m.Trees, t)
	}
	if err := m.check(d.Format); err != nil {
		return nil, fmt.Errorf("read a model: %w", err)
	}
	m.prepare()
	return m, nil
}

func (m *Model) check(written int) error {
	switch {
	case written != format:
		return fmt.Errorf("format %d: want %d", written, format)
	case len(m.Features) == 0 || len(m.Features) > MaxFeatures || len(m.Borders) != len(m.Features):
		return fmt.Errorf("%d features with borders for %d: want 1 to %d, and as many", len(m.Features), len(m.Borders), MaxFeatures)
	case len(m.Trees) > MaxTrees:
		return fmt.Errorf("%d trees: want at most %d", len(m.Trees), MaxTrees)
	case math.IsNaN(m.Prior) || math.IsInf(m.Prior, 0):
		return fmt.Errorf("prior %v is no number", m.Prior)
	}
	for f, borders := range m.Borders {
		if len(borders) >= MaxBins || !slices.IsSorted(borders) || len(slices.Compact(slices.Clone(borders))) != len(borders) {
			return fmt.Errorf("borders of %s: want fewer than %d, ascending", m.Features[f], MaxBins)
		}
		if slices.Contains(m.Features[:f], m.Features[f]) {
			return fmt.Errorf("feature %s is there twice", m.Features[f])
		}
	}
	for i := range m.Trees {
		if err := m.Trees[i].check(m.Borders); err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
	}
	if want := m.version(); m.Version != want {
		return fmt.Errorf("version %q: the content is that of %s; the record was changed on its way", m.Version, want)
	}
	return nil
}

func (t *Tree) check(borders [][]float32) error {
	if len(t.Splits) > MaxDepth || len(t.Leaves) != 1<<len(t.Splits) || len(t.Cover) != len(t.Leaves) {
		return fmt.Errorf("%d splits with %d leaves and %d covers do not fit", len(t.Splits), len(t.Leaves), len(t.Cover))
	}
	for _, s := range t.Splits {
		if int(s.Feature) >= len(borders) || s.Bin == 0 || int(s.Bin) > len(borders[s.Feature]) {
			return fmt.Errorf("split of feature %d at bin %d: there is none", s.Feature, s.Bin)
		}
	}
	for i := range t.Leaves {
		if !(t.Cover[i] >= 0) {
			return fmt.Errorf("cover %v of leaf %d: want 0 or more", t.Cover[i], i)
		}
	}
	return nil
}
