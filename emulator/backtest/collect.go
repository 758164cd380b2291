package backtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/detect/rules"
)

// collector makes rows of transactions, what was decided about them, and labels.
type collector struct {
	bits []ruleBits // of each detect

	mu        sync.Mutex
	result    Result
	customers map[string]int32
	merchants map[string]int32
	open      map[string]*openRow // by transaction
}

// openRow is a row for which something is still to come.
type openRow struct {
	place   int
	waiting int // for decisions and for the label
}

// ruleBits gives the place and the weight of each rule.
type ruleBits map[string]ruleBit

type ruleBit struct {
	place  int
	weight float64
}

func newCollector(sets []*rules.Set) *collector {
	c := &collector{customers: map[string]int32{}, merchants: map[string]int32{}, open: map[string]*openRow{}}
	for i, into := range []*[]Rule{&c.result.Rules, &c.result.OtherRules}[:len(sets)] {
		bits := ruleBits{}
		for _, r := range sets[i].Rules() {
			bits[r.ID] = ruleBit{len(*into), r.Weight}
			*into = append(*into, Rule{r.ID, r.Weight})
		}
		c.bits = append(c.bits, bits)
	}
	return c
}

// expect takes the transactions and labels of a step before they are written.
func (c *collector) expect(s *Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range s.Transactions {
		t := &s.Transactions[i]
		if t.ID == "" || c.open[t.ID] != nil {
			c.result.Refused++ // it is none, or was written twice
			continue
		}
		c.open[strings.Clone(t.ID)] = &openRow{len(c.result.Rows), 1 + len(c.bits)}
		r := Row{Customer: place(c.customers, &c.result.Customers, t.UserID), Amount: t.Amount}
		c.result.Rows = append(c.result.Rows, r)
		if len(c.bits) > 1 {
			c.result.Other = append(c.result.Other, r)
		}
	}
	for i := range s.Labels {
		l := &s.Labels[i]
		row := c.open[l.TransactionID]
		if row == nil || c.result.Rows[row.place].Labelled {
			continue
		}
		for _, rows := range [...][]Row{c.result.Rows, c.result.Other} {
			if len(rows) > 0 {
				r := &rows[row.place]
				r.Labelled, r.Fraud, r.Scenario = true, l.Fraud, scenarioOf(&l.Label)
			}
		}
		c.done(l.TransactionID, row)
	}
}

func (c *collector) done(id string, row *openRow) {
	if row.waiting--; row.waiting == 0 {
		delete(c.open, id)
	}
}

// decided takes what the detect of that number decided.
func (c *collector) decided(n int, s *events.Scored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row := c.open[s.TransactionID]
	if row == nil {
		return // was written twice
	}
	r := &c.result.Rows[row.place]
	if n > 0 {
		r = &c.result.Other[row.place]
	}
	if r.scored {
		return
	}
	r.scored = true
	r.Merchant, r.Time = place(c.merchants, &c.result.Merchants, s.MerchantID), s.Time
	if r.Amount < 0 {
		r.Amount = s.Amount
	}
	c.bits[n].decide(r, s)
	if n == 0 {
		c.model(s)
	}
	c.done(s.TransactionID, row)
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
	i := slices.IndexFunc(*models, func(m Model) bool { return m.Version == s.ModelVersion })
	if i < 0 {
		i = len(*models)
		*models = append(*models, Model{Version: strings.Clone(s.ModelVersion), From: s.Time})
	}
	m := &(*models)[i]
	m.From = min(m.From, s.Time)
	m.Count++
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

// finish returns the rows of the transactions that were scored.
func (c *collector) finish() *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.result
	kept := 0
	for i := range r.Rows {
		if !r.Rows[i].scored || len(r.Other) > 0 && !r.Other[i].scored {
			continue
		}
		r.Rows[kept] = r.Rows[i]
		if len(r.Other) > 0 {
			r.Other[kept] = r.Other[i]
		}
		kept++
	}
	r.Refused += len(r.Rows) - kept
	r.Rows, r.Other = r.Rows[:kept], r.Other[:min(kept, len(r.Other))]
	slices.SortFunc(r.Models, func(a, b Model) int { return int(a.From - b.From) })
	return r
}

// follower reads what one detect decides.
type follower struct {
	client *kgo.Client
	mu     sync.Mutex
	next   map[int32]int64
	more   chan struct{} // closed and replaced when more has been read
}

func newFollower(options []kgo.Opt, topic string) (*follower, error) {
	client, err := kgo.NewClient(append(slices.Clone(options),
		kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	return &follower{client: client, next: map[int32]int64{}, more: make(chan struct{})}, nil
}

// run hands what is read to take until ctx ends.
func (f *follower) run(ctx context.Context, take func(*events.Scored)) error {
	var e events.Event
	var s events.Scored
	for {
		fetches := f.client.PollRecords(ctx, 10_000)
		if ctx.Err() != nil {
			return nil
		}
		if failures := fetches.Errors(); len(failures) > 0 {
			return fmt.Errorf("read %s: %w", failures[0].Topic, failures[0].Err)
		}
		next := map[int32]int64{}
		for rec := range fetches.RecordsAll() {
			next[rec.Partition] = rec.Offset + 1
			if rec.Attrs.IsControl() {
				continue
			}
			if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
				return err
			}
			if e.Type != events.TypeScored {
				continue
			}
			if err := events.ParseVerdict(e.Data, &s); err != nil {
				return fmt.Errorf("read %s: %w", rec.Topic, err)
			}
			take(&s)
		}
		f.mu.Lock()
		maps.Copy(f.next, next)
		close(f.more)
		f.more = make(chan struct{})
		f.mu.Unlock()
	}
}

// await returns when everything before ends has been read.
func (f *follower) await(ctx context.Context, ends map[int32]int64) error {
	for {
		f.mu.Lock()
		more, behind := f.more, false
		for partition, end := range ends {
			behind = behind || f.next[partition] < end
		}
		f.mu.Unlock()
		if !behind {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
