//go:build synctests

package source

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"datasurge/emulator/dispatch"
	"datasurge/emulator/golden"
	"datasurge/emulator/sink"
	"datasurge/knative"
)

// TestGolden replays the recordings of Knative's dispatcher in fake time: an
// embedded broker, HTTP over connections in memory, and dispatchers that are
// started, killed and closed when the recorder did so.
func TestGolden(t *testing.T) {
	for _, r := range golden.Load(t, golden.KafkaSource, golden.Subscription, golden.Trigger) {
		t.Run(r.Name, func(t *testing.T) {
			r.Proves(t)
			replay(t, r, false)
		})
	}
}

// TestGoldenAlone replays those in which one dispatcher ran, without a consumer
// group: so sources run on the embedded broker.
func TestGoldenAlone(t *testing.T) {
	for _, r := range golden.Load(t, golden.KafkaSource, golden.Subscription, golden.Trigger) {
		grouped := r.Then.Summary != nil && r.Then.Summary.GroupMembers != nil
		if restarts(r) || grouped {
			continue
		}
		t.Run(r.Name, func(t *testing.T) { replay(t, r, true) })
	}
}

func replay(t *testing.T, r *golden.Recording, alone bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, r)
		defer w.close()
		w.alone = alone
		w.run()
		w.compare()
	})
}

// world is where a recording is replayed. Its clock is the recording's: begin is
// when the first record was produced.
type world struct {
	t       *testing.T
	r       *golden.Recording
	spec    Spec
	alone   bool // dispatchers join no group
	begin   time.Time
	network kfake.VirtualNetwork
	cluster *kfake.Cluster
	kafka   []kgo.Opt
	client  *kgo.Client
	admin   *kadm.Client
	sink    *scriptedSink
	running []*Dispatcher // the oldest first
	closing sync.WaitGroup
	held    int // requests that were open when the sink let them go
	cleanup []func()

	topics map[kadm.TopicID]string
	// transactions are the producers of those that have begun, by name and end.
	transactions map[string]*kgo.Client

	mu      sync.Mutex
	commits []commit
}

// commit is a position that was committed.
type commit struct {
	at        time.Duration
	partition string // topic/partition
	offset    int64
}

const brokerPort = 9092

func newWorld(t *testing.T, r *golden.Recording) *world {
	w := &world{t: t, r: r, spec: specOf(t, r), sink: newScriptedSink(t, r), transactions: make(map[string]*kgo.Client)}
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(w.network.Listen), kfake.Ports(brokerPort))
	if err != nil {
		t.Fatal(err)
	}
	w.kafka = []kgo.Opt{kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.Dialer(w.network.DialContext)}
	if w.client, err = kgo.NewClient(append(w.kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		t.Fatal(err)
	}
	w.admin = kadm.NewClient(w.client)
	topics := maps.Clone(r.Topics)
	for _, rec := range r.Then.Records {
		if _, ok := topics[rec.Topic]; !ok {
			topics[rec.Topic] = 1
		}
	}
	for topic, n := range topics {
		if _, err := w.admin.CreateTopic(t.Context(), n, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	listed, err := w.admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.topics = make(map[kadm.TopicID]string)
	listed.EachPartition(func(p kadm.PartitionDetail) { w.topics[listed[p.Topic].ID] = p.Topic })
	for _, p := range sinkPorts(t, r, &w.spec) {
		l, err := w.network.Listen("tcp", "127.0.0.1:"+p)
		if err != nil {
			t.Fatal(err)
		}
		w.cleanup = append(w.cleanup, func() { l.Close() })
		go w.sink.serve(l)
	}
	w.serveReceiver()
	return w
}

// serveReceiver serves the KafkaSinks that the recording sends to. The manifest
// does not say to which topic they write: it is the one that is not consumed.
func (w *world) serveReceiver() {
	handlers := make(map[string]*sink.Handler)
	targets := []dispatch.Target{w.spec.Subscriber}
	if w.spec.DeadLetter != nil {
		targets = append(targets, *w.spec.DeadLetter)
	}
	for _, target := range targets {
		u, err := url.Parse(target.URL)
		if err != nil || u.Port() != receiverPort {
			continue
		}
		i := slices.IndexFunc(w.r.Then.Records, func(rec golden.Record) bool { return !slices.Contains(w.spec.Topics, rec.Topic) })
		if i < 0 {
			w.t.Fatalf("nothing says to which topic %s writes", target.URL)
		}
		client, err := kgo.NewClient(append(sink.Options(), w.kafka...)...)
		if err != nil {
			w.t.Fatal(err)
		}
		w.cleanup = append(w.cleanup, client.Close)
		of := &knative.KafkaSink{Topic: w.r.Then.Records[i].Topic}
		handlers[u.Path] = sink.New(of, client, slog.New(slog.DiscardHandler))
	}
	if len(handlers) == 0 {
		return
	}
	l, err := w.network.Listen("tcp", "127.0.0.1:"+receiverPort)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if h := handlers[req.URL.Path]; h != nil {
			h.ServeHTTP(rw, req)
			return
		}
		http.NotFound(rw, req)
	})}
	go server.Serve(l)
	w.cleanup = append(w.cleanup, func() { server.Close() })
}

