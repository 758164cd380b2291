package detect

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
)

// askingRule is a record of a rule that asks for windows and fires always, so
// that decisions tell their values.
func askingRule(id string, windows ...string) step.Change {
	return askingWith(id, "amount > 0", windows...)
}

func askingWith(id, when string, windows ...string) step.Change {
	return step.Change{Key: id, Value: fmt.Appendf(nil,
		"id: %s\nversion: 1\ndescription: A rule.\nseverity: low\nweight: 0.1\nwhen: %s\nwindows:\n  - {%s}\n",
		id, when, strings.Join(windows, "}\n  - {"))}
}

// featureOf is a feature of a decision.
func featureOf(t *testing.T, s *events.Scored, name string) float64 {
	t.Helper()
	for _, f := range s.Features {
		if f.Name == name {
			return f.Value
		}
	}
	t.Fatalf("the decision about %s has no feature %s: %v", s.TransactionID, name, s.Features)
	return 0
}

// TestWindowsAgainstReference feeds random transactions through windows of every
// aggregate and both keys, with restarts, and compares each value with what the
// definition gives for the whole history.
func TestWindowsAgainstReference(t *testing.T) {
	definitions := []struct {
		name, clause string
		key          func(*events.Enriched) string
		aggregate    string
		length       int64
		counts       func(*events.Enriched) bool
		number       func(*events.Enriched) float64
		text         func(*events.Enriched) string
	}{
		{name: "n", clause: "aggregate: count, duration: 1h", aggregate: "count", length: hour},
		{name: "pay", clause: `aggregate: count, duration: 2h, filter: "paymentMethod == 'paypal' && baseAmount > 20"`, aggregate: "count", length: 2 * hour,
			counts: func(e *events.Enriched) bool { return e.PaymentMethod == "paypal" && e.BaseAmount > 2000 }},
		{name: "total", clause: "aggregate: sum, duration: 1d", aggregate: "sum", length: day},
		{name: "avg", clause: "aggregate: mean, duration: 90m", aggregate: "mean", length: 90 * minute},
		{name: "low", clause: "aggregate: min, of: baseAmount, duration: 3h", aggregate: "min", length: 3 * hour},
		{name: "far", clause: "aggregate: max, of: distanceKm, duration: 3h", aggregate: "max", length: 3 * hour,
			number: func(e *events.Enriched) float64 { return e.DistanceKm }},
		{name: "shops", clause: "aggregate: distinct, of: merchantId, duration: 2h", aggregate: "distinct", length: 2 * hour,
			text: func(e *events.Enriched) string { return e.MerchantID }},
		{name: "visits", clause: "key: merchantId, aggregate: count, duration: 1h", aggregate: "count", length: hour,
			key: func(e *events.Enriched) string { return e.MerchantID }},
		{name: "cards", clause: "key: merchantId, aggregate: distinct, of: userId, duration: 30m", aggregate: "distinct", length: 30 * minute,
			key: func(e *events.Enriched) string { return e.MerchantID }, text: func(e *events.Enriched) string { return e.UserID }},
		{name: "takings", clause: "key: merchantId, aggregate: sum, duration: 6h", aggregate: "sum", length: 6 * hour,
			key: func(e *events.Enriched) string { return e.MerchantID }},
	}
	var clauses []string
	for _, d := range definitions {
		clauses = append(clauses, "name: "+d.name+", "+d.clause)
	}
	for _, stream := range []struct {
		name string
		gap  int64
	}{{"busy", minute}, {"quiet", 2 * hour}} {
		t.Run(stream.name, func(t *testing.T) {
			f := newFixture(t)
			f.table(t, askingRule("asks", clauses...))
			random := rand.New(rand.NewPCG(5, uint64(stream.gap)))
			var seen []events.Enriched
			now := day0
			for i := range 600 {
				now += random.Int64N(stream.gap)
				next := bought(now, 100+random.Int64N(10_000))
				next.TransactionID = fmt.Sprint("t", i)
				next.UserID, next.MerchantID = fmt.Sprint("u", random.IntN(4)), fmt.Sprint("m", random.IntN(6))
				next.PaymentMethod = []string{"paypal", "credit_card"}[random.IntN(2)]
				next.DistanceKm = float64(random.IntN(100_000)) / 10
				f.step(t, next)
				seen = append(seen, next)
				decision := f.scored(t)[0]
				if i%97 == 96 {
					f.restart()
				}
				for _, d := range definitions {
					width := (d.length + rules.Panes - 1) / rules.Panes
					key := d.key
					if key == nil {
						key = func(e *events.Enriched) string { return e.UserID }
					}
					var numbers []float64
					texts := map[string]bool{}
					for _, s := range seen {
						p := floorDiv(next.Time, width) - floorDiv(s.Time, width)
						if key(&s) != key(&next) || p > rules.Panes || d.counts != nil && !d.counts(&s) {
							continue
						}
						x := float64(s.BaseAmount) / 100
						if d.number != nil {
							x = d.number(&s)
						}
						numbers = append(numbers, x)
						if d.text != nil {
							texts[d.text(&s)] = true
						}
					}
					want := referenceValue(d.aggregate, numbers, texts)
					if got := featureOf(t, &decision, "asks."+d.name); math.Abs(got-want) > 2/askedUnit {
						t.Fatalf("transaction %d: %s is %v, want %v of %v", i, d.name, got, want, numbers)
					}
				}
			}
		})
	}
}

