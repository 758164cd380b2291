package learn

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/model"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
)

const day0 = int64(1_525_132_800_000) // 2018-05-01T00:00:00Z

// smallConfig trains quickly.
func smallConfig() Config {
	c := DefaultConfig()
	c.Params = model.Params{Trees: 5, Depth: 2, Bins: 8, Rate: 0.3, Rows: 0.7, Columns: 0.7, Ridge: 1}
	c.GenuineShare = 3
	return c
}

// harness is tasks of learn with the topic between them.
type harness struct {
	t         testing.TB
	def       step.Definition
	tasks     []*steptest.Tx
	functions []step.Function
	published map[string][][]byte // data by topic, in order
}

func newHarness(t testing.TB, config Config, tasks int) *harness {
	t.Helper()
	def, err := Definition(config)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, def: def, published: map[string][][]byte{}}
	for n := range tasks {
		tx := steptest.New(t, def)
		h.tasks = append(h.tasks, tx)
		h.functions = append(h.functions, def.New(tx.Task(n, tasks)))
	}
	return h
}

func (h *harness) restart() {
	for n := range h.tasks {
		h.tasks[n].EndCommit()
		h.tasks[n] = h.tasks[n].Restart()
		h.functions[n] = h.def.New(h.tasks[n].Task(n, len(h.tasks)))
	}
}

func (h *harness) taskOf(key string) int {
	hash := fnv.New32a()
	hash.Write([]byte(key))
	return int(hash.Sum32()) % len(h.tasks)
}

// step hands an event to the task of its key, and what is emitted on.
func (h *harness) step(e *events.Event) error {
	n := h.taskOf(e.Key)
	if err := h.functions[n].Step(h.tasks[n], e); err != nil {
		return err
	}
	h.route(n)
	return nil
}

