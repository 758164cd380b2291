package run

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/stream/kafkatest"
)

// startPart starts an instance of a function that owns only some partitions.
func (p *pipeline) startPart(name string, partitions ...int) {
	p.t.Helper()
	p.open(p.definition(name), nil, partitions...)
}

// produceTable writes one record of a table; nil deletes.
func (p *pipeline) produceTable(topic, key, value string) {
	p.t.Helper()
	rec := &kgo.Record{Key: []byte(key)}
	if value != "" {
		rec.Value = []byte(value)
	}
	p.Produce(p.t, topic, rec)
}

// Two instances of detect, of two partitions each, while transactions flow: a
// rule that is changed is in force in both within two seconds, without a restart;
// a broken one changes nothing and stops nothing; a value on a list counts as
// soon. Every decision was made by one set of rules: it names the set, and the
// rules of that set alone.
func TestRulesChangeWhileTransactionsFlow(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		p := newPipeline(t, b, nil)
		p.startPart("detect", 0, 1)
		p.startPart("detect", 2, 3)
		time.Sleep(10 * time.Second)
		rule := func(version int, when string) string {
			return fmt.Sprintf("id: hot\nversion: %d\ndescription: A rule.\nseverity: low\nweight: 0.1\nwhen: %s\n", version, when)
		}
		type change struct {
			at         time.Duration
			topic, key string
			value      string
			version    int // of the rule hot that fires from two seconds later on; 0: none
		}
		changes := []change{
			{2 * time.Second, events.TopicRules, "hot", rule(1, "amount > 0"), 1},
			{6 * time.Second, events.TopicRules, "hot", rule(2, "amount > 1"), 2},
			{10 * time.Second, events.TopicRules, "hot", rule(3, "amout > 1"), 2},
			{14 * time.Second, events.TopicRules, "hot", "\xff\x00 no rule at all", 2},
			{18 * time.Second, events.TopicRules, "hot", rule(4, "merchantId in lists.watch"), 0},
			{22 * time.Second, events.TopicLists, "watch/m1", `{"list":"watch","value":"m1"}`, 4},
			{26 * time.Second, events.TopicLists, "watch/m1", `{"list":`, 4},
			{30 * time.Second, events.TopicLists, "watch/m1", "", 0},
			{34 * time.Second, events.TopicRules, "hot", "", 0},
		}
		producer := p.Client(t)
		start := time.Now()
		const every, until = 100 * time.Millisecond, 38 * time.Second
		next := 0
		for since := time.Duration(0); since < until; since += every {
			if next < len(changes) && changes[next].at <= since {
				p.produceTable(changes[next].topic, changes[next].key, changes[next].value)
				next++
			}
			for user := range 8 {
				e := events.NewEnriched(&events.Enriched{
					Transaction: events.Transaction{
						TransactionID: fmt.Sprintf("%d-%d", since.Milliseconds(), user), UserID: fmt.Sprint("u", user), MerchantID: "m1",
						Amount: 1000, Currency: "USD", Time: time.Now().UnixMilli(), Type: "purchase", Location: "US", PaymentMethod: "paypal",
					},
					Category: "grocery", Country: "US", BaseAmount: 1000, BaseCurrency: "USD",
				})
				rec := &kgo.Record{Topic: events.TopicEnriched}
				kafkarecord.Write(&e, rec)
				producer.Produce(t.Context(), rec, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(every - time.Since(start.Add(since)))
		}
		time.Sleep(2 * time.Second)
		p.stop()

		partitions := map[int32]int{}
		sets := map[string]string{} // rule set and lists to what fires
		total := 0
		for _, rec := range p.ReadCommitted(t, events.TopicScored) {
			var e events.Event
			var s events.Scored
			if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
				t.Fatal(err)
			}
			if e.Type != events.TypeScored {
				continue
			}
			if err := events.ParseScored(e.Data, &s); err != nil {
				t.Fatal(err)
			}
			total++
			partitions[rec.Partition]++
			fired := 0
			for _, r := range s.Rules {
				if r.ID == "hot" {
					fired = r.Version
				}
			}
			made := s.RuleSet + "/" + s.ListSet
			if before, seen := sets[made]; seen && before != fmt.Sprint(fired) {
				t.Errorf("%s: the set %s fired version %s before and %d now", s.TransactionID, made, before, fired)
			}
			sets[made] = fmt.Sprint(fired)
			since := time.UnixMilli(s.Time).Sub(start)
			want, settled := 0, true
			for _, c := range changes {
				if since >= c.at {
					want, settled = c.version, since >= c.at+2*time.Second
				}
			}
			if settled && fired != want {
				t.Errorf("%s, %v after the start, partition %d: version %d of the rule fired, want %d", s.TransactionID, since, rec.Partition, fired, want)
			}
		}
		if want := int(until/every) * 8; total != want || len(partitions) < 3 {
			t.Errorf("%d of %d transactions were decided, by partition %v", total, want, partitions)
		}
		if len(sets) != 5 {
			t.Errorf("%d sets of rules and lists decided, want 5: %v", len(sets), sets)
		}
	})
}
