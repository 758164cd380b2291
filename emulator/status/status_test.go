package status

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/offsets"
	"datasurge/events"
)

func snapshot() *Snapshot {
	return &Snapshot{
		Elapsed: 65*time.Second + 400*time.Millisecond, HTTP: "http://127.0.0.1:8080", Kafka: "127.0.0.1:9092",
		Functions: []Function{
			{Name: "generate", Ready: 1, Instances: 1, Out: 1000.4},
			{Name: "enrich", Ready: 2, Instances: 3, Restarts: 2, Source: true, In: 998.6, Out: 998.6, Lag: 12345, Failed: 3, DeadLetters: 1, Lost: 4, P99: 8300 * time.Microsecond},
		},
		Topics: []Topic{{Name: "financial_transactions", Records: 65000, Rate: 1000}, {Name: "merchant_risk", Records: 7, Rate: 0.25}},
		Anomalies: []Anomaly{{
			Seen: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Anomaly: events.Anomaly{
				Scored:  events.Scored{Enriched: events.Enriched{Transaction: events.Transaction{UserID: "user-7", Amount: 12345678, Currency: "USD"}}, Severity: "high"},
				Reasons: []events.Reason{{Rule: "large-transaction", Text: "more than 100,000"}, {Rule: "velocity", Text: "9 in a minute"}},
			},
		}},
	}
}

func TestRender(t *testing.T) {
	want := `
DataSurge  1m5s  functions and sinks http://127.0.0.1:8080  Kafka 127.0.0.1:9092  Ctrl-C stops

  function                    ready      in/s     out/s   waiting   errors    dead       p99
  generate                      1/1         -     1,000         -        0       0         -
  enrich                        2/3       999       999    12,345        3       1     8.3ms  restarted 2 times  4 LOST

  topic                                events  events/s
  financial_transactions               65,000     1,000
  merchant_risk                             7       0.2

  latest anomalies
  03:04:05  high      user-7  USD 123456.78  large-transaction: more than 100,000; velocity: 9 in a minute`
	if diff := cmp.Diff(strings.Split(want, "\n"), Render(snapshot())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Render(new(Snapshot)); got[len(got)-1] != "  none yet" {
		t.Errorf("without anomalies: %q", got)
	}
}

func TestLine(t *testing.T) {
	want := "status after 1m5s | generate 1/1 out 1,000/s | enrich 2/3 in 999/s out 999/s waiting 12345 errors 3 p99 8.3ms"
	if diff := cmp.Diff(want, Line(snapshot())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAccount(t *testing.T) {
	want := []string{
		"In 1m5s went through:", "  65,000  financial_transactions", "       7  merchant_risk",
		"Not delivered, in the dead letter sink: 1", "LOST, as they would be on a cluster: 4",
	}
	if diff := cmp.Diff(want, Account(snapshot())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -1000: "-1,000", -123: "-123"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}

// TestScreen: lines go above the block, which is drawn again below them and cut
// at the terminal's edge.
func TestScreen(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, func() int { return 10 })
	s.Line("one")
	s.Draw([]string{"block", "is longer than that"})
	fmt.Fprint(s, "two ha")
	fmt.Fprint(s, "lves\nthree\nfo")
	s.Draw(nil)
	fmt.Fprint(s, "ur\n")
	want := "one\n" +
		"block\nis longer…\n" +
		"\x1b[2A\r\x1b[Jtwo halves\nthree\nblock\nis longer…\n" +
		"\x1b[2A\r\x1b[J" +
		"four\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	out.Reset()
	s = NewScreen(&out, nil)
	s.Draw([]string{"block"})
	s.Line("one")
	if got := out.String(); got != "one\n" || s.Terminal() {
		t.Errorf("without a terminal: %q", got)
	}
}

// TestFollower: it counts what is committed from its start on, by topic and by
// function, and knows how much waits for a reader.
func TestFollower(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t", events.TopicAnomalies))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	kafka := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	client, err := kgo.NewClient(append(kafka, kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	write := func(end kgo.TransactionEndTry, records ...*kgo.Record) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	of := func(function string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: "ce_source", Value: []byte("/datasurge/" + function)}}
	}
	a := snapshot().Anomalies[0].Anomaly
	a.TransactionID, a.MerchantID, a.Time, a.Type, a.PaymentMethod, a.BaseCurrency = "1", "m", 1767323045678, "purchase", "paypal", "USD"
	a.Location, a.BaseAmount, a.Category, a.Score = "Berlin, DE", a.Amount, "unknown", 0.5
	anomaly := events.AppendAnomaly(nil, &a)

	write(kgo.TryCommit, &kgo.Record{Topic: "t"}, &kgo.Record{Topic: "t"})
	f, err := Follow(t.Context(), kafka, []string{"t", events.TopicAnomalies}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(kgo.TryCommit, &kgo.Record{Topic: "t", Headers: of("enrich")}, &kgo.Record{Topic: "t", Partition: 1, Headers: of("detect")})
	watermark := append(of("enrich"), kgo.RecordHeader{Key: "ce_type", Value: []byte(events.TypeWatermark)})
	write(kgo.TryAbort, &kgo.Record{Topic: "t", Headers: of("enrich")})
	write(kgo.TryCommit, &kgo.Record{Topic: events.TopicAnomalies, Value: anomaly, Headers: of("detect")},
		&kgo.Record{Topic: events.TopicAnomalies, Value: []byte("no anomaly")},
		&kgo.Record{Topic: events.TopicAnomalies, Headers: watermark})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := f.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"t": 2, events.TopicAnomalies: 2}, f.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"enrich": 1, "detect": 2}, f.Outputs()); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if got := f.Anomalies(5); len(got) != 1 || got[0].UserID != "user-7" || len(got[0].Reasons) != 2 {
		t.Errorf("anomalies %+v", got)
	}
	// Partition 0: two records, marker, one record, marker, aborted, marker.
	for next, want := range map[int64]int64{0: 4, 2: 2, 3: 1, 4: 0, 7: 0} {
		if got := f.Lag("t", map[int32]int64{0: next, 1: 1}); got != want {
			t.Errorf("lag of a reader at %d is %d, want %d", next, got, want)
		}
	}
	if got := f.Lag("t", map[int32]int64{0: 0}); got != 4 {
		t.Errorf("lag with a partition of which nothing is known is %d, want 4", got)
	}
	ends, err := offsets.Ends(t.Context(), kadm.NewClient(client), "t")
	if err != nil || ends["t"][0] != 7 {
		t.Errorf("ends %v, %v", ends, err)
	}
	cancelled, cancel2 := context.WithCancel(t.Context())
	cancel2()
	if err := f.CatchUp(cancelled); err == nil {
		t.Error("CatchUp with a context that is done")
	}
}
