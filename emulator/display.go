package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	"datasurge/emulator/service"
	"datasurge/emulator/source"
	"datasurge/emulator/status"
	"datasurge/events"
	"datasurge/knative"
)

// Pauses between two drawings of the status: on a terminal, and in a log.
const (
	drawEvery = time.Second
	lineEvery = 10 * time.Second
)

// display shows the status until it is closed.
type display struct {
	e    *emulator
	stop chan struct{}
	done sync.WaitGroup

	// What was seen last, for rates. Used by one goroutine at a time.
	last    time.Time
	records map[string]int64
	outputs map[string]int64
	sources map[string]source.Stats // by kind, namespace and name
	said    int64                   // anomalies
}

func newDisplay(e *emulator) *display {
	d := &display{e: e, stop: make(chan struct{}), last: time.Now()}
	if !e.screen.Terminal() { // there the status says it
		e.log.Info("everything is started; Ctrl-C stops it", "http", e.baseURL, "kafka", strings.Join(e.kafkaAddr, ","))
	}
	d.done.Go(d.show)
	return d
}

func (d *display) close() {
	close(d.stop)
	d.done.Wait()
}

func (d *display) show() {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	line := time.Now()
	for {
		if d.e.screen.Terminal() {
			d.e.screen.Draw(status.Render(d.snapshot()))
		} else {
			d.sayAnomalies()
			if time.Since(line) >= lineEvery {
				line = time.Now()
				d.e.log.Info(status.Line(d.snapshot()))
			}
		}
		select {
		case <-tick.C:
		case <-d.stop:
			return
		}
	}
}

// sayAnomalies writes a line for each anomaly that has come, not more than are
// worth reading.
func (d *display) sayAnomalies() {
	n := d.e.follower.Records()[events.TopicAnomalies]
	for _, a := range d.e.follower.Anomalies(int(min(n-d.said, shownAnomalies))) {
		d.e.log.Info("anomaly " + a.String())
	}
	d.said = n
}

// shownAnomalies is how many anomalies the status shows.
const shownAnomalies = 5

// snapshot returns the status with the rates since the one before.
func (d *display) snapshot() *status.Snapshot {
	now := time.Now()
	seconds := max(now.Sub(d.last).Seconds(), 0.001)
	records, outputs := d.e.follower.Records(), d.e.follower.Outputs()
	s := &status.Snapshot{
		Elapsed: now.Sub(d.e.started), HTTP: d.e.baseURL, Kafka: strings.Join(d.e.kafkaAddr, ","),
		Pace:      d.e.config.pace.String(),
		Anomalies: d.e.follower.Anomalies(shownAnomalies),
	}
	set, services, sources := d.e.running()
	stats := make(map[string]source.Stats, len(sources))
	for _, src := range sources {
		stats[src.key()] = src.Stats()
	}
	for _, svc := range inFlowOrder(set, services) {
		spec := svc.Spec()
		f := status.Function{Name: svc.Label(), Instances: svc.Size()}
		_, f.Ready, f.Restarts = svc.Counts()
		f.Out = float64(outputs[spec.Name]-d.outputs[spec.Name]) / seconds
		var latencies source.Latencies
		for _, src := range sources {
			if !src.feeds(spec) {
				continue
			}
			f.Source = true
			now, before := stats[src.key()], d.sources[src.key()]
			f.In += float64(now.Delivered-before.Delivered) / seconds
			f.Failed += now.Failed
			f.DeadLetters += now.DeadLetters
			f.Lost += now.Lost
			latencies = latencies.Plus(now.Latencies.Since(before.Latencies))
			for _, t := range src.spec.Topics {
				f.Lag += d.e.follower.Lag(t, now.Next[t])
			}
		}
		f.P99 = latencies.Quantile(0.99)
		s.Functions = append(s.Functions, f)
	}
	for _, name := range d.e.shownTopics() {
		s.Topics = append(s.Topics, status.Topic{Name: name, Records: records[name], Rate: float64(records[name]-d.records[name]) / seconds})
	}
	d.last, d.records, d.outputs, d.sources = now, records, outputs, stats
	return s
}

// total returns the status at the end, and says the anomalies that have come
// since the last line. The display has to be closed.
func (d *display) total() *status.Snapshot {
	if !d.e.screen.Terminal() {
		d.sayAnomalies()
	}
	return d.snapshot()
}

// inFlowOrder returns the services as events flow: those without a source, then
// by the last of their topics in the order in which topics are declared.
func inFlowOrder(set *knative.Set, services []*service.Service) []*service.Service {
	rank := make(map[string]int) // by namespace/name
	for _, s := range set.Sources {
		if s.Sink.Ref == nil || s.Sink.Ref.Kind != "Service" {
			continue
		}
		fed := full(s.Sink.Ref.Namespace, s.Sink.Ref.Name)
		for _, t := range s.Topics {
			i := slices.IndexFunc(set.Topics, func(d *knative.KafkaTopic) bool { return d.Topic == t })
			rank[fed] = max(rank[fed], i+1)
		}
	}
	return slices.SortedStableFunc(slices.Values(services), func(a, b *service.Service) int {
		one, other := a.Spec(), b.Spec()
		return rank[full(one.Namespace, one.Name)] - rank[full(other.Namespace, other.Name)]
	})
}