func (w *world) close() {
	for _, d := range w.running {
		d.Kill()
	}
	w.closing.Wait()
	for _, fn := range slices.Backward(w.cleanup) {
		fn()
	}
	w.client.Close()
	w.cluster.Close()
}

// now is the time on the recording's clock.
func (w *world) now() time.Duration { return time.Since(w.begin) }

// until sleeps until a time on the recording's clock.
func (w *world) until(at time.Duration) { time.Sleep(at - w.now()) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// run does what the recorder did, when it did it.
//
// The first dispatcher is started so that its commits, every five seconds from
// then on, have the phase of the recorded ones; and it gets its first records
// when the recorded one, which had to warm up, sent its first request.
func (w *world) run() {
	const margin = 250 * time.Millisecond // what an ordered poll may wait for its turn
	first := time.Duration(0)
	if len(w.r.Then.Requests) > 0 {
		first = ms(w.r.Then.Requests[0].AtMs) - margin
	}
	start, ok := w.inPhase(0, w.firstEnd(), first-commitEvery-margin)
	if !ok {
		start = first - margin
	}
	w.begin = time.Now().Add(-start)
	w.watchCommits()
	warm := w.holdFetches()
	w.produce(func(rec *golden.Record) bool { return rec.ProducedAtMs == 0 })
	w.open()
	steps := []step{{first, func() {
		close(warm)
		if s := w.r.Then.Summary; s != nil && s.RecordsProduced != nil {
			w.produceCounted(s)
		}
	}}}
	seen := make(map[int64]bool)
	for _, rec := range w.r.Records {
		at := rec.ProducedAtMs
		if at == 0 || seen[at] {
			continue
		}
		seen[at] = true
		steps = append(steps, step{ms(at), func() {
			w.produce(func(other *golden.Record) bool { return other.ProducedAtMs == at })
		}})
	}
	for _, e := range w.r.Then.Events {
		if do := w.action(e); do != nil {
			steps = append(steps, step{e.At, do})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for _, s := range steps {
		w.until(s.at)
		s.do()
	}
	w.until(w.end())
}

// step is something that the recorder did.
type step struct {
	at time.Duration
	do func()
}

// end is when all is over: the last thing in the recording, and then a commit.
func (w *world) end() time.Duration {
	var last time.Duration
	for _, q := range w.r.Then.Requests {
		last = max(last, ms(q.AnsweredMs))
	}
	for _, e := range w.r.Then.Events {
		last = max(last, e.At)
	}
	for _, p := range w.r.Then.Timeline {
		last = max(last, ms(p.AtMs))
	}
	if s := w.r.Then.Summary; s != nil && s.WarmUpRecords > 0 {
		last += 2 * warmUp
	}
	return last + 2*commitEvery
}

// firstEnd is when the first dispatcher was ended, or the end of all.
func (w *world) firstEnd() time.Duration {
	for _, e := range w.r.Then.Events {
		if isKill(e) {
			return e.At
		}
	}
	return w.end()
}

// inPhase returns a time not before earliest from which commits every five
// seconds fall on the first recorded one between from and to. Commits were seen
// up to 200 ms late. Without any it is earliest, and not ok.
func (w *world) inPhase(from, to, earliest time.Duration) (start time.Duration, ok bool) {
	for _, p := range w.r.Then.Timeline {
		if at := ms(p.AtMs); at > from && at < to && len(p.Committed) > 0 {
			phase := (at - 100*time.Millisecond - earliest) % commitEvery
			if phase < 0 {
				phase += commitEvery
			}
			return earliest + phase, true
		}
	}
	return earliest, false
}

// holdFetches keeps the broker from answering fetches until the channel is
// closed.
func (w *world) holdFetches() chan struct{} {
	warm := make(chan struct{})
	w.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		select {
		case <-warm:
		default:
			w.cluster.SleepControl(func() { <-warm })
		}
		return nil, nil, false
	})
	return warm
}

// watchCommits notes all positions that are committed.
func (w *world) watchCommits() {
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, topic := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range topic.Partitions {
				w.commits = append(w.commits, commit{w.now(), fmt.Sprintf("%s/%d", cmp.Or(topic.Topic, w.topics[topic.TopicID]), p.Partition), p.Offset})
			}
		}
		return nil, nil, false
	})
}

