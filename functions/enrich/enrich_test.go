package enrich

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
)

// saturday is 2026-06-06 15:30 UTC.
var saturday = time.Date(2026, 6, 6, 15, 30, 0, 0, time.UTC)

// counts is an Observer that counts.
type counts struct {
	duplicates int
	enriched   int
	bad        []string
}

func (c *counts) Task(int) TaskObserver                { return c }
func (c *counts) Enriched(*events.Enriched)            { c.enriched++ }
func (c *counts) Duplicate(*events.Transaction)        { c.duplicates++ }
func (c *counts) BadReference(topic string, err error) { c.bad = append(c.bad, topic+": "+err.Error()) }

// harness is enrich with a Tx and what it reports.
type harness struct {
	t   testing.TB
	def step.Definition
	tx  *steptest.Tx
	fn  step.Function
	counts
}

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t}
	cfg := DefaultConfig()
	cfg.Observer = &h.counts
	if change != nil {
		change(&cfg)
	}
	var err error
	if h.def, err = Definition(cfg); err != nil {
		t.Fatal(err)
	}
	h.tx = steptest.New(t, h.def)
	h.tx.Time, h.tx.Lag = saturday, 2*time.Second
	h.fn = h.def.New(h.tx.Task(0, 1))
	return h
}

// restart commits and goes on in a new process.
func (h *harness) restart() {
	h.t.Helper()
	h.tx.EndCommit()
	h.tx = h.tx.Restart()
	h.fn = h.def.New(h.tx.Task(0, 1))
}

// tick calls Tick and commits.
func (h *harness) tick() {
	h.t.Helper()
	if err := h.fn.Tick(h.tx, h.tx.Time); err != nil {
		h.t.Fatal(err)
	}
	h.tx.EndCommit()
}

// step steps t and returns what came out, nil when nothing did.
func (h *harness) step(t events.Transaction) *events.Enriched {
	h.t.Helper()
	e := events.NewTransaction(&t)
	if err := h.fn.Step(h.tx, &e); err != nil {
		h.t.Fatalf("step of %+v: %v", t, err)
	}
	return h.take()
}

// take returns the one event that was emitted, nil when none was.
func (h *harness) take() *events.Enriched {
	h.t.Helper()
	out := h.tx.Take(events.TopicEnriched)
	if len(out) == 0 {
		return nil
	}
	var enriched events.Enriched
	if err := events.ParseEnriched(out[0].Data, &enriched); err != nil || len(out) > 1 {
		h.t.Fatalf("%d events, the first is %s: %v", len(out), out[0].Data, err)
	}
	return &enriched
}

// apply gives records to a table.
func (h *harness) apply(topic string, changes ...step.Change) {
	h.t.Helper()
	for _, table := range h.def.Tables {
		if table.Topic != topic {
			continue
		}
		view, err := table.Apply(h.tx.Tables[topic], changes)
		if err != nil {
			h.t.Fatal(err)
		}
		h.tx.Tables[topic] = view
		return
	}
	h.t.Fatalf("no table %s", topic)
}

func transaction(id string, at time.Time) events.Transaction {
	return events.Transaction{
		TransactionID: id, UserID: "u1", Amount: 12_345, Currency: "USD", Time: at.UnixMilli(),
		MerchantID: "m1", Type: "purchase", Location: "Paris, FR", PaymentMethod: "credit_card",
	}
}

func TestStep(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Rates = map[string]string{"EUR": "0.8"} })
	h.apply(reference.TopicMerchants, step.Change{Key: "m1", Value: []byte(`{"category":"fuel","country":"DE"}`)})
	risk := events.MerchantRisk{MerchantID: "m1", AsOf: saturday.UnixMilli()}
	risk.Windows[events.RiskWeek] = events.RiskWindow{Count: 8, Frauds: 2, Risk: 0.25}
	h.apply(events.TopicRisk, step.Change{Key: "m1", Value: events.AppendMerchantRisk(nil, &risk)})

	if len(h.bad) > 0 {
		t.Fatalf("records that were skipped: %q", h.bad)
	}

	in := transaction("t1", saturday)
	in.Currency, in.International = "EUR", true
	e := events.NewTransaction(&in)
	if err := h.fn.Step(h.tx, &e); err != nil {
		t.Fatal(err)
	}
	out := h.tx.Take(events.TopicEnriched)
	if len(out) != 1 {
		t.Fatalf("%d events", len(out))
	}
	got := out[0]
	if got.ID != "t1" || got.Key != "u1" || got.Type != events.TypeEnriched || !got.Time.Equal(saturday) {
		t.Errorf("event %+v", got)
	}
	var enriched events.Enriched
	if err := events.ParseEnriched(got.Data, &enriched); err != nil {
		t.Fatal(err)
	}
	want := events.Enriched{
		Transaction: in, Category: "fuel", Country: "FR", BaseAmount: 15_431, BaseCurrency: "USD",
		LocalHour: 15, Weekend: true, MerchantRisk: 0.25,
	}
	if diff := cmp.Diff(want, enriched); diff != "" {
		t.Errorf("enriched (-want +got):\n%s", diff)
	}
}

