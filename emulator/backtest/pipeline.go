package backtest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
	"datasurge/functions/enrich"
	"datasurge/functions/learn"
	"datasurge/functions/step"
	"datasurge/functions/stream"
)

// pipeline is enrich, detect and learn over Kafka, transport kafka, in steps of
// event time:
//
//	transactions ─▶ enrich ─▶ detect ─▶ learn
//	labels ──────────────────────────────▶ │ before the transactions
//	                            tables ◀───┘
//
// What is learnt from the labels of a step stands in the tables before the first
// transaction of that step. That is earlier than it would be live for all labels
// but the first; detect passes over what was not known at a transaction's time, by
// the times that records carry. So each transaction sees exactly what was known,
// and the result does not depend on how fast anything runs. Functions are handed
// the time between the steps only, and are waited for there.
type pipeline struct {
	kafka      *kafka
	partitions int
	enrich     *stream.Engine
	detect     []*stream.Engine // with the rules, and with others
	learn      *stream.Engine
	producer   *kgo.Client
	rules      []*rules.Set // of each detect
	steps      int
}

//go:embed handbook.yaml
var handbookRules []byte

// DefaultRules is the file of the built-in rules and those for the Handbook's data
// set.
func DefaultRules() []byte {
	return bytes.Join([][]byte{detect.BuiltInRules(), handbookRules}, []byte("---\n"))
}

// againstSuffix ends the names of the detect that works by other rules, and of its
// topics.
const againstSuffix = "-against"

// openPipeline starts the functions. files are the rules of each detect.
func openPipeline(ctx context.Context, k *kafka, partitions int, files [][]byte, log *slog.Logger) (p *pipeline, err error) {
	p = &pipeline{kafka: k, partitions: partitions}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	def, err := enrich.Definition(enrich.DefaultConfig())
	if err != nil {
		return p, err
	}
	if p.enrich, err = p.start(ctx, def, log); err != nil {
		return p, err
	}
	for i, file := range files {
		def, set, err := detectWith(file)
		if err != nil {
			return p, err
		}
		if i > 0 {
			def = renamed(def, againstSuffix)
		}
		engine, err := p.start(ctx, def, log)
		if err != nil {
			return p, err
		}
		p.detect, p.rules = append(p.detect, engine), append(p.rules, set)
	}
	if def, err = learn.Definition(learn.DefaultConfig()); err != nil {
		return p, err
	}
	if p.learn, err = p.start(ctx, def, log); err != nil {
		return p, err
	}
	p.producer, err = kgo.NewClient(append(slices.Clone(k.options), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))...)
	return p, err
}

// detectWith returns detect with the rules of a file.
func detectWith(file []byte) (step.Definition, *rules.Set, error) {
	def, err := detect.Definition(detect.DefaultConfig())
	if err != nil {
		return def, nil, err
	}
	compiler, err := rules.NewCompiler(detect.Schema(), rules.DefaultLimits())
	if err != nil {
		return def, nil, err
	}
	set, err := rules.NewSet(compiler, file)
	if err != nil {
		return def, nil, err
	}
	for i := range def.Tables {
		if def.Tables[i].Topic == events.TopicRules {
			def.Tables[i].Initial = set
		}
	}
	return def, set, nil
}

func (p *pipeline) start(ctx context.Context, def step.Definition, log *slog.Logger) (*stream.Engine, error) {
	def.TickEvery = 365 * 24 * time.Hour // the time is handed out by Settle only
	engine, err := stream.Open(ctx, stream.Options{
		Definition: def, Kafka: p.kafka.options, Consume: true, Owner: stream.Static{}, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", def.Name, err)
	}
	return engine, nil
}

// step runs one step.
func (p *pipeline) step(ctx context.Context, s *Step) error {
	var records []*kgo.Record
	for i := range s.Labels {
		records = append(records, p.place(s.Labels[i].Record, events.TopicLabels, s.Labels[i].UserID))
	}
	if err := p.produce(ctx, records); err != nil {
		return err
	}
	if err := p.settle(ctx, p.learn); err != nil {
		return err
	}
	if err := p.forget(ctx); err != nil {
		return err
	}
	records = records[:0]
	for i := range s.Transactions {
		records = append(records, p.place(s.Transactions[i].Record, events.TopicTransactions, s.Transactions[i].UserID))
	}
	for n := range p.partitions {
		records = append(records, watermark(n, s.End))
	}
	if err := p.produce(ctx, records); err != nil {
		return err
	}
	return p.settle(ctx, p.enrich)
}

// settle waits for the function before detect, and then for detect.
func (p *pipeline) settle(ctx context.Context, before *stream.Engine) error {
	if err := before.Settle(ctx); err != nil {
		return err
	}
	for _, engine := range p.detect {
		if err := engine.Settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// forgetEvery is after how many steps that which everybody has read is deleted.
const forgetEvery = 10

// forget deletes from time to time what all functions have done with, and of the
// table of outcomes, which is as large as the streams, what has been read.
func (p *pipeline) forget(ctx context.Context) error {
	if p.steps++; p.steps%forgetEvery > 0 {
		return nil
	}
	done := kadm.Offsets{}
	for _, engine := range p.engines() {
		for n, positions := range engine.Positions() {
			for topic, at := range positions {
				if other, ok := done.Lookup(topic, int32(n)); !ok || at < other.At {
					done.AddOffset(topic, int32(n), at, -1)
				}
			}
		}
	}
	read := []string{events.TopicOutcomes}
	for n := 1; n < len(p.detect); n++ {
		read = append(read, scoredTopic(n)) // which no function reads
	}
	for _, topic := range read {
		ends, err := p.kafka.ends(ctx, topic)
		if err != nil {
			return err
		}
		for partition, end := range ends {
			done.AddOffset(topic, partition, end, -1)
		}
	}
	return p.kafka.forget(ctx, done)
}

func (p *pipeline) engines() []*stream.Engine {
	return append([]*stream.Engine{p.enrich, p.learn}, p.detect...)
}

func (p *pipeline) place(rec *kgo.Record, topic, user string) *kgo.Record {
	rec.Topic, rec.Partition = topic, int32(stream.PartitionOf([]byte(user), p.partitions))
	return rec
}

func (p *pipeline) produce(ctx context.Context, records []*kgo.Record) error {
	if err := p.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write to the embedded Kafka: %w", err)
	}
	return nil
}

// watermark says to a partition of the transactions' topic that none before at
// follows, as a function upstream would.
func watermark(partition int, at int64) *kgo.Record {
	rec := recordOf(&events.Event{
		ID: strconv.FormatInt(at, 10), Source: "/datasurge/backtest", Type: events.TypeWatermark, Time: time.UnixMilli(at).UTC(),
		Extensions: []events.Extension{
			{Name: events.ExtTask, Value: "backtest/0/1"}, {Name: events.ExtWatermark, Value: strconv.FormatInt(at, 10)},
		},
	})
	rec.Topic, rec.Partition = events.TopicTransactions, int32(partition)
	return rec
}

// close ends the functions. What they have not committed matters to nobody.
func (p *pipeline) close() {
	if p.producer != nil {
		p.producer.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, engine := range p.engines() {
		if engine != nil {
			_ = engine.Close(ctx) // it says that it did not wait
		}
	}
}
