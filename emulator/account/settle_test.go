package account

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

// kafka is a broker with the topics.
func kafka(t *testing.T) ([]kgo.Opt, *kgo.Client) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, Topics()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	options := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return options, client
}

func produce(t *testing.T, client *kgo.Client, records []*kgo.Record) {
	t.Helper()
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestSettle waits for what is under way, and names what is wrong.
func TestSettle(t *testing.T) {
	options, client := kafka(t)
	begin, err := Mark(t.Context(), kadm.NewClient(client))
	if err != nil || !begin.Whole {
		t.Fatalf("begin %+v, %v", begin, err)
	}
	p := newPipeline(t)
	for n := range 20 {
		p.through(n)
	}
	p.enrich(7)
	p.detect(7, false)
	p.aggregate(0)
	half := len(p.records) / 2
	produce(t, client, p.records[:half])
	asked := 0
	a, err := Settle(t.Context(), Config{
		Kafka: options, Begin: begin, Options: Options{Windows: minutes, Horizon: time.Minute}, Patience: 30 * time.Second,
		Busy: func() string {
			if asked++; asked < 2 {
				return "something"
			}
			if asked == 2 {
				produce(t, client, p.records[half:])
			}
			return ""
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Transactions != 20 || a.Missing() != 0 || a.Doubled() != 1 {
		t.Errorf("the account:\n%s", strings.Join(a.Lines(), "\n"))
	}
	if tr := transaction(7); len(a.Named) != 1 || a.Named[0] != tr.TransactionID || !strings.Contains(a.Err().Error(), tr.TransactionID) {
		t.Errorf("named %q, %v", a.Named, a.Err())
	}
	if asked < 2 {
		t.Errorf("asked %d times whether something is under way", asked)
	}
}

// TestSettleGivesUp: what does not come is missing.
func TestSettleGivesUp(t *testing.T) {
	options, client := kafka(t)
	p := newPipeline(t)
	p.through(1)
	p.send(2)
	produce(t, client, p.records)
	begin, err := Mark(t.Context(), kadm.NewClient(client))
	if err != nil {
		t.Fatal(err)
	}
	a, err := Settle(t.Context(), Config{Kafka: options, Begin: begin, Busy: func() string { return "" }, Patience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if a.Missing() != 1 || a.Unfinished != "" {
		t.Errorf("the account:\n%s", strings.Join(a.Lines(), "\n"))
	}
	a, err = Settle(t.Context(), Config{Kafka: options, Begin: begin, Busy: func() string { return "a delivery" }, Stalled: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if a.Unfinished != "a delivery" || a.Err() == nil || !strings.Contains(a.Err().Error(), "could not be finished") || !strings.Contains(strings.Join(a.Lines(), "\n"), "NOT EVERYTHING WAS THROUGH: a delivery") {
		t.Errorf("the account:\n%s", strings.Join(a.Lines(), "\n"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Settle(ctx, Config{Kafka: options, Begin: begin, Busy: func() string { return "" }}); err == nil {
		t.Error("no error when it is cancelled")
	}
}

// TestMark: where retention has deleted something, the account is of what comes
// from now on, and results of what was sent before are neither lost nor doubled.
func TestMark(t *testing.T) {
	options, client := kafka(t)
	admin := kadm.NewClient(client)
	p := newPipeline(t)
	p.send(1)
	produce(t, client, p.records)
	deleted, err := admin.DeleteRecords(t.Context(), kadm.Offsets{events.TopicTransactions: {0: {Topic: events.TopicTransactions, At: 1}}})
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	begin, err := Mark(t.Context(), admin)
	if err != nil || begin.Whole || begin.Offsets[events.TopicTransactions][0] != 1 {
		t.Fatalf("begin %+v, %v", begin, err)
	}
	p.records = nil
	p.enrich(1)
	p.detect(1, true)
	p.through(2)
	produce(t, client, p.records)
	a, err := Settle(t.Context(), Config{Kafka: options, Begin: begin, Busy: func() string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	if a.Err() != nil || a.Transactions != 1 || hopNamed(t, &a, "enrich").Outside != 1 {
		t.Errorf("the account: %v\n%s", a.Err(), strings.Join(a.Lines(), "\n"))
	}
}