func (h *harness) route(n int) {
	h.t.Helper()
	for _, e := range h.tasks[n].Take(events.TopicLearning) {
		to := h.taskOf(e.Key)
		if err := h.functions[to].Step(h.tasks[to], &e); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, topic := range []string{events.TopicOutcomes, events.TopicModels} {
		for _, e := range h.tasks[n].Take(topic) {
			h.published[topic] = append(h.published[topic], e.Data)
		}
	}
}

// tick sets the watermarks and ticks all tasks.
func (h *harness) tick(mark int64) {
	h.t.Helper()
	for n, tx := range h.tasks {
		tx.Mark = mark
		if err := h.functions[n].Tick(tx, time.UnixMilli(mark)); err != nil {
			h.t.Fatal(err)
		}
		h.route(n)
		tx.EndCommit()
	}
}

// happening is a transaction or a label, at the time at which it is seen.
type happening struct {
	at    int64
	event events.Event
}

// history makes days of transactions, about one in eight of them frauds, which have
// large amounts or a merchant with frauds, and their labels a week later.
func history(days, perDay int) []happening {
	r := rand.New(rand.NewPCG(5, 6))
	var all []happening
	for n := range days * perDay {
		at := day0 + int64(n)*day/int64(perDay)
		s := events.Scored{Severity: "", ModelVersion: "m", RuleSet: "r", Decision: events.Approve}
		s.Transaction = events.Transaction{
			TransactionID: fmt.Sprintf("t-%05d", n), UserID: fmt.Sprint("u-", r.IntN(40)), MerchantID: fmt.Sprint("m-", r.IntN(30)),
			Amount: 1000, Currency: "USD", Time: at, Type: "purchase", Location: "US", PaymentMethod: "paypal",
		}
		s.BaseAmount, s.BaseCurrency, s.Category, s.Country = 1000, "USD", "unknown", "US"
		ratio, share := 3*r.Float64(), r.Float64()
		for name, value := range map[string]float64{"usualRatio": ratio, "merchantFraudShare": share, "baseAmount": 10} {
			s.Features = append(s.Features, events.Feature{Name: name, Value: value})
		}
		slices.SortFunc(s.Features, func(a, b events.Feature) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, happening{at, events.NewScored(&s)})
		l := events.Label{
			TransactionID: s.TransactionID, UserID: s.UserID, MerchantID: s.MerchantID,
			TransactionTime: at, LabelTime: at + 7*day, Fraud: ratio > 2.8 || share > 0.95,
		}
		all = append(all, happening{l.LabelTime, events.NewLabel(&l)})
	}
	slices.SortStableFunc(all, func(a, b happening) int { return int(a.at - b.at) })
	return all
}

// run feeds all, with a Tick every so many events and a restart now and then.
func (h *harness) run(all []happening, tickEvery int, restarts func() bool) {
	h.t.Helper()
	for i := range all {
		if i%tickEvery == 0 {
			h.tick(all[i].at)
		}
		if err := h.step(&all[i].event); err != nil {
			h.t.Fatal(err)
		}
		if restarts != nil && restarts() {
			h.restart()
		}
	}
	h.tick(all[len(all)-1].at + 2*day)
}

func never() bool { return false }

// The model and the merchants' outcomes are the same byte for byte whatever is
// restarted, however many tasks share the work, and whenever Tick is called.
func TestResultDoesNotDependOnHowItRuns(t *testing.T) {
	all := history(16, 60)
	want := newHarness(t, smallConfig(), 1)
	want.run(all, 40, never)
	if len(want.published[events.TopicModels]) < 3 {
		t.Fatalf("%d models were learnt", len(want.published[events.TopicModels]))
	}
	last := func(h *harness) []byte {
		models := h.published[events.TopicModels]
		return models[len(models)-1]
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, test := range []struct {
		name        string
		tasks, tick int
		restarts    func() bool
	}{
		{"again", 1, 40, never},
		{"restarts", 1, 40, func() bool { return r.IntN(150) == 0 }},
		{"four tasks", 4, 40, never},
		{"four tasks with restarts", 4, 40, func() bool { return r.IntN(300) == 0 }},
		{"Tick seldom", 1, 1500, never},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHarness(t, smallConfig(), test.tasks)
			h.run(all, test.tick, test.restarts)
			if !bytes.Equal(last(want), last(h)) {
				t.Errorf("the last model is another:\n%.300s\n%.300s", last(want), last(h))
			}
			if diff := cmp.Diff(want.outcomes(), h.outcomes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// outcomes is what a follower of the table merchant_outcomes has.
func (h *harness) outcomes() map[string]string {
	view := map[string]string{}
	for _, data := range h.published[events.TopicOutcomes] {
		history, err := outcome.Parse(data)
		if err != nil {
			h.t.Fatal(err)
		}
		view[history.MerchantID] = string(data)
	}
	return view
}

// No model has learnt from a label that was known at the time from which it may be
// used, or in the hour before: with all those labels turned round it is the same.
func TestModelsDoNotLookAhead(t *testing.T) {
	all := history(16, 60)
	want := newHarness(t, smallConfig(), 1)
	want.run(all, 25, never)
	for i, data := range want.published[events.TopicModels] {
		if i%3 != 0 {
			continue
		}
		m, err := model.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		turned := slices.Clone(all)
		marked := 0
		for k := range turned {
			if e := &turned[k].event; e.Type == events.TypeLabel && turned[k].at >= m.Since-grace {
				text := strings.NewReplacer(`"fraud":true`, `"fraud":false`, `"fraud":false`, `"fraud":true`).Replace(string(e.Data))
				e.Data = []byte(text)
				marked++
			}
		}
		t.Logf("a model of %d labels; %d that were known later turned round", m.Examples, marked)
		if i == 0 && marked == 0 {
			t.Fatal("no label was turned round")
		}
		h := newHarness(t, smallConfig(), 1)
		h.run(turned, 25, never)
		if !slices.ContainsFunc(h.published[events.TopicModels], func(other []byte) bool { return bytes.Equal(other, data) }) {
			t.Errorf("the model of %d depends on labels that were known later", m.Since)
		}
	}
}

func TestLabels(t *testing.T) {
	all := history(1, 10)
	transaction, label := all[0].event, events.Event{}
	for i := range all {
		if all[i].event.Type == events.TypeLabel {
			label = all[i].event
			break
		}
	}
	count := func(h *harness) int {
		n := 0
		for range h.tasks[0].All() {
			n++
		}
		return n
	}
	t.Run("before its transaction", func(t *testing.T) {
		h := newHarness(t, smallConfig(), 1)
		for _, e := range []events.Event{label, label, transaction} {
			if err := h.step(&e); err != nil {
				t.Fatal(err)
			}
			h.restart()
		}
		h.tick(label.Time.UnixMilli())
		if len(h.outcomes()) != 1 {
			t.Errorf("outcomes %v", h.outcomes())
		}
	})
	t.Run("the first one counts", func(t *testing.T) {
		h := newHarness(t, smallConfig(), 1)
		other := label
		other.Data = []byte(strings.Replace(string(label.Data), `"fraud":false`, `"fraud":true`, 1))
		for _, e := range []events.Event{transaction, label, other, other} {
			if err := h.step(&e); err != nil {
				t.Fatal(err)
			}
		}
		h.tick(label.Time.UnixMilli())
		for _, text := range h.outcomes() {
			if history, _ := outcome.Parse([]byte(text)); len(history.Outcomes) != 1 || history.Outcomes[0].Kind != outcome.Genuine {
				t.Errorf("outcomes %s", text)
			}
		}
	})
	t.Run("without a transaction", func(t *testing.T) {
		h := newHarness(t, smallConfig(), 1)
		if err := h.step(&label); err != nil {
			t.Fatal(err)
		}
		h.tick(day0 + 60*day)
		if n := count(h); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		err := h.step(&label)
		if _, wrong := errors.AsType[*events.InvalidError](err); !wrong {
			t.Errorf("a label of long ago: error %v", err)
		}
	})
	t.Run("never", func(t *testing.T) {
		h := newHarness(t, smallConfig(), 1)
		if err := h.step(&transaction); err != nil {
			t.Fatal(err)
		}
		h.restart()
		h.tick(day0 + 60*day)
		if n := count(h); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
}

// Merchants of whom nothing is heard are forgotten, here and in the table.
func TestMerchantsAreForgotten(t *testing.T) {
	h := newHarness(t, smallConfig(), 1)
	h.run(history(3, 20), 10, never)
	h.tick(day0 + 100*day)
	for id, text := range h.outcomes() {
		if !strings.Contains(text, `"outcomes":[]`) {
			t.Errorf("merchant %s still has %s", id, text)
		}
	}
	for key := range h.tasks[0].All() {
		if key[0] == kindMerchant {
			t.Errorf("key %q is left", key)
		}
	}
}

func TestExamplesAreBounded(t *testing.T) {
	config := smallConfig()
	config.MostExamples, config.GenuineShare = 1000, 1
	h := newHarness(t, config, 1)
	h.run(history(25, 100), 100, never)
	n := 0
	for key := range h.tasks[0].All() {
		if key[0] == kindExample {
			n++
		}
	}
	if n > 2*config.MostExamples {
		t.Errorf("%d examples, want about %d", n, config.MostExamples)
	}
}

// What waits for labels is bounded, over restarts too, and labels of transactions
// that are left out do not pile up instead.
func TestWhatWaitsIsBounded(t *testing.T) {
	config := smallConfig()
	config.MostWaiting, config.GenuineShare = 1000, 1
	h := newHarness(t, config, 1)
	count := func() map[byte]int {
		kinds := map[byte]int{}
		for key := range h.tasks[0].All() {
			kinds[key[0]]++
		}
		return kinds
	}
	all := history(4, 2000) // no label comes before all transactions
	for i := range all {
		if i%500 == 0 {
			h.tick(all[i].at)
			h.restart()
		}
		if err := h.step(&all[i].event); err != nil {
			t.Fatal(err)
		}
		if i%200 == 0 && count()[kindPending] > config.MostWaiting {
			t.Fatalf("%d wait, want %d at most", count()[kindPending], config.MostWaiting)
		}
	}
	kinds := count()
	if kinds[kindPending] != 0 || kinds[kindEarly] != 0 {
		t.Errorf("when all labels have come, %d transactions and %d labels wait", kinds[kindPending], kinds[kindEarly])
	}
	if n := kinds[kindExample]; n < config.MostWaiting/3 || n > config.MostWaiting {
		t.Errorf("%d examples of 8000 transactions, want about half to all of %d", n, config.MostWaiting)
	}
}

func TestEventsOfAnotherConfigurationAreRefused(t *testing.T) {
	h := newHarness(t, smallConfig(), 1)
	for _, e := range []events.Event{
		{ID: "1", Type: events.TypeExample, Key: trainerKey, Data: []byte(`{"transactionId":"t","weight":1,"values":[1,2]}`)},
		{ID: "2", Type: events.TypeExample, Key: trainerKey, Data: []byte(`{`)},
		{ID: "3", Type: events.TypeOutcome, Key: "m", Data: []byte(`{"merchantId":"m","time":5,"known":4,"kind":0}`)},
		{ID: "4", Type: events.TypeOutcome, Key: "m", Data: []byte(`{"merchantId":"m","time":5,"known":6,"kind":9}`)},
		{ID: "5", Type: events.TypeOutcome, Key: "m", Data: []byte(``)},
	} {
		err := h.step(&e)
		if _, wrong := errors.AsType[*events.InvalidError](err); !wrong {
			t.Errorf("event %s: error %v", e.ID, err)
		}
	}
}

func TestCodecsRefuse(t *testing.T) {
	for kind, v := range map[byte]any{
		kindPending:  &pending{"m", 1.5, []float32{1, 2}},
		kindEarly:    &early{day0, true},
		kindMerchant: &merchant{History: outcome.History{MerchantID: "m", Outcomes: []outcome.Outcome{{Time: 1, Known: 2}}}, unsent: true},
		kindExample:  &example{"t", day0, true, 20, []float32{1, 2}},
		kindTrained:  trained{day0, 17},
		kindThinning: thinning{3, day0},
	} {
		codec := codecs(2)[kind]
		data := codec.Append(nil, v)
		got, err := codec.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if again := codec.Append(nil, got); !bytes.Equal(again, data) {
			t.Errorf("kind %#x: %x was read and written as %x", kind, data, again)
		}
		for n := range data {
			if _, err := codec.Parse(data[:n]); err == nil {
				t.Errorf("kind %#x: the first %d of %d bytes were read", kind, n, len(data))
			}
		}
		newer := bytes.Clone(data)
		newer[0] = version + 1
		if _, err := codec.Parse(newer); !errors.Is(err, step.ErrNewerVersion) {
			t.Errorf("kind %#x: a newer version: %v", kind, err)
		}
	}
}

func TestDefinitionRefuses(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Features = nil },
		func(c *Config) { c.Growth = 1 },
		func(c *Config) { c.GenuineShare = 0 },
		func(c *Config) { c.LeastFrauds = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if _, err := Definition(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
