package backtest

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/stream"
	"datasurge/functions/stream/kafkatest"
)

const ownTopic = "payments"

// writeOwn writes steps as a user might have them: half of the customers' transactions
// without CloudEvents, and some records that are none.
func writeOwn(t *testing.T, b kafkatest.Backend, steps []Step) {
	t.Helper()
	const partitions = 3
	b.CreateTopic(t, ownTopic, partitions, nil)
	b.CreateTopic(t, events.TopicLabels, partitions, nil)
	var records []*kgo.Record
	place := func(rec *kgo.Record, topic, user string) {
		rec.Topic, rec.Partition = topic, int32(stream.PartitionOf([]byte(user), partitions))
		records = append(records, rec)
	}
	place(&kgo.Record{Value: []byte("{}")}, ownTopic, "1")
	place(&kgo.Record{Value: []byte("no label")}, events.TopicLabels, "1")
	for _, s := range steps {
		for i := range s.Transactions {
			tx := &s.Transactions[i]
			rec := copyOf(tx.Record)
			if rec.Key[len(rec.Key)-1]%2 == 0 {
				rec.Headers = nil // as the original system writes it
			}
			place(rec, ownTopic, tx.UserID)
			if len(records)%1000 == 0 {
				place(copyOf(rec), ownTopic, tx.UserID) // written twice
			}
		}
		for i := range s.Labels {
			place(copyOf(s.Labels[i].Record), events.TopicLabels, s.Labels[i].UserID)
		}
		mark := watermark(0, s.End) // as generate writes them
		mark.Headers = slices.Clone(mark.Headers)
		mark.Topic = ownTopic
		records = append(records, mark)
	}
	future := events.Transaction{
		TransactionID: "future", UserID: "1", Amount: 100, Currency: "USD", Time: time.Now().Add(time.Hour).UnixMilli(),
		MerchantID: "1", Type: "purchase", Location: "US", PaymentMethod: "paypal",
	}
	e := events.NewTransaction(&future)
	place(recordOf(&e), ownTopic, "1")
	client := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// Transactions and labels that are read from topics have the scores that they have
// when they come from the simulator.
func TestFromTopic(t *testing.T) {
	t.Setenv(kafkatest.EnvBrokers, "") // a Kafka of its own: the topics have the pipeline's names
	b := kafkatest.Brokers(t)
	steps := someDays()[:30]
	writeOwn(t, b, steps)
	source, err := OpenTopic(t.Context(), b.Opts(), ownTopic)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	result := measured(t, Config{Source: source})
	n := 0
	for _, s := range steps {
		n += len(s.Transactions)
	}
	if len(result.Rows) != n || result.Refused != 2+n/1000 || result.Book {
		t.Errorf("%d of %d transactions, %d refused, the book's: %v", len(result.Rows), n, result.Refused, result.Book)
	}
	type row struct {
		Time               int64
		Customer, Merchant string
		Score, RuleScore   float64
	}
	rows := func(r *Result) []row {
		var list []row
		for _, x := range r.Rows[:n] {
			list = append(list, row{x.Time, r.Customers[x.Customer], r.Merchants[x.Merchant], x.Score, x.RuleScore})
		}
		slices.SortFunc(list, func(a, b row) int { // those of one second have no order
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.Score, b.Score))
		})
		return list
	}
	if diff := gocmp.Diff(rows(whole(t)), rows(result)); diff != "" {
		t.Error(diff)
	}
	labels, labelled := 0, 0
	for _, s := range steps {
		labels += len(s.Labels)
	}
	for _, x := range result.Rows {
		if x.Labelled {
			labelled++
		}
	}
	if labelled != labels {
		t.Errorf("%d transactions are labelled, want %d", labelled, labels)
	}
}
