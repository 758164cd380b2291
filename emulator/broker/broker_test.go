package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// open opens a broker on dir and closes it with the test.
func open(t *testing.T, dir string) *Broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Config{Dir: dir, Listener: l, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t *testing.T, b *Broker, topic string, config map[string]string) {
	t.Helper()
	configs := make(map[string]*string)
	for k, v := range TopicConfig(config) {
		configs[k] = &v
	}
	if _, err := kadm.NewClient(client(t, b)).CreateTopic(t.Context(), 1, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
}

// kill returns the directory as a broker that is killed now would leave it. The
// broker's writes go to the files at once, so a copy is the same.
func kill(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "data"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "data")
}

// produce writes one record within the transaction that is open.
func produce(t *testing.T, c *kgo.Client, topic, key, value string) {
	t.Helper()
	r := kgo.KeySliceRecord([]byte(key), []byte(value))
	r.Topic = topic
	if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, c *kgo.Client) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func end(t *testing.T, c *kgo.Client, commit kgo.TransactionEndTry) {
	t.Helper()
	if err := c.EndTransaction(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
}

// committed reads what a read_committed reader of topic sees from the start, up
// to a record that it writes itself, as key=value.
func committed(t *testing.T, b *Broker, topic string) []string {
	t.Helper()
	produce(t, client(t, b), topic, "sentinel", "")
	c := client(t, b, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		for r := range fetches.RecordsAll() {
			if string(r.Key) == "sentinel" {
				return got
			}
			got = append(got, string(r.Key)+"="+string(r.Value))
		}
	}
}

var compacted = map[string]string{"cleanup.policy": "compact"}

// TestOpenTransaction: a transaction is open when the broker is closed or killed.
// What the same transactional id commits afterwards is seen, what was open is not.
func TestOpenTransaction(t *testing.T) {
	for _, stop := range []string{"close", "kill"} {
		t.Run(stop, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			createTopic(t, b, "t", nil)
			c := client(t, b, kgo.TransactionalID("x"))
			begin(t, c)
			produce(t, c, "t", "a", "committed")
			end(t, c, kgo.TryCommit)
			begin(t, c)
			produce(t, c, "t", "b", "open")
			if stop == "kill" {
				dir = kill(t, dir)
			} else {
				closeBroker(t, b)
			}

			b = open(t, dir)
			c = client(t, b, kgo.TransactionalID("x"))
			begin(t, c)
			produce(t, c, "t", "c", "committed later")
			end(t, c, kgo.TryCommit)
			want := []string{"a=committed", "c=committed later"}
			if diff := cmp.Diff(want, committed(t, b, "t")); diff != "" {
				t.Errorf("read_committed sees (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompactionSparesCommitted: a value is overwritten in a transaction that is
// open when the broker is closed or killed. Compaction at the next start keeps
// the committed value.
func TestCompactionSparesCommitted(t *testing.T) {
	for _, stop := range []string{"close", "kill"} {
		t.Run(stop, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir)
			createTopic(t, b, "t", compacted)
			c := client(t, b, kgo.TransactionalID("x"))
			for _, v := range []string{"old", "committed"} {
				begin(t, c)
				produce(t, c, "t", "k", v)
				end(t, c, kgo.TryCommit)
			}
			begin(t, c)
			produce(t, c, "t", "k", "open")
			// Compaction leaves the last batch alone: the open one is not it.
			produce(t, client(t, b), "t", "l", "last")

			if stop == "kill" {
				dir = kill(t, dir)
			} else {
				closeBroker(t, b)
			}
			b = open(t, dir)
			if diff := cmp.Diff([]string{"k=committed", "l=last"}, committed(t, b, "t")); diff != "" {
				t.Errorf("read_committed sees (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompactionDropsMarker: nothing but an aborted transaction is there of one
// producer, so compaction drops its marker too. What the producer commits
// afterwards is seen all the same.
func TestCompactionDropsMarker(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "t", compacted)
	y := client(t, b, kgo.TransactionalID("y"))
	begin(t, y)
	produce(t, y, "t", "k", "of y")
	end(t, y, kgo.TryCommit)
	x := client(t, b, kgo.TransactionalID("x"))
	begin(t, x)
	produce(t, x, "t", "k", "aborted")
	end(t, x, kgo.TryAbort)
	begin(t, y)
	produce(t, y, "t", "l", "of y")
	end(t, y, kgo.TryCommit)
	closeBroker(t, b)

	b = open(t, dir)
	x = client(t, b, kgo.TransactionalID("x"))
	begin(t, x)
	produce(t, x, "t", "m", "of x")
	end(t, x, kgo.TryCommit)
	if diff := cmp.Diff([]string{"k=of y", "l=of y", "m=of x"}, committed(t, b, "t")); diff != "" {
		t.Errorf("read_committed sees (-want +got):\n%s", diff)
	}
}

// TestReopen: topics, records and positions of groups are there again.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "t", nil)
	produce(t, client(t, b), "t", "a", "1")
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, 1, -1)
	if err := kadm.NewClient(client(t, b)).CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	closeBroker(t, b) // twice is allowed
	if _, err := os.Stat(filepath.Join(dir, uncleanFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close, %s is there: %v", uncleanFile, err)
	}

	b = open(t, dir)
	if diff := cmp.Diff([]string{"a=1"}, committed(t, b, "t")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	got, err := kadm.NewClient(client(t, b)).FetchOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := got.Lookup("t", 0); !ok || o.At != 1 {
		t.Errorf("position of the group is %v, want 1", o.At)
	}
}

// TestTopicConfig: nothing is deleted from a topic that is only compacted; any
// other has a bound on its size.
func TestTopicConfig(t *testing.T) {
	type config = map[string]string
	for _, c := range []struct{ in, want config }{
		{config{"cleanup.policy": "compact"}, config{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"}},
		{config{"cleanup.policy": "compact", "retention.ms": "5"}, config{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"}},
		{config{"cleanup.policy": "compact,delete", "retention.ms": "5"}, config{"cleanup.policy": "compact,delete", "retention.ms": "5", "retention.bytes": "536870912"}},
		{config{"retention.ms": "5", "retention.bytes": "7"}, config{"retention.ms": "5", "retention.bytes": "7"}},
		{config{"retention.bytes": "-1"}, config{"retention.bytes": "536870912"}},
		{config{"retention.bytes": "1099511627776"}, config{"retention.bytes": "536870912"}},
		{nil, config{"retention.bytes": "536870912"}},
	} {
		in := maps.Clone(c.in)
		if diff := cmp.Diff(c.want, TopicConfig(c.in)); diff != "" {
			t.Errorf("TopicConfig(%v) (-want +got):\n%s", c.in, diff)
		}
		if diff := cmp.Diff(in, c.in); diff != "" {
			t.Errorf("TopicConfig changed its argument:\n%s", diff)
		}
	}
}

// TestVersions: what Java's tools cannot read is not offered.
func TestVersions(t *testing.T) {
	b := open(t, t.TempDir())
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), client(t, b))
	if err != nil {
		t.Fatal(err)
	}
	offered := make(map[int16]bool)
	for _, k := range resp.ApiKeys {
		offered[k.ApiKey] = true
	}
	if offered[int16(kmsg.DescribeTopicPartitions)] {
		t.Error("DescribeTopicPartitions is offered")
	}
	for _, k := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.WriteTxnMarkers, kmsg.ListTransactions} {
		if !offered[int16(k)] {
			t.Errorf("%s is not offered", k.Name())
		}
	}
}

// TestScenario16DiskFull: the failure is reported by its name, and the producer is told.
func TestScenario16DiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full")
	}
	dir := t.TempDir()
	b := open(t, dir)
	createTopic(t, b, "t", nil)
	segments := filepath.Join(dir, "partitions", "t-0")
	if err := os.MkdirAll(segments, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(segments, "0.dat")); err != nil {
		t.Fatal(err)
	}
	c := client(t, b, kgo.RecordRetries(1), kgo.DisableIdempotentWrite())
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err == nil {
		t.Error("a record was accepted that could not be stored")
	}
	select {
	case err := <-b.Failed():
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Failed gives %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Failed gives nothing")
	}
}

// TestGate: a client that comes before open is served after it.
func TestGate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(l)
	defer g.Close()
	outside, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	go g.dial(t.Context(), "", "")
	inside, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if inside.LocalAddr().Network() != "pipe" {
		t.Fatal("the first connection came from outside")
	}
	g.open()
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := c.RemoteAddr().String(), outside.LocalAddr().String(); got != want {
		t.Errorf("accepted %s, want %s", got, want)
	}
	g.Close()
	if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := g.dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
}