func referenceValue(aggregate string, numbers []float64, texts map[string]bool) float64 {
	if aggregate == "distinct" {
		return float64(len(texts))
	}
	if aggregate == "count" || len(numbers) == 0 {
		return float64(len(numbers))
	}
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	switch aggregate {
	case "min":
		return slices.Min(numbers)
	case "max":
		return slices.Max(numbers)
	case "mean":
		return round(sum / float64(len(numbers)))
	}
	return round(sum)
}

// The order of equal and late transactions: a late one counts in its own pane,
// one that is too late for the window counts itself alone.
func TestWindowsOutOfOrder(t *testing.T) {
	f := newFixture(t)
	f.table(t, askingRule("asks", "name: n, aggregate: count, duration: 1h", "name: total, aggregate: sum, duration: 1h",
		"name: shops, aggregate: distinct, of: merchantId, duration: 1h"))
	at := func(offset, cents int64, merchant string) [3]float64 {
		next := bought(day0+offset, cents)
		next.MerchantID = merchant
		f.step(t, next)
		s := f.scored(t)[0]
		return [3]float64{featureOf(t, &s, "asks.n"), featureOf(t, &s, "asks.total"), featureOf(t, &s, "asks.shops")}
	}
	for i, c := range []struct {
		offset, cents int64
		merchant      string
		want          [3]float64
	}{
		{day, 1000, "a", [3]float64{1, 10, 1}},
		{day + 30*minute, 2000, "b", [3]float64{2, 30, 2}},
		{day, 500, "a", [3]float64{2, 15, 1}},                          // late: sees its pane, not the newer ones
		{day - 3*hour, 700, "c", [3]float64{1, 7, 1}},                  // too late: itself alone
		{day + hour, 100, "b", [3]float64{4, 36, 2}},                   // the begin of the window belongs to it
		{day + hour + 5*minute, 100, "b", [3]float64{3, 22, 1}},        // one pane later it does not
		{day + 30*minute - 1, 100, "d", [3]float64{1, 1, 1}},           // late: the panes before its own are gone
		{day + 90*minute + 30*day, 100, "e", [3]float64{1, 1, 1}},      // nothing but itself
		{day + 90*minute + 30*day, 100, "e", [3]float64{2, 2, 1}},      // equal times
		{day + 150*minute + 30*day - 1, 100, "f", [3]float64{3, 3, 2}}, // all but the end of a pane later
	} {
		if got := at(c.offset, c.cents, c.merchant); got != c.want {
			t.Errorf("transaction %d: count, sum and distinct are %v, want %v", i, got, c.want)
		}
	}
}

// TestAskedSize: a window of a customer fits 300 bytes whatever comes.
func TestAskedSize(t *testing.T) {
	for aggregate := rules.Count; aggregate <= rules.Distinct; aggregate++ {
		t.Run(aggregate.String(), func(t *testing.T) {
			var s series
			s.reset(windowID{}, aggregate)
			largest := 0
			for i := range int64(40_000) {
				s.add(floorTo(day0, minute)+i/500, 999_999_999_999, uint32(i))
				if i%499 == 0 {
					largest = max(largest, len(s.append(nil)))
				}
			}
			t.Logf("%d bytes", largest)
			if largest > 300 {
				t.Errorf("a window takes up to %d bytes, want at most 300", largest)
			}
		})
	}
}