// TestPlainRecord: what the original producer writes is valid input.
func TestPlainRecord(t *testing.T) {
	h := newHarness(t, nil)
	err := h.fn.Step(h.tx, &events.Event{
		ID: "partition:0/offset:7", Source: "/apis/v1/namespaces/default/kafkasources/x#financial_transactions",
		Type: events.TypePlain, Time: saturday, Key: "user42",
		Data: []byte(`{"transactionId":"7b0c1f5e-96c4-4c6c-a3a3-0d1c1bb1f9d3","userId":"user42","amount":120000.5,` +
			`"transactionTime":1780759800000,"merchantId":"merchant7","transactionType":"purchase","location":"GB",` +
			`"paymentMethod":"paypal","international":"True","currency":"GBP"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := h.take()
	if got == nil || got.UserID != "user42" || got.Amount != 12_000_050 || got.Country != "GB" ||
		got.Category != reference.UnknownCategory || got.BaseAmount != 16_438_425 || !got.International {
		t.Errorf("enriched: %+v", got)
	}
}

// TestInvalid: what is refused changes nothing.
func TestInvalid(t *testing.T) {
	good := transaction("t1", saturday)
	for _, test := range []struct {
		name, path string
		change     func(*events.Transaction)
		data       string
	}{
		{name: "not JSON", data: "hello"},
		{name: "empty", data: ""},
		{name: "no user", path: "$.userId", change: func(t *events.Transaction) { t.UserID = "" }},
		{name: "no rate", path: "$.currency", change: func(t *events.Transaction) { t.Currency = "VES" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHarness(t, nil)
			in := good
			e := events.Event{ID: "e", Type: events.TypeTransaction, Data: []byte(test.data)}
			if test.change != nil {
				test.change(&in)
				e = events.NewTransaction(&in)
			}
			err := h.fn.Step(h.tx, &e)
			invalid, ok := errors.AsType[*events.InvalidError](err)
			if !ok || !strings.Contains(invalid.Path, test.path) {
				t.Fatalf("error %v, want one about %q", err, test.path)
			}
			h.tx.EndCommit()
			if len(h.tx.Changelog)+len(h.tx.Emitted) != 0 || h.tx.Mark != step.MinWatermark {
				t.Errorf("%d records, %d events, watermark %d", len(h.tx.Changelog), len(h.tx.Emitted), h.tx.Mark)
			}
			if h.step(good) == nil {
				t.Error("the good transaction with the same id was dropped")
			}
		})
	}
}

func TestFuture(t *testing.T) {
	h := newHarness(t, nil)
	h.tx.MaxAhead = time.Minute
	in := transaction("t1", saturday.Add(time.Hour))
	e := events.NewTransaction(&in)
	if err := h.fn.Step(h.tx, &e); !errors.Is(err, step.ErrFuture) {
		t.Fatalf("error %v, want ErrFuture", err)
	}
	h.tx.EndCommit()
	if len(h.tx.Changelog)+len(h.tx.Emitted) != 0 {
		t.Error("it left something behind")
	}
	if h.step(transaction("t1", saturday)) == nil {
		t.Error("the transaction was dropped when it came at its time")
	}
}

func TestDuplicateTransactions(t *testing.T) {
	const uuid = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"
	for _, id := range []string{uuid, "tx-1"} {
		for _, test := range []struct {
			name  string
			again func(h *harness) *events.Enriched
			want  bool // passes
		}{
			{"same commit", func(h *harness) *events.Enriched { return h.step(transaction(id, saturday)) }, false},
			{"next commit", func(h *harness) *events.Enriched {
				h.tick()
				return h.step(transaction(id, saturday))
			}, false},
			{"another source", func(h *harness) *events.Enriched {
				in := transaction(id, saturday)
				e := events.NewTransaction(&in)
				e.ID, e.Source, e.Type = "partition:3/offset:99", "/elsewhere", events.TypePlain
				if err := h.fn.Step(h.tx, &e); err != nil {
					h.t.Fatal(err)
				}
				return h.take()
			}, false},
			{"another time and user", func(h *harness) *events.Enriched {
				in := transaction(id, saturday.Add(time.Minute))
				in.UserID = "u2"
				return h.step(in)
			}, false},
			{"older", func(h *harness) *events.Enriched { return h.step(transaction(id, saturday.Add(-time.Minute))) }, false},
			{"after a restart", func(h *harness) *events.Enriched {
				h.restart()
				return h.step(transaction(id, saturday))
			}, false},
			{"just within the horizon", func(h *harness) *events.Enriched {
				h.step(transaction("later", saturday.Add(11*time.Minute+2*time.Second-time.Millisecond)))
				h.tick()
				return h.step(transaction(id, saturday))
			}, false},
			{"after the horizon", func(h *harness) *events.Enriched {
				h.step(transaction("later", saturday.Add(11*time.Minute+2*time.Second)))
				return h.step(transaction(id, saturday))
			}, true},
			{"after the horizon and a restart", func(h *harness) *events.Enriched {
				h.step(transaction("later", saturday.Add(11*time.Minute+2*time.Second)))
				h.tick()
				h.restart()
				return h.step(transaction(id, saturday))
			}, true},
			{"another id", func(h *harness) *events.Enriched { return h.step(transaction(id+"x", saturday)) }, true},
		} {
			t.Run(fmt.Sprintf("%.4s %s", id, test.name), func(t *testing.T) {
				h := newHarness(t, nil)
				if h.step(transaction(id, saturday)) == nil {
					t.Fatal("the first was dropped")
				}
				if got := test.again(h) != nil; got != test.want {
					t.Errorf("the second passed: %v, want %v", got, test.want)
				}
				if want := map[bool]int{false: 1, true: 0}[test.want]; h.duplicates != want {
					t.Errorf("%d duplicates were counted, want %d", h.duplicates, want)
				}
			})
		}
	}
}

func TestHome(t *testing.T) {
	h := newHarness(t, nil)
	n := 0
	visit := func(user, location string) float64 {
		t.Helper()
		n++
		in := transaction(fmt.Sprint(n), saturday.Add(time.Duration(n)*time.Second))
		in.UserID, in.Location = user, location
		return h.step(in).DistanceKm
	}
	expect := func(user, location string, want float64) {
		t.Helper()
		if got := visit(user, location); got < want-3 || got > want+3 {
			t.Errorf("%s in %s is %.1f km from home, want %.1f", user, location, got, want)
		}
	}
	expect("u1", "Paris, FR", 0) // the first place is home
	expect("u1", "nowhere at all", 0)
	for range 10 {
		expect("u1", "Paris, FR", 0)
	}
	h.restart()
	expect("u1", "London, GB", 344)
	expect("u1", "Tokyo, JP", 9713)
	expect("u2", "Tokyo, JP", 0) // another customer
	expect("u1", "FR", 0)        // home country, no city: not known to be away
	expect("u1", "48.9,2.4", 6)
	// The customer moves.
	for range maxVotes {
		expect("u1", "London, GB", 344)
	}
	expect("u1", "London, GB", 0)
	h.restart()
	expect("u1", "Paris, FR", 344)

	// A city takes the place of the country that was all that was known.
	expect("u3", "FR", 0)
	expect("u3", "Paris, FR", 0)
	expect("u3", "Marseille, FR", 660)
}

// TestHomeChangelog: a customer who stays at home changes no state.
func TestHomeChangelog(t *testing.T) {
	h := newHarness(t, nil)
	written := func() (keys int) {
		for key := range h.tx.Changelog {
			if key[0] == kindHome {
				keys++
			}
		}
		clear(h.tx.Changelog)
		return keys
	}
	for n := range 20 {
		h.step(transaction(fmt.Sprint(n), saturday))
		h.tx.EndCommit()
		if got, want := written(), map[bool]int{true: 1, false: 0}[n < maxVotes]; got != want {
			t.Errorf("transaction %d wrote %d homes, want %d", n, got, want)
		}
	}
}

func TestHomeCodec(t *testing.T) {
	for _, want := range []home{
		{place: reference.Place{Country: "FR", Lat: 48.86, Lon: 2.35, Exact: true}, votes: 1},
		{place: reference.Place{Country: "NZ", Lat: -90, Lon: 180}, votes: maxVotes},
		{place: reference.Place{Lat: 90, Lon: -180, Exact: true}, votes: 3},
	} {
		data := appendHome(nil, &want)
		if len(data) >= 40 {
			t.Errorf("%d bytes", len(data))
		}
		got, err := parseHome(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got, cmp.AllowUnexported(home{})); diff != "" {
			t.Errorf("home (-want +got):\n%s", diff)
		}
	}
	for _, data := range [][]byte{nil, {2}, {1}, {1, 0, 0, 'F', 'R', 0, 0, 0, 0}, {1, maxVotes + 1, 0, 'F', 'R', 0, 0, 0, 0}} {
		if _, err := parseHome(data); err == nil {
			t.Errorf("%x is accepted", data)
		}
	}
	if _, err := parseHome([]byte{2}); !errors.Is(err, step.ErrNewerVersion) {
		t.Errorf("a newer version: %v", err)
	}
}

func TestPlaceAndTime(t *testing.T) {
	for _, test := range []struct {
		location, merchant string
		at                 string
		country            string
		hour               int
		night, weekend     bool
	}{
		{"Paris, FR", "DE", "2026-06-05T23:59:59Z", "FR", 23, false, false},    // Friday
		{"Tokyo, JP", "DE", "2026-06-05T15:00:00Z", "JP", 0, true, true},       // already Saturday
		{"Los Angeles, US", "", "2026-06-08T07:59:59Z", "US", 23, false, true}, // still Sunday
		{"Los Angeles, US", "", "2026-06-08T08:00:00Z", "US", 0, true, false},
		{"Paris, FR", "", "2026-06-08T06:59:59Z", "FR", 6, true, false},
		{"Paris, FR", "", "2026-06-08T07:00:00Z", "FR", 7, false, false},
		{"35.68,139.69", "JP", "2026-06-05T15:00:00Z", "JP", 0, true, true},
		{"35.68,139.69", "", "2026-06-05T15:00:00Z", "", 0, true, true},
		{"the moon", "JP", "2026-06-05T15:00:00Z", "JP", 0, true, true},
		{"the moon", "", "2026-06-05T15:00:00Z", "", 15, false, false},
	} {
		h := newHarness(t, nil)
		if test.merchant != "" {
			h.apply(reference.TopicMerchants, step.Change{
				Key: "m1", Value: fmt.Appendf(nil, `{"category":"fuel","country":%q}`, test.merchant),
			})
		}
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		in := transaction("t1", at)
		in.Location = test.location
		got := h.step(in)
		if got.Country != test.country || got.LocalHour != test.hour || got.Night != test.night || got.Weekend != test.weekend {
			t.Errorf("%s (merchant %q) at %s: %q, hour %d, night %v, weekend %v",
				test.location, test.merchant, test.at, got.Country, got.LocalHour, got.Night, got.Weekend)
		}
	}
}

func TestLocalTimeBefore1970(t *testing.T) {
	// 1969-12-28 was a Sunday.
	hour, night, weekend := localTime(time.Date(1969, 12, 28, 5, 59, 59, 0, time.UTC).UnixMilli(), reference.Place{})
	if hour != 5 || !night || !weekend {
		t.Errorf("hour %d, night %v, weekend %v", hour, night, weekend)
	}
}

// TestTables: a view never changes, and a bad record harms only itself.
func TestTables(t *testing.T) {
	h := newHarness(t, nil)
	h.apply(reference.TopicMerchants,
		step.Change{Key: "m1", Value: []byte(`{"category":"fuel"}`)},
		step.Change{Key: "m2", Value: []byte(`{"category":"travel"}`)},
	)
	before := h.tx.Tables[reference.TopicMerchants].(merchants)
	h.apply(reference.TopicMerchants,
		step.Change{Key: "m1", Value: []byte(`not JSON`)},
		step.Change{Key: "m2"},
		step.Change{Key: "m3", Value: []byte(`{"category":"home"}`)},
	)
	after := h.tx.Tables[reference.TopicMerchants].(merchants)
	m1, m2, m3 := reference.Merchant{ID: "m1", Category: "fuel"}, reference.Merchant{ID: "m2", Category: "travel"},
		reference.Merchant{ID: "m3", Category: "home"}
	if diff := cmp.Diff(merchants{"m1": m1, "m2": m2}, before); diff != "" {
		t.Errorf("the old view (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(merchants{"m1": m1, "m3": m3}, after); diff != "" {
		t.Errorf("the new view (-want +got):\n%s", diff)
	}
	h.apply(events.TopicRisk, step.Change{Key: "m1", Value: []byte(`{}`)})
	if len(h.bad) != 2 {
		t.Errorf("bad records: %q", h.bad)
	}
}

func TestDefinitionErrors(t *testing.T) {
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.BaseCurrency = "XAU" }, `base currency "XAU"`},
		{func(c *Config) { c.Horizon = time.Second }, "at least a minute"},
		{func(c *Config) { c.Rates = map[string]string{"EUR": "x"} }, "rate of EUR"},
	} {
		cfg := DefaultConfig()
		test.change(&cfg)
		if _, err := Definition(cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q in it", err, test.want)
		}
	}
}

// TestRestartsDoNotShow: the same transactions with and without restarts give the
// same events and the same state.
func TestRestartsDoNotShow(t *testing.T) {
	run := func(every int) ([]steptest.Emitted, map[string][]byte) {
		h := newHarness(t, nil)
		var out []steptest.Emitted
		for n := range 600 {
			in := transaction(fmt.Sprint(n*7%400), saturday.Add(time.Duration(n)*2*time.Second))
			in.UserID = fmt.Sprint("u", n%5)
			in.Location = []string{"Paris, FR", "48.8566,2.3522", "London, GB", "FR", "", "-33.8688,151.2093"}[n*n%6]
			e := events.NewTransaction(&in)
			if err := h.fn.Step(h.tx, &e); err != nil {
				t.Fatal(err)
			}
			if n%10 == 9 {
				h.tick()
			}
			out = append(out, h.tx.Emitted...)
			h.tx.Emitted = nil
			if every > 0 && n%every == every-1 {
				h.restart()
			}
		}
		h.tx.EndCommit()
		// A restart is a commit more, which shows in the keys of chunks: only
		// the ids of each minute are compared.
		state := map[string][]byte{}
		for _, key := range slices.Sorted(maps.Keys(h.tx.Changelog)) {
			name := key
			if key[0] == kindChunk {
				name = key[:9]
			}
			state[name] = append(state[name], h.tx.Changelog[key]...)
		}
		return out, state
	}
	events0, state0 := run(0)
	for _, every := range []int{10, 50, 130} {
		events1, state1 := run(every)
		// DeepEqual is much faster than Diff where there is no difference.
		if !reflect.DeepEqual(events0, events1) {
			t.Errorf("events with a restart every %d (-without +with):\n%s", every, cmp.Diff(events0, events1))
		}
		if !reflect.DeepEqual(state0, state1) {
			t.Errorf("state with a restart every %d (-without +with):\n%s", every, cmp.Diff(state0, state1))
		}
	}
}

// BenchmarkStep is the cost of a transaction with everything in it, and a commit
// for every 1,000.
func BenchmarkStep(b *testing.B) {
	h := newHarness(b, nil)
	const users = 5000
	locations := []string{"Paris, FR", "US", "48.86,2.35", "London, GB"}
	inputs := make([]events.Event, 100_000)
	for n := range inputs {
		in := transaction(fmt.Sprintf("0189f7ea-ae2c-7809-8aeb-%012x", n), saturday.Add(time.Duration(n)*time.Millisecond))
		in.UserID = fmt.Sprint("user-", n%users)
		in.Location = locations[n%users%len(locations)]
		in.Currency = []string{"USD", "EUR"}[n%2]
		inputs[n] = events.NewTransaction(&in)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%len(inputs) == 0 {
			b.StopTimer()
			h = newHarness(b, nil)
			b.StartTimer()
		}
		if err := h.fn.Step(h.tx, &inputs[n%len(inputs)]); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			h.tx.Emitted = h.tx.Emitted[:0]
			b.StopTimer()
			h.tx.EndCommit() // encodes and parses again, which the engine does not
			b.StartTimer()
		}
	}
}
