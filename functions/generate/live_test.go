package generate

import (
	"math"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
)

// stream is transactions of a segment with their labels, from a number on at which
// episodes of every age are under way.
type stream struct {
	*live
	from         uint64
	transactions []events.Transaction
	labels       []events.Label
	places       []reference.Place
}

func newStream(t testing.TB, cfg Config, count int) stream {
	t.Helper()
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(cfg.model())
	if err != nil {
		t.Fatal(err)
	}
	gazetteer, err := reference.LoadGazetteer()
	if err != nil {
		t.Fatal(err)
	}
	s := stream{from: 10_000_000, live: newLive(segment{origin: start.UnixNano(), rate: cfg.taskRate(0), model: cfg.model()}, 0, w)}
	for n := s.from; n < s.from+uint64(count); n++ {
		var made events.Transaction
		var label events.Label
		s.transaction(n, &made)
		s.label(n, &label)
		place, ok := gazetteer.Find(made.Location)
		if !ok {
			t.Fatalf("location %q is no place", made.Location)
		}
		if place.Country == "" {
			place.Country = w.cities[s.plan(n).city].Country
		}
		s.transactions = append(s.transactions, made)
		s.labels = append(s.labels, label)
		s.places = append(s.places, place)
	}
	return s
}

// TestShares checks the share of every scenario, at several intensities and rates.
func TestShares(t *testing.T) {
	for _, test := range []struct{ rate, intensity float64 }{{1000, 1}, {1000, 0}, {1000, 3}, {5, 1}, {50_000, 1}} {
		cfg := DefaultConfig()
		cfg.Rate, cfg.Intensity = test.rate, test.intensity
		const count = 50_000
		s := newStream(t, cfg, count)
		got, frauds := map[string]float64{}, 0
		for _, l := range s.labels {
			got[l.Scenario]++
			if l.Fraud {
				frauds++
			}
		}
		for name, share := range map[string]float64{
			"card": cardShare, "travel": travelShare * 2 / 3, "amount": amountShare, "merchant": breachShare, "large": largeShare,
		} {
			want := share * test.intensity * count / 1e6
			if math.Abs(got[name]-want) > 0.15*want+5*math.Sqrt(want) {
				t.Errorf("rate %v, intensity %v: %v of scenario %s, want about %.0f", test.rate, test.intensity, got[name], name, want)
			}
		}
		t.Logf("rate %v, intensity %v: %.2f percent frauds", test.rate, test.intensity, 100*float64(frauds)/count)
		if test.intensity == 1 && (frauds < count/100 || frauds > count/50) {
			t.Errorf("%d frauds of %d", frauds, count)
		}
	}
}

// TestMinute checks that a minute at 1,000 a second holds what each rule of a
// monitoring system looks for, and that it is mostly missing from genuine
// transactions.
func TestMinute(t *testing.T) {
	s := newStream(t, DefaultConfig(), 60_000)
	type visit struct {
		place reference.Place
		ms    int64
	}
	var (
		inMinute   = map[string]int{}
		cardBursts = map[string]int{}
		last       = map[string]visit{}
		found      = map[string]int{}
	)
	for i, made := range s.transactions {
		label := s.labels[i]
		inMinute[made.UserID]++
		if label.Scenario == "card" {
			cardBursts[made.UserID]++
			if made.Amount > 20*int64(s.world.cities[s.plan(s.from+uint64(i)).city].currency.dollar) {
				t.Errorf("a card is tried out with %d %s", made.Amount, made.Currency)
			}
		}
		digits, _ := events.CurrencyDigits(made.Currency)
		if isLarge := float64(made.Amount) > 100_000*math.Pow10(digits); isLarge != (label.Scenario == "large") {
			found["large by chance"]++
		} else if isLarge {
			found["large"]++
		}
		before, ok := last[made.UserID]
		if ok && before.place.Country != s.places[i].Country && made.Time-before.ms < time.Hour.Milliseconds() {
			if label.Scenario == "travel" {
				found["travel"]++
			} else {
				found["travel by chance"]++
			}
		}
		if label.Scenario == "genuine" {
			last[made.UserID] = visit{s.places[i], made.Time}
		}
	}
	for _, n := range cardBursts {
		if n >= 8 {
			found["bursts"]++
		}
	}
	for user, n := range inMinute {
		if n >= 8 && cardBursts[user] == 0 {
			found["bursts by chance"]++
		}
	}
	t.Log(found)
	for what, least := range map[string]int{"large": 40, "travel": 40, "bursts": 10} {
		if found[what] < least {
			t.Errorf("%d times %s, want at least %d", found[what], what, least)
		}
	}
	for _, what := range []string{"large by chance", "bursts by chance"} {
		if found[what] > 5 {
			t.Errorf("%d times %s", found[what], what)
		}
	}
}

