// Package backtest measures detection: it feeds recorded or simulated transactions
// and their labels through enrich, detect and learn in event time, as fast as it
// goes, and compares what was scored with the truth.
package backtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"datasurge/events"
	"datasurge/functions/detect"
)

// Config is what is run.
type Config struct {
	Source Source
	// Rules is a file of rules; nil: [DefaultRules] for the Handbook's data set, else
	// the built-in ones. Against is another, that is compared with it; nil: nothing is.
	Rules, Against []byte
	// Partitions is how many there are of each topic, and so how many tasks of
	// each function; 0: one. It does not matter to the scores, unless rules ask for
	// windows of merchants, which tasks tell each other about as fast as they can.
	Partitions int
	// Progress, if set, is told after each step how much of the source is done.
	Progress func(done, all int64)
	// Logger is told what goes wrong and is tried again; nil: nobody is.
	Logger *slog.Logger
}

// Result is what a run found.
type Result struct {
	Customers, Merchants []string
	Rows                 []Row
	Other                []Row // by the rules of Config.Against; empty without
	Rules, OtherRules    []Rule
	Models               []Model // in the order in which they came into force
	Refused              int     // transactions that were not scored: invalid, or written twice
	Book                 bool    // it is of the Handbook's data set
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
	result, err := run(ctx, &config)
	if ctx.Err() != nil {
		return nil, errors.New("backtest: interrupted")
	}
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	return result, nil
}

func run(ctx context.Context, config *Config) (result *Result, err error) {
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	partitions := max(1, config.Partitions)
	_, book := config.Source.(*Handbook)
	files := [][]byte{config.Rules}
	switch {
	case files[0] != nil:
	case book:
		files[0] = DefaultRules()
	default:
		files[0] = detect.BuiltInRules()
	}
	if config.Against != nil {
		files = append(files, config.Against)
	}
	k, err := openKafka(ctx, partitions, len(files) > 1, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	p, err := openPipeline(ctx, k, partitions, files, log)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if result, err = p.run(ctx, config); result != nil {
		result.Book = book
	}
	return result, err
}

// run feeds the pipeline and collects what comes out.
func (p *pipeline) run(ctx context.Context, config *Config) (*Result, error) {
	c := newCollector(p.rules)
	group, ctx := errgroup.WithContext(ctx)
	reading, stop := context.WithCancel(ctx)
	var followers []*follower
	for n := range p.detect {
		f, err := newFollower(p.kafka.options, scoredTopic(n))
		if err != nil {
			stop()
			return nil, errors.Join(err, group.Wait())
		}
		followers = append(followers, f)
		group.Go(func() error {
			defer f.client.Close()
			return f.run(reading, func(s *events.Scored) { c.decided(n, s) })
		})
	}
	steps := make(chan Step, 1)
	group.Go(func() error {
		defer close(steps)
		for {
			s, ok, err := config.Source.Next(ctx)
			if err != nil || !ok {
				return err
			}
			select {
			case steps <- s:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	var failed error // what is at the bottom of all other errors
	group.Go(func() error {
		select {
		case failed = <-p.kafka.broker.Failed():
			return failed
		case <-reading.Done():
			return nil
		}
	})
	group.Go(func() error {
		defer stop()
		for s := range steps {
			c.expect(&s)
			if err := p.step(ctx, &s); err != nil {
				return err
			}
			for n, f := range followers {
				ends, err := p.kafka.ends(ctx, scoredTopic(n))
				if err == nil {
					err = f.await(ctx, ends)
				}
				if err != nil {
					return err
				}
			}
			if config.Progress != nil {
				config.Progress(s.Done, s.All)
			}
		}
		return ctx.Err()
	})
	if err := group.Wait(); err != nil {
		return nil, cmp.Or(failed, err)
	}
	return c.finish(), nil
}

// Scenarios are the names of the scenarios that results are broken down by; those
// of the Handbook's data set. Others count as the one of place 0.
func Scenarios() []string {
	return []string{"other", "large-amount", "compromised-terminal", "compromised-customer"}
}

func scenarioOf(l *events.Label) uint8 {
	return uint8(max(0, slices.Index(Scenarios(), l.Scenario)))
}

// measure returns the metrics of the rows of a test by a score.
func measure(rows []Row, set []int, score func(*Row) float64) (Metrics, Curve, []float64) {
	all := make([]ranked, 0, len(set))
	cards := make([]Card, 0, len(set))
	for _, i := range set {
		r := &rows[i]
		x := score(r)
		all = append(all, ranked{x, r.Fraud})
		cards = append(cards, Card{int64(math.Floor(float64(r.Time) / float64(day))), r.Customer, x, r.Fraud})
	}
	var m Metrics
	var curve Curve
	m.AUC, m.AP, curve = rank(all)
	var days []float64
	m.CP, days = CardPrecision(cards, 100)
	return m, curve, days
}
