package rulebook

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// Labelled is what Label did.
type Labelled struct {
	Label       events.Label
	Transaction events.Scored // without its features
}

// Print writes what was done.
func (l *Labelled) Print(w io.Writer) {
	fmt.Fprintf(w, "%s is labelled %s: customer %s, merchant %s, %s %s at %s\n", l.Label.TransactionID, truth(l.Label.Fraud),
		l.Label.UserID, l.Label.MerchantID, events.FormatAmount(nil, l.Transaction.Amount, digits(l.Transaction.Currency)), l.Transaction.Currency,
		time.UnixMilli(l.Label.TransactionTime).UTC().Format(time.RFC3339))
	var fired []string
	for _, r := range l.Transaction.Rules {
		fired = append(fired, fmt.Sprintf("%s version %d", r.ID, r.Version))
	}
	if len(fired) == 0 {
		fired = []string{"none"}
	}
	fmt.Fprintf(w, "rules that had fired: %s\n", strings.Join(fired, ", "))
}

func digits(currency string) int {
	n, _ := events.CurrencyDigits(currency)
	return n
}

func truth(fraud bool) string {
	if fraud {
		return "fraud"
	}
	return "legitimate"
}

// progressEvery is after how many records Label says how far it is.
const progressEvery = 100_000

// Label says what a transaction was: it finds it among the scored ones and
// writes the same event that comes when a chargeback does, or none.
//
// The label's time is the clock's, or that of the latest transaction when that is
// earlier, as when the past is replayed: a label of the future would be refused.
func (b *Book) Label(ctx context.Context, id string, fraud bool, progress func(read int)) (*Labelled, error) {
	l := &Labelled{}
	found, read, latest := false, 0, int64(0)
	err := b.scan(ctx, events.TopicScored, func(rec *kgo.Record) error {
		if read++; read%progressEvery == 0 && progress != nil {
			progress(read)
		}
		var e events.Event
		if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{CloudEventsOnly: true}); err != nil || e.Type != events.TypeScored {
			return nil // a watermark
		}
		latest = max(latest, e.Time.UnixMilli())
		if e.ID != id || found {
			return nil
		}
		found = true
		return events.ParseVerdict(e.Data, &l.Transaction)
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("there is no transaction %q among the %d records of %s: it was never scored, or so long ago that it was deleted",
			id, read, events.TopicScored)
	}
	if err := b.checkUnlabelled(ctx, id, fraud); err != nil {
		return nil, err
	}
	t := &l.Transaction
	l.Label = events.Label{
		TransactionID: t.TransactionID, UserID: t.UserID, MerchantID: t.MerchantID, TransactionTime: t.Time,
		LabelTime: max(t.Time, min(b.now().UnixMilli(), latest)), Fraud: fraud,
	}
	return l, b.writeLabel(ctx, &l.Label)
}

// checkUnlabelled refuses a second label: the first one has been counted.
func (b *Book) checkUnlabelled(ctx context.Context, id string, fraud bool) error {
	return b.scan(ctx, events.TopicLabels, func(rec *kgo.Record) error {
		var e events.Event
		if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{CloudEventsOnly: true}); err != nil || e.Type != events.TypeLabel {
			return nil
		}
		var have events.Label
		if err := events.ParseLabel(e.Data, &have); err != nil || have.TransactionID != id {
			return nil // dead_letters has it
		}
		at := time.UnixMilli(have.LabelTime).UTC().Format(time.RFC3339)
		if have.Fraud == fraud {
			return fmt.Errorf("the transaction %q was labelled %s already, at %s", id, truth(have.Fraud), at)
		}
		return fmt.Errorf("the transaction %q was labelled %s at %s, and a label is not taken back: nothing was written", id, truth(have.Fraud), at)
	})
}

func (b *Book) writeLabel(ctx context.Context, l *events.Label) error {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.DisableClientMetrics()}, b.kafka...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	e := events.NewLabel(l)
	e.Source = Source
	rec := &kgo.Record{}
	kafkarecord.Write(&e, rec)
	rec.Topic = events.TopicLabels // partitioned by key, as Java does
	if err := client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return fmt.Errorf("write the label: %w", err)
	}
	return nil
}