// TestEpisodes checks the shape of each fraud of several transactions.
func TestEpisodes(t *testing.T) {
	for _, rate := range []float64{2, 100, 1000} {
		cfg := DefaultConfig()
		cfg.Rate = rate
		s := newStream(t, cfg, 100_000)
		episodes := map[uint64][]int{}
		for i := range s.transactions {
			if id, _, ok := s.card.at(s.from + uint64(i)); ok {
				episodes[id] = append(episodes[id], i)
			}
		}
		whole := 0
		for _, at := range episodes {
			if len(at) == 10 {
				whole++
			}
			first, end := s.transactions[at[0]], s.transactions[at[len(at)-1]]
			for _, i := range at {
				if s.transactions[i].UserID != first.UserID {
					t.Fatalf("rate %v: an episode has two customers", rate)
				}
			}
			if took := end.Time - first.Time; took > 30_000 {
				t.Errorf("rate %v: a card is tried out for %d ms", rate, took)
			}
		}
		// Those that are cut off by the ends of the stream are not whole.
		if cut := 2 * int(9*s.card.stride/s.card.block); len(episodes) < 40 || whole < (len(episodes)-cut)*8/10 {
			t.Errorf("rate %v: %d episodes, %d whole", rate, len(episodes), whole)
		}
	}
}

// TestBreach: for ten minutes a large part of the transactions at one merchant are
// frauds.
func TestBreach(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Rate = 100
	s := newStream(t, cfg, 20_000) // up to the end of a phase
	frauds, all := map[string]int{}, map[string]int{}
	for _, l := range s.labels {
		all[l.MerchantID]++
		if l.Scenario == "merchant" {
			frauds[l.MerchantID]++
		}
	}
	if len(frauds) != 1 {
		t.Fatalf("%d merchants are compromised at a time, want 1", len(frauds))
	}
	for id, n := range frauds {
		if n < 50 || n*4 < all[id] {
			t.Errorf("%d of %d transactions at %s are frauds", n, all[id], id)
		}
	}
}

// TestHabits checks what genuine transactions look like as a whole.
func TestHabits(t *testing.T) {
	s := newStream(t, DefaultConfig(), 50_000)
	share := map[string]float64{}
	var logs float64
	for i, made := range s.transactions {
		if s.labels[i].Scenario != "genuine" {
			continue
		}
		share["genuine"]++
		share[made.Currency]++
		share[made.Type]++
		share[made.PaymentMethod]++
		if made.International {
			share["international"]++
		}
		logs += math.Log(float64(made.Amount) / s.world.cities[s.plan(s.from+uint64(i)).city].currency.dollar)
	}
	for what, want := range map[string][2]float64{
		"USD": {0.35, 0.7}, "EUR": {0.15, 0.4}, "GBP": {0.08, 0.3}, "JPY": {0.001, 0.05},
		"refund": {0.02, 0.04}, "purchase": {0.95, 0.99}, "international": {0.005, 0.04},
		"credit_card": {0.5, 0.6}, "debit_card": {0.3, 0.4}, "paypal": {0.05, 0.15},
	} {
		if got := share[what] / share["genuine"]; got < want[0] || got > want[1] {
			t.Errorf("share of %s is %.3f, want %v", what, got, want)
		}
	}
	if median := math.Exp(logs / share["genuine"]); median < 20 || median > 60 {
		t.Errorf("the typical amount is %.2f dollars", median)
	}
}

// TestRound: the genuine transactions of a customer are spread over time.
func TestRound(t *testing.T) {
	for _, customers := range []int{1, 2, 97, 1000, 5000, 30_030} {
		cfg := smallConfig()
		cfg.Customers, cfg.Intensity = customers, 0
		s := newStream(t, cfg, 0)
		for number := range uint64(3) {
			seen := make([]bool, customers)
			for i := range uint64(customers) {
				who := s.whose(number*uint64(customers) + i)
				if seen[who] {
					t.Fatalf("%d customers: customer %d has two transactions in round %d", customers, who, number)
				}
				seen[who] = true
			}
		}
	}
}

// TestAnyOrder: a transaction does not depend on what was asked for before.
func TestAnyOrder(t *testing.T) {
	s := newStream(t, smallConfig(), 3000)
	for i := len(s.transactions) - 1; i >= 0; i -= 7 {
		var made events.Transaction
		var label events.Label
		s.label(s.from+uint64(i), &label)
		s.transaction(s.from+uint64(i), &made)
		if made != s.transactions[i] || label != s.labels[i] {
			t.Fatalf("transaction %d is another when it is asked for again", i)
		}
	}
}

