package run

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/metrics"
	"datasurge/functions/step"
	"datasurge/functions/stream"
	"datasurge/functions/stream/kafkatest"
)

// pipeline is the four functions over one Kafka, transport kafka.
type pipeline struct {
	logs io.Writer // of the functions, every event; nil for none
	kafkatest.Backend
	t       testing.TB
	config  Config
	engines []*stream.Engine
	stepped *stepped // of the engine that was started last
}

// stepped counts the events of the main input that were stepped.
type stepped struct {
	*metrics.Metrics
	n atomic.Int64
}

func (s *stepped) Committed(function string, c *stream.Commit) {
	count(&s.n, c)
	s.Metrics.Committed(function, c)
}

func count(into *atomic.Int64, c *stream.Commit) {
	for _, n := range c.Events {
		if n.Type != events.TypePartial {
			into.Add(int64(n.N))
		}
	}
}

const partitions = 4

func newPipeline(t testing.TB, b kafkatest.Backend, change func(*Config)) *pipeline {
	t.Helper()
	config, err := ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Rate = 50
	config.LabelDelay = 30 * time.Second
	if change != nil {
		change(&config)
	}
	p := &pipeline{Backend: b, t: t, config: config}
	compact := map[string]string{"cleanup.policy": "compact", "retention.ms": "-1"}
	created := map[string]bool{}
	create := func(topic string, n int32, configs map[string]string) {
		if !created[topic] {
			created[topic] = true
			p.createTopic(topic, n, configs)
		}
	}
	create(events.TopicLate, 1, nil)
	create(events.TopicDeadLetters, 1, nil)
	for _, name := range names {
		def := p.definition(name)
		for _, table := range def.Tables {
			create(table.Topic, 1, compact)
		}
		create(stream.ChangelogTopic(name), partitions, compact)
	}
	for _, name := range names {
		def := p.definition(name)
		for _, in := range def.Inputs {
			create(in.Topic, partitions, nil)
		}
		for _, out := range def.Outputs {
			create(out.Topic, partitions, nil)
		}
	}
	return p
}

// createTopic creates a topic unless it is there: the names of the pipeline's
// topics are fixed, and a real Kafka is shared with other tests.
func (p *pipeline) createTopic(topic string, n int32, configs map[string]string) {
	p.t.Helper()
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	_, err := kadm.NewClient(p.Client(p.t)).CreateTopic(p.t.Context(), n, -1, values, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		p.t.Fatalf("create %s: %v", topic, err)
	}
}

func (p *pipeline) definition(name string) step.Definition {
	p.t.Helper()
	return p.observedDefinition(name, metrics.New(name, "test", slog.New(slog.DiscardHandler)))
}

func (p *pipeline) observedDefinition(name string, m *metrics.Metrics) step.Definition {
	p.t.Helper()
	config := p.config
	config.Function = name
	def, err := Definition(&config, m)
	if err != nil {
		p.t.Fatal(err)
	}
	return def
}

func (p *pipeline) start(functions ...string) {
	p.t.Helper()
	for _, name := range functions {
		p.stepped = &stepped{Metrics: metrics.New(name, "test", slog.New(slog.DiscardHandler))}
		p.open(p.observedDefinition(name, p.stepped.Metrics), p.stepped)
	}
}

// open starts a function that observer watches, on some partitions or, when none
// is named, on all.
func (p *pipeline) open(definition step.Definition, observer stream.Observer, partitions ...int) {
	p.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(p.t.Output(), nil))
	}
	if p.logs != nil {
		log = slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := stream.Open(ctx, stream.Options{
		Definition: definition, Kafka: p.Opts(), Consume: true, Owner: stream.Static(partitions),
		CommitInterval: p.config.Commit, Logger: log, Observer: observer, Limits: limits(&p.config),
	})
	if err != nil {
		p.t.Fatalf("start %s: %v", definition.Name, err)
	}
	p.engines = append(p.engines, e)
}

// stop ends the engines in the order of the pipeline.
func (p *pipeline) stop() {
	p.t.Helper()
	for _, e := range p.engines {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := e.Close(ctx); err != nil {
			p.t.Errorf("stop: %v", err)
		}
		cancel()
	}
	p.engines = nil
}

// read returns the events of a topic, without watermarks.
func (p *pipeline) read(topic string) []events.Event {
	p.t.Helper()
	var list []events.Event
	for _, rec := range p.ReadDecided(p.t, topic) {
		var e events.Event
		if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
			p.t.Fatal(err)
		}
		if e.Type != events.TypeWatermark {
			list = append(list, e)
		}
	}
	return list
}

// Three minutes of generated transactions go through all four functions: each is
// scored once, the final windows count all of them, labels become merchant risk.
func TestPipeline(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		p := newPipeline(t, b, nil)
		p.start("generate", "enrich", "detect", "aggregate")
		time.Sleep(3 * time.Minute)
		p.engines[0].Close(context.Background())
		time.Sleep(2 * time.Minute) // what was generated passes, idle partitions let go
		p.stop()

		transactions := p.read(events.TopicTransactions)
		if n := len(transactions); n < 8_500 || n > 9_500 {
			t.Errorf("%d transactions were generated in three minutes at 50 a second", n)
		}
		ids := map[string]int{}
		for _, e := range transactions {
			ids[e.ID]++
		}
		for _, topic := range []string{events.TopicEnriched, events.TopicScored} {
			seen := map[string]bool{}
			for _, e := range p.read(topic) {
				if ids[e.ID] != 1 || seen[e.ID] {
					t.Fatalf("%s: %s is there twice or was never generated", topic, e.ID)
				}
				seen[e.ID] = true
			}
			if len(seen) != len(ids) {
				t.Errorf("%s has %d of %d transactions", topic, len(seen), len(ids))
			}
		}
		if n := len(p.read(events.TopicAnomalies)); n < 100 {
			t.Errorf("%d anomalies, want at least 100", n)
		}
		for _, topic := range []string{events.TopicLate, events.TopicDeadLetters} {
			if list := p.read(topic); len(list) > 0 {
				t.Errorf("%d events in %s, the first is %s", len(list), topic, list[0].Data)
			}
		}
		if n := len(p.read(events.TopicRisk)); n == 0 {
			t.Error("no merchant risk although frauds were labelled")
		}
		p.checkFinals(transactions)
	})
}

// checkFinals compares the final minute windows of all transactions with a
// count.
func (p *pipeline) checkFinals(transactions []events.Event) {
	p.t.Helper()
	want := map[int64]int64{}
	var latest time.Time
	for _, e := range transactions {
		want[e.Time.Truncate(time.Minute).UnixMilli()]++
		if e.Time.After(latest) {
			latest = e.Time
		}
	}
	closed := latest.Add(-p.config.OutOfOrderness - p.config.Lateness).UnixMilli()
	got := map[int64]int64{}
	for _, e := range p.read(events.TopicAggregates) {
		var a events.Aggregate
		if err := events.ParseAggregate(e.Data, &a); err != nil {
			p.t.Fatal(err)
		}
		if a.Dimension == "all" && a.End-a.Start == 60_000 && a.Final {
			if _, twice := got[a.Start]; twice {
				p.t.Errorf("window %d has two final results", a.Start)
			}
			got[a.Start] = a.Count
		}
	}
	for s := range want {
		if s+60_000 > closed {
			delete(want, s) // no later event time has closed it
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 2 {
		p.t.Errorf("final counts of %d minutes (-want +got):\n%s", len(want), diff)
	}
}