func (w *world) open() {
	transport := dispatch.NewTransport(1, w.network.DialContext)
	w.cleanup = append(w.cleanup, transport.CloseIdleConnections)
	d, err := Open(w.t.Context(), Config{Spec: w.spec, Kafka: w.kafka, Alone: w.alone, Transport: transport, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.running = append(w.running, d)
}

// isKill reports whether the recorder ended a dispatcher with a signal.
func isKill(e golden.Event) bool {
	return slices.ContainsFunc([]string{"kill -9", "SIGTERM", "SIGKILL"}, func(s string) bool { return strings.Contains(e.Text, s) })
}

// action returns what the recorder did at an event, nil when it only looked. A
// text that is neither fails the test, unless the recording is somebody else's.
func (w *world) action(e golden.Event) func() {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(s string) bool { return strings.Contains(e.Text, s) })
	}
	oldest := func() *Dispatcher {
		d := w.running[0]
		w.running = w.running[1:]
		return d
	}
	switch {
	case isKill(e):
		return func() {
			if len(w.running) > 0 {
				oldest().Kill()
			}
		}
	case has("new process is up"):
		return func() {
			start, _ := w.inPhase(e.At, w.end(), e.At)
			w.until(start)
			w.open()
		}
	case has("second process gets the same source"):
		return w.open
	case has("removed from the contract"):
		return func() {
			d := oldest()
			w.closing.Go(func() { d.Close(context.Background()) })
		}
	case has("the contract changes"):
		return func() {
			d := oldest()
			w.closing.Go(func() { d.Close(context.Background()) })
			w.closing.Wait()
			w.open()
		}
	case has("requests in flight while the sink holds all"):
		return func() {
			w.held = w.sink.inFlight()
			close(w.sink.hold)
		}
	case has("committed is", "produced", "delivered", "gave up waiting", "has exited", "is stable", "is still open",
		"end offset", "start a new process"):
		return nil
	}
	if golden.Own() {
		w.t.Fatalf("nothing is known of the event %q", e.Text)
	}
	// It may only have been looked at; if not, the requests differ.
	w.t.Logf("nothing is known of the event %q, so nothing is done", e.Text)
	return nil
}

// produce produces those of the records that are chosen: what follows each other
// without a transaction in one batch.
func (w *world) produce(chosen func(*golden.Record) bool) {
	w.t.Helper()
	var batch []*kgo.Record
	flush := func() {
		if err := w.client.ProduceSync(w.t.Context(), batch...).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		batch = nil
	}
	for i := range w.r.Records {
		rec := &w.r.Records[i]
		if !chosen(rec) {
			continue
		}
		k, err := rec.Kgo()
		if err != nil {
			w.t.Fatal(err)
		}
		name := rec.Transaction
		if name == "" || name == "none" {
			batch = append(batch, k)
			continue
		}
		flush()
		last := !slices.ContainsFunc(w.r.Records[i+1:], func(r golden.Record) bool { return r.Transaction == name })
		w.produceInTransaction(k, name, last)
	}
	flush()
}

// produceInTransaction produces a record in a transaction. After its last record
// it ends, at once or after the time that the recording says.
func (w *world) produceInTransaction(rec *kgo.Record, transaction string, last bool) {
	w.t.Helper()
	client := w.transactions[transaction]
	if client == nil {
		var err error
		client, err = kgo.NewClient(append(w.kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(transaction))...)
		if err == nil {
			err = client.BeginTransaction()
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.transactions[transaction] = client
	}
	if err := client.ProduceSync(w.t.Context(), rec).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if !last {
		return
	}
	end := func() {
		defer client.Close()
		if err := client.EndTransaction(context.Background(), kgo.TransactionEndTry(!strings.Contains(transaction, "abort"))); err != nil {
			w.t.Error(err)
		}
	}
	_, after, open := strings.Cut(transaction, "open for ")
	if !open {
		end()
		return
	}
	seconds, _, _ := strings.Cut(after, " s")
	n, err := strconv.Atoi(seconds)
	if err != nil {
		w.t.Fatalf("transaction %q: %v", transaction, err)
	}
	w.closing.Go(func() {
		time.Sleep(time.Duration(n) * time.Second)
		end()
	})
}

// warmUp is the pause after the records that are to warm up the data plane.
const warmUp = 5 * time.Second

// produceCounted produces records of which the recording has only the number:
// in the end each partition's position is the number of its records.
func (w *world) produceCounted(s *golden.Summary) {
	w.t.Helper()
	var all []*kgo.Record
	for place, n := range w.r.Then.Committed {
		topic, partition, _ := strings.Cut(place, "/")
		p, err := strconv.ParseInt(partition, 10, 32)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range n {
			all = append(all, &kgo.Record{Topic: topic, Partition: int32(p), Value: fmt.Appendf(nil, "%s %d", place, i)})
		}
	}
	if len(all) != s.WarmUpRecords+*s.RecordsProduced {
		w.t.Fatalf("%d records are committed in the end, %d were produced", len(all), s.WarmUpRecords+*s.RecordsProduced)
	}
	for _, batch := range [][]*kgo.Record{all[:s.WarmUpRecords], all[s.WarmUpRecords:]} {
		if err := w.client.ProduceSync(w.t.Context(), batch...).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		if s.WarmUpRecords > 0 {
			time.Sleep(warmUp)
		}
	}
}