// TestSeeds: another seed is another world.
func TestSeeds(t *testing.T) {
	cfg := smallConfig()
	a := newStream(t, cfg, 1000)
	cfg.Seed++
	b := newStream(t, cfg, 1000)
	ids := map[string]bool{}
	same := 0
	for i := range a.transactions {
		ids[a.transactions[i].TransactionID], ids[b.transactions[i].TransactionID] = true, true
		if a.transactions[i].UserID == b.transactions[i].UserID {
			same++
		}
	}
	if len(ids) != 2000 || same > 50 {
		t.Errorf("%d ids, %d times the same customer", len(ids), same)
	}
}

// TestID checks the form of ids, their uniqueness at the ends of the range, and
// that none is taken for a card number.
func TestID(t *testing.T) {
	s := newStream(t, smallConfig(), 0)
	seen := map[string]bool{}
	for _, from := range []uint64{0, 1 << 20, 1 << 40, 1<<62 - 100_000} {
		for n := from; n < from+50_000; n++ {
			id := s.id(n)
			if seen[id] {
				t.Fatalf("id %s of %d was there before", id, n)
			}
			seen[id] = true
			if len(id) != 36 || id[14] != '8' || id[19] < '8' || id[19] > 'b' {
				t.Fatalf("%s is not a UUID of version 8", id)
			}
			if events.HasCardNumber(id) {
				t.Fatalf("%s is taken for a card number", id)
			}
		}
	}
}

// TestDue: due and time say the same, without overflow in a hundred years.
func TestDue(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	for _, rate := range []uint64{1, 333, 1000, 999_983, 50_000_000, 1_000_000_000} {
		for _, first := range []uint64{0, 12_345} {
			s := segment{first: first, origin: start.UnixNano(), rate: rate}
			for _, elapsed := range []time.Duration{0, 1, time.Millisecond, time.Second, time.Hour, century} {
				now := s.origin + int64(elapsed)
				n := s.due(now)
				if s.time(n) <= now {
					t.Fatalf("rate %d: %d is due at %d, but not at %d", rate, n, s.time(n), now)
				}
				if n > first && s.time(n-1) > now {
					t.Fatalf("rate %d: %d is due at %d, but counted at %d", rate, n-1, s.time(n-1), now)
				}
				if got := s.due(s.time(n)); got != n+1 && rate <= 1e9 {
					t.Fatalf("rate %d: %d are due when %d is", rate, got, n)
				}
			}
			if got := s.due(s.origin - 1e9); got != first {
				t.Errorf("%d is due before the origin", got)
			}
		}
	}
}

func TestStateCodecs(t *testing.T) {
	for _, want := range []position{{}, {next: 5}, {next: 1 << 62, label: 1<<62 - 9}} {
		got, err := parsePosition(appendPosition(nil, want))
		if err != nil || got != want {
			t.Errorf("%+v is read as %+v, %v", want, got, err)
		}
	}
	want := segment{
		first: 1 << 60, origin: -5, rate: 7,
		model: model{seed: math.MaxUint64, customers: 1, merchants: 2, intensity: 3},
	}
	data := appendSegment(nil, want)
	if got, err := parseSegment(data); err != nil || got != want {
		t.Errorf("%+v is read as %+v, %v", want, got, err)
	}
	for _, bad := range [][]byte{nil, {2}, {1}, {1, 0x80}, data[:len(data)-1], append(data[:len(data):len(data)], 0)} {
		if _, err := parsePosition(bad); err == nil {
			t.Errorf("%x is accepted as a position", bad)
		}
		if _, err := parseSegment(bad); err == nil {
			t.Errorf("%x is accepted as a segment", bad)
		}
	}
}

func BenchmarkLive(b *testing.B) {
	s := newStream(b, DefaultConfig(), 0)
	b.Run("transaction", func(b *testing.B) {
		b.ReportAllocs()
		var made events.Transaction
		for n := uint64(0); b.Loop(); n++ {
			s.transaction(n, &made)
		}
	})
	b.Run("label", func(b *testing.B) {
		b.ReportAllocs()
		var label events.Label
		for n := uint64(0); b.Loop(); n++ {
			s.label(n, &label)
		}
	})
	b.Run("world", func(b *testing.B) {
		for b.Loop() {
			if _, err := newWorld(s.model); err != nil {
				b.Fatal(err)
			}
		}
	})
}
