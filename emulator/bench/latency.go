package bench

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

const (
	steadyRate = 1000             // transactions a second
	steadyFor  = 15 * time.Second // of which the first few warm up
	warmUp     = 3 * time.Second
	// patience is how long after the last transaction the last anomaly may come.
	patience = 30 * time.Second
)

// latency sends so many transactions a second, for some time, and measures how long
// after its production the anomaly of each one over 100,000 can be read, but of the
// first ones, while things warm up.
func latency(ctx context.Context, kafka *Kafka, perSecond int, steadyFor, warmUp time.Duration) (Latency, error) {
	reader, err := kgo.NewClient(append(kafka.Client[:len(kafka.Client):len(kafka.Client)],
		kgo.ConsumeTopics(events.TopicAnomalies), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()), kgo.FetchMaxWait(50*time.Millisecond))...)
	if err != nil {
		return Latency{}, err
	}
	defer reader.Close()
	writer, err := kgo.NewClient(append(kafka.Client[:len(kafka.Client):len(kafka.Client)], kgo.ProducerLinger(0))...)
	if err != nil {
		return Latency{}, err
	}
	defer writer.Close()

	var mu sync.Mutex
	sent := map[string]time.Time{}
	ctx, cancel := context.WithTimeout(ctx, steadyFor+patience)
	defer cancel()
	var writing sync.WaitGroup
	writing.Go(func() {
		make := newOriginal(2, 50_000)
		began := time.Now()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			elapsed := time.Since(began)
			if elapsed > steadyFor {
				return
			}
			for ; n < int(elapsed.Seconds()*float64(perSecond)); n++ {
				now := time.Now()
				rec, id, large := make.record(now)
				if large && elapsed > warmUp {
					mu.Lock()
					sent[id] = now
					mu.Unlock()
				}
				writer.Produce(ctx, rec, nil)
			}
		}
	})
	var took []float64
	ended := make(chan struct{})
	go func() { writing.Wait(); close(ended) }()
	for {
		fetches := reader.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			break
		}
		for rec := range fetches.RecordsAll() {
			var e events.Event
			if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
				return Latency{}, err
			}
			id, _, _ := strings.Cut(e.ID, "/")
			mu.Lock()
			if at, ok := sent[id]; ok {
				took = append(took, now.Sub(at).Seconds())
				delete(sent, id)
			}
			mu.Unlock()
		}
		select {
		case <-ended:
			mu.Lock()
			all := len(sent) == 0
			mu.Unlock()
			if all {
				cancel()
			}
		default:
		}
	}
	writing.Wait()
	l := Latency{PerSecond: perSecond, Count: len(took), Missing: len(sent)}
	if len(took) > 0 {
		slices.Sort(took)
		l.P50, l.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return l, nil
}