func TestAskedSaturates(t *testing.T) {
	if got := addSaturated(math.MaxInt64-1, 5); got != math.MaxInt64 {
		t.Errorf("sum %d", got)
	}
	if got := addSaturated(math.MinInt64+1, -5); got != math.MinInt64 {
		t.Errorf("sum %d", got)
	}
	for x, want := range map[float64]int64{1e300: math.MaxInt64, -1e300: math.MinInt64, 12.34567: 123457, -1: -10000} {
		if got := fixedPoint(x); got != want {
			t.Errorf("%v is %d, want %d", x, got, want)
		}
	}
	if got := fixedPoint(math.NaN()); got != 0 {
		t.Errorf("NaN is %d", got)
	}
	var s series
	s.reset(windowID{}, rules.Distinct)
	for i := range uint32(1000) {
		s.add(7, 0, i)
	}
	var total total
	total.reset(rules.Distinct)
	total.merge(&s, 7)
	if got := total.value(); got != mostDistinct {
		t.Errorf("1000 values are %v distinct ones, want %d", got, mostDistinct)
	}
}

func TestAskedCodecRefuses(t *testing.T) {
	var s series
	s.reset(windowID{1, 2, 3}, rules.Sum)
	s.add(1000, 5, 0)
	s.add(1003, -7, 0)
	good := s.append([]byte{askedVersion, 0, 'U', 'S', 'D'})
	s.reset(windowID{9}, rules.Distinct)
	s.add(1000, 0, 77)
	s.add(1012, 0, 78)
	good = s.append(good)
	codec := askedCodec()
	value, err := codec.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := codec.Append(nil, value); !bytes.Equal(got, good) {
		t.Errorf("encoded again %x, want %x", got, good)
	}
	newer := bytes.Clone(good)
	newer[0]++
	if _, err := codec.Parse(newer); !errors.Is(err, step.ErrNewerVersion) {
		t.Errorf("newer version: error %v", err)
	}
	refused := 0
	for n := range good {
		if _, err := codec.Parse(good[:n]); err != nil {
			refused++
		}
	}
	if refused < len(good)-2 { // an end between two windows is one
		t.Errorf("%d of %d beginnings are refused", refused, len(good))
	}
	for _, numbers := range []step.Codec{clockCodec(), windowStartCodec()} {
		for _, data := range [][]byte{nil, {1}, {1, 0x80}, {1, 2, 3}, {0, 1}} {
			if _, err := numbers.Parse(data); err == nil {
				t.Errorf("%x was accepted", data)
			}
		}
		if _, err := numbers.Parse([]byte{2, 1}); !errors.Is(err, step.ErrNewerVersion) {
			t.Errorf("newer version: error %v", err)
		}
	}
}

// FuzzAsked: decoding never panics, and what it accepts is encoded in a form that
// decodes to the same windows and can take another transaction.
func FuzzAsked(f *testing.F) {
	var s series
	for aggregate := rules.Count; aggregate <= rules.Distinct; aggregate++ {
		s.reset(windowID{byte(aggregate)}, aggregate)
		for i := range int64(20) {
			s.add(i*i/4, i*100, uint32(i))
		}
		f.Add(s.append([]byte{askedVersion, 0, 'U', 'S', 'D'}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var w, again askedWindows
		if w.decode(data) != nil {
			return
		}
		encoded := append([]byte{}, data[:askedHeader]...)
		for i := range w.list {
			encoded = w.list[i].append(encoded)
		}
		if err := again.decode(encoded); err != nil || len(again.list) != len(w.list) {
			t.Fatalf("%v: %d windows, want %d", err, len(again.list), len(w.list))
		}
		var total total
		for i := range w.list {
			w.list[i].add(w.list[i].newest, 5, 6)
			total.reset(w.list[i].aggregate)
			total.merge(&w.list[i], w.list[i].newest)
			if total.holdsNothing() {
				t.Fatal("a transaction that was added is not there")
			}
		}
	})
}
