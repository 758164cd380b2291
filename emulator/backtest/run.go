// Package backtest measures detection: it feeds recorded or simulated transactions
// and their labels through enrich, detect and learn in event time, as fast as it
// goes, and compares what was scored with the truth.
package backtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"datasurge/events"
	"datasurge/functions/detect/rules"
)

// Config is what is run.
type Config struct {
	Source Source
	// Rules is a file of rules; nil: [DefaultRules]. Against is another, that is
	// compared with it; nil: nothing is.
	Rules, Against []byte
	// Progress, if set, is told after each day how many of all are done.
	Progress func(done, all int)
}

// Result is what a run found.
type Result struct {
	Customers, Merchants []string
	Rows                 []Row
	Other                []Row // by the rules of Config.Against; empty without
	Rules, OtherRules    []Rule
	Models               []Model // in the order in which they came into force
}

// Rule is a rule that could fire. Only the first 64 are told apart.
type Rule struct {
	ID     string
	Weight float64
}

// Model is a model that scored transactions.
type Model struct {
	Version string
	From    int64 // time of the first transaction that it scored, ms since the epoch
	Count   int   // transactions
}

// Run runs the whole source.
func Run(ctx context.Context, config Config) (*Result, error) {
	p, err := newPipeline(config.Rules, config.Against)
	if err != nil {
		return nil, err
	}
	c := newCollector(p)
	days := make(chan enrichedDay, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(days)
		for {
			d, ok := config.Source.Next()
			if !ok {
				return nil
			}
			enriched, err := p.enriched(d.Transactions)
			if err != nil {
				return err
			}
			select {
			case days <- enrichedDay{d, enriched}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	group.Go(func() error {
		done := 0
		for d := range days {
			own, other, err := p.day(d.Midnight, d.Labels, d.enriched)
			if err != nil {
				return err
			}
			if err := c.collect(&d.Day, own, other); err != nil {
				return err
			}
			if done++; config.Progress != nil {
				config.Progress(done, config.Source.Days())
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	return &c.result, nil
}

type enrichedDay struct {
	Day
	enriched []events.Event
}

// collector makes rows of scored transactions and labels.
type collector struct {
	result    Result
	customers map[string]int32
	merchants map[string]int32
	unlabeled map[string]int // place of the row, by transaction
	own, ours ruleBits
}

// ruleBits gives the place and the weight of each rule.
type ruleBits map[string]ruleBit

type ruleBit struct {
	place  int
	weight float64
}

func newCollector(p *pipeline) *collector {
	c := &collector{customers: map[string]int32{}, merchants: map[string]int32{}, unlabeled: map[string]int{}}
	c.own, c.result.Rules = bitsOf(p.detect.set())
	if p.other != nil {
		c.ours, c.result.OtherRules = bitsOf(p.other.set())
	}
	return c
}

func bitsOf(set *rules.Set) (ruleBits, []Rule) {
	bits := ruleBits{}
	var list []Rule
	for _, r := range set.Rules() {
		bits[r.ID] = ruleBit{len(list), r.Weight}
		list = append(list, Rule{r.ID, r.Weight})
	}
	return bits, list
}

func (c *collector) collect(d *Day, own, other []emitted) error {
	for i := range own {
		var s events.Scored
		if err := events.ParseVerdict(own[i].event.Data, &s); err != nil {
			return err
		}
		r := Row{
			Customer: place(c.customers, &c.result.Customers, s.UserID), Merchant: place(c.merchants, &c.result.Merchants, s.MerchantID),
			Time: s.Time, Amount: s.Amount,
		}
		if d.Amounts != nil {
			r.Amount = d.Amounts[i]
		}
		c.own.decide(&r, &s)
		c.model(&s)
		c.unlabeled[strings.Clone(s.TransactionID)] = len(c.result.Rows)
		c.result.Rows = append(c.result.Rows, r)
	}
	for i := range other {
		var s events.Scored
		if err := events.ParseVerdict(other[i].event.Data, &s); err != nil {
			return err
		}
		r := c.result.Rows[len(c.result.Other)]
		r.Fired = 0
		c.ours.decide(&r, &s)
		c.result.Other = append(c.result.Other, r)
	}
	for i := range d.Labels {
		var l events.Label
		if err := events.ParseLabel(d.Labels[i].Data, &l); err != nil {
			return err
		}
		at, ok := c.unlabeled[l.TransactionID]
		if !ok {
			continue
		}
		delete(c.unlabeled, l.TransactionID)
		for _, rows := range [][]Row{c.result.Rows, c.result.Other} {
			if at < len(rows) {
				rows[at].Labelled, rows[at].Fraud, rows[at].Scenario = true, l.Fraud, scenarioOf(&l)
			}
		}
	}
	return nil
}

// decide fills in what was decided.
func (b ruleBits) decide(r *Row, s *events.Scored) {
	r.Score, r.Flagged = s.Score, s.Flagged
	doubt := 1.0
	for _, list := range [...][]events.FiredRule{s.Rules, s.Shadow} {
		for _, fired := range list {
			bit := b[fired.ID]
			if bit.place < 64 {
				r.Fired |= 1 << bit.place
			}
			doubt *= 1 - bit.weight
		}
	}
	r.RuleScore = 1 - doubt
}

func (c *collector) model(s *events.Scored) {
	models := &c.result.Models
	if n := len(*models); n == 0 || (*models)[n-1].Version != s.ModelVersion {
		*models = append(*models, Model{Version: strings.Clone(s.ModelVersion), From: s.Time})
	}
	(*models)[len(*models)-1].Count++
}

func place(places map[string]int32, names *[]string, name string) int32 {
	at, ok := places[name]
	if !ok {
		at = int32(len(*names))
		name = strings.Clone(name)
		places[name] = at
		*names = append(*names, name)
	}
	return at
}

// Scenarios are the names of the scenarios that results are broken down by; those
// of the Handbook's data set. Others count as the one of place 0.
func Scenarios() []string {
	return []string{"other", "large-amount", "compromised-terminal", "compromised-customer"}
}

func scenarioOf(l *events.Label) uint8 {
	return uint8(max(0, slices.Index(Scenarios(), l.Scenario)))
}

// Measure returns the metrics of the rows of a test by a score.
func Measure(rows []Row, set []int, score func(*Row) float64) (Metrics, Curve, []float64) {
	ranked := make([]Ranked, 0, len(set))
	cards := make([]Card, 0, len(set))
	for _, i := range set {
		r := &rows[i]
		x := score(r)
		ranked = append(ranked, Ranked{x, r.Fraud})
		cards = append(cards, Card{int64(math.Floor(float64(r.Time) / float64(day))), r.Customer, x, r.Fraud})
	}
	var m Metrics
	var curve Curve
	m.AUC, m.AP, curve = Rank(ranked)
	var days []float64
	m.CP, days = CardPrecision(cards, 100)
	return m, curve, days
}
