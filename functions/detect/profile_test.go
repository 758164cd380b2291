package detect

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"datasurge/events"
)

// day0 is a Wednesday, 00:00 UTC, and a boundary of the panes of 2 h and of a
// day, but not of those of 3 days.
var day0 = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

const (
	second = int64(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// bought is a purchase at home of this many US cents.
func bought(at, cents int64) events.Enriched {
	return events.Enriched{
		Transaction: events.Transaction{
			TransactionID: "t-" + strconv.FormatInt(at-day0, 36), UserID: "u1", Amount: cents, Currency: "USD", Time: at,
			MerchantID: "m1", Type: "purchase", Location: "Berlin, DE", PaymentMethod: "credit_card",
		},
		Category: "grocery", Country: "DE", BaseAmount: cents, BaseCurrency: "USD", LocalHour: 12,
	}
}

func in(country string, t events.Enriched) events.Enriched {
	t.Country = country
	return t
}

func refund(t events.Enriched) events.Enriched {
	t.Type = "refund"
	return t
}

// reference computes the features of the last of seen from the whole list, as
// the package documentation defines them.
func reference(seen []events.Enriched) map[string]float64 {
	now := seen[len(seen)-1]
	t := now.Time
	latest := t
	for _, s := range seen {
		latest = max(latest, s.Time)
	}
	window := func(length, width time.Duration, refunds bool) (count, sum float64) {
		w := width.Milliseconds()
		oldest := floorDiv(latest, w) - int64(length/width)
		for _, s := range seen {
			if p := floorDiv(s.Time, w); p >= oldest && p <= floorDiv(t, w) && (refunds || s.Type != "refund") {
				count++
				sum += float64(s.BaseAmount)
			}
		}
		if count == 0 && (refunds || now.Type != "refund") {
			return 1, float64(now.BaseAmount) // too late for the window
		}
		return count, sum
	}
	mean := func(count, sum float64) float64 {
		if count == 0 {
			return 0
		}
		return round(sum / count / 100)
	}
	f := map[string]float64{"sinceLast": 30 * 86400, "amountRatio": 1}
	f["count1m"], _ = window(time.Minute, 5*time.Second, true)
	f["count10m"], _ = window(10*time.Minute, time.Minute, true)
	count, sum := window(24*time.Hour, 2*time.Hour, false)
	f["count1d"], f["mean1d"] = count, mean(count, sum)
	count, sum = window(7*24*time.Hour, 24*time.Hour, false)
	f["count7d"], f["mean7d"] = count, mean(count, sum)
	count, sum = window(30*24*time.Hour, 72*time.Hour, false)
	f["count30d"], f["mean30d"] = count, mean(count, sum)
	if f["mean30d"] > 0 {
		f["amountRatio"] = round(float64(now.BaseAmount) / 100 / f["mean30d"])
	}

	var past []float64
	first, before := t, int64(math.MinInt64)
	for i, s := range seen {
		first = min(first, s.Time)
		if i == len(seen)-1 {
			break
		}
		before = max(before, s.Time)
		if s.Type != "refund" {
			past = append(past, float64(s.BaseAmount))
			f["lastAmount"] = float64(s.BaseAmount) / 100
		}
	}
	if len(seen) > 1 {
		f["sinceLast"] = min(max(0, float64(t-before)/1000), 30*86400)
	}
	if len(past) >= 5 {
		total, squares := 0.0, 0.0
		for _, x := range past {
			total += x
		}
		m := total / float64(len(past))
		for _, x := range past {
			squares += (x - m) * (x - m)
		}
		spread := max(math.Sqrt(squares/float64(len(past)-1)), m/10)
		f["amountZ"] = max(-100, min((float64(now.BaseAmount)-m)/spread, 100))
	}
	referenceHabit(seen, f)
	known := float64(max(0, min(t-first, day)-10*minute))
	f["usual10m"] = round(max(0, f["count1d"]-f["count10m"]) * float64(10*minute) / (known + float64(hour)))
	return f
}

// referenceHabit computes usualRatio and unusual14d.
func referenceHabit(seen []events.Enriched, f map[string]float64) {
	f["usualRatio"] = 1
	var limited []float64 // purchases, unusual ones as the largest usual amount
	type unusual struct{ day, newest int64 }
	var all []unusual
	newest := int64(math.MinInt64)
	for i, s := range seen {
		mean := 0.0
		for _, x := range limited {
			mean += x / float64(len(limited))
		}
		amount := float64(s.BaseAmount)
		if i == len(seen)-1 {
			if len(limited) > 0 {
				f["usualRatio"] = round(amount / mean)
			}
			break
		}
		newest = max(newest, floorDiv(s.Time, day))
		if s.Type == "refund" {
			continue
		}
		if limit := math.Floor(2.7 * mean); len(limited) >= 3 && amount > limit {
			amount = limit
			all = append(all, unusual{floorDiv(s.Time, day), newest})
		}
		limited = append(limited, amount)
	}
	now := floorDiv(seen[len(seen)-1].Time, day)
	for _, u := range all {
		// A purchase that was too old when it came is not counted, nor is one of
		// a day that has gone since.
		if u.day > u.newest-15 && u.day > newest-15 && u.day <= now && u.day > now-15 {
			f["unusual14d"]++
		}
	}
}

func floorDiv(a, b int64) int64 { return int64(math.Floor(float64(a) / float64(b))) }

func features(v *vector) map[string]float64 {
	m := map[string]float64{}
	for i, name := range featureNames {
		m[name] = v[i]
	}
	return m
}

// TestFeaturesAgainstReference feeds random customers, in order and out of
// order, through the profile and its encoding, and compares every feature with
// what the definition gives for the whole history.
func TestFeaturesAgainstReference(t *testing.T) {
	for _, stream := range []struct {
		name    string
		gap     int64 // largest gap between transactions
		shuffle int64 // how far out of order
		n       int
	}{
		{"busy", 20 * second, 0, 300},
		{"busy, out of order", 20 * second, 5 * minute, 300},
		{"hourly", 3 * hour, 0, 300},
		{"daily, out of order", day, 3 * day, 300},
		{"idle for long", 40 * day, 0, 60},
		{"very late", 2 * day, 60 * day, 300},
	} {
		t.Run(stream.name, func(t *testing.T) {
			for seed := range uint64(5) {
				random := rand.New(rand.NewPCG(seed, 1))
				var p profile
				var seen []events.Enriched
				now := day0
				for i := range stream.n {
					now += random.Int64N(stream.gap)
					if random.IntN(10) == 0 { // equal timestamps
						now -= now % second
					}
					at := now
					if stream.shuffle > 0 {
						at -= random.Int64N(stream.shuffle)
					}
					next := bought(at, 1+random.Int64N(100_000))
					if random.IntN(8) == 0 {
						next = refund(next)
					}
					seen = append(seen, next)
					var v vector
					p.observe(&next, &v)

					got, want := features(&v), reference(seen)
					for name := range got {
						if _, known := want[name]; !known {
							want[name] = 0
						}
					}
					for _, other := range []string{"baseAmount", "countries1h", "newCountry1h"} {
						delete(got, other)
						delete(want, other)
					}
					if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 2e-4)); diff != "" {
						t.Fatalf("seed %d, transaction %d at %d (want -, got +):\n%s", seed, i, at, diff)
					}
					var again profile
					if err := again.decode(p.append(nil)); err != nil {
						t.Fatal(err)
					}
					if again != p {
						t.Fatalf("seed %d, transaction %d: the profile changed in its encoding:\n%+v\n%+v", seed, i, p, again)
					}
					p = again
				}
			}
		})
	}
}

// TestWindowsAgainstExactOnes: in order, a window holds everything within its
// length and nothing older than one pane more.
func TestWindowsAgainstExactOnes(t *testing.T) {
	for window, spec := range windowSpecs {
		t.Run(spec.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, uint64(window)))
			var p profile
			var times []int64
			now := day0
			for range 1000 {
				now += random.Int64N(spec.length / 5)
				times = append(times, now)
				next := bought(now, 100)
				p.begin("USD")
				p.add(&next)
				atLeast, atMost := 0.0, 0.0
				for _, s := range times {
					if s > now-spec.length {
						atLeast++
					}
					if s > now-(spec.length+spec.width) {
						atMost++
					}
				}
				if got := p.count(window, now); got < atLeast || got > atMost {
					t.Fatalf("at %d: %v transactions, want %v to %v", now, got, atLeast, atMost)
				}
			}
		})
	}
}

func TestWindowBoundaries(t *testing.T) {
	for _, test := range []struct {
		name    string
		feature feature
		times   []int64 // the last one is looked at
		want    float64
	}{
		{"alone", count1m, []int64{0}, 1},
		{"equal times", count1m, []int64{0, 0, 0}, 3},
		{"a minute less 1 ms apart", count1m, []int64{0, minute - 1}, 2},
		{"end of the oldest pane", count1m, []int64{5*second - 1, minute + 4999}, 2},
		{"after the oldest pane", count1m, []int64{4999, minute + 5*second}, 1},
		{"start of the oldest pane", count1m, []int64{0, minute + 5*second - 1}, 2},
		{"ten minutes", count10m, []int64{0, 10 * minute, 11*minute - 1}, 3},
		{"eleven minutes", count10m, []int64{0, 11 * minute}, 1},
		{"a day", count1d, []int64{0, 24 * hour, 26*hour - 1}, 3},
		{"26 hours", count1d, []int64{0, 26 * hour}, 1},
		{"7 days", count7d, []int64{0, 8*day - 1}, 2},
		{"8 days", count7d, []int64{0, 8 * day}, 1},
		{"30 days", count30d, []int64{0, 30 * day}, 2},
		{"33 days", count30d, []int64{0, 33 * day}, 1},
		{"idle for a year", count30d, []int64{0, 1, 365 * day}, 1},
		{"late: newer panes are not seen", count1m, []int64{0, 10 * second, 20 * second, 9 * second}, 2},
		{"late: before everything", count1m, []int64{hour, 0}, 1},
		{"late: its own pane is seen whole", count1d, []int64{hour, 0}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p profile
			var v vector
			for _, at := range test.times {
				next := bought(day0+at, 100)
				p.observe(&next, &v)
			}
			if v[test.feature] != test.want {
				t.Errorf("%s = %v, want %v", featureNames[test.feature], v[test.feature], test.want)
			}
		})
	}
}

func TestPaneIndexRoundsDown(t *testing.T) {
	spec := &windowSpecs[minuteWindow]
	for at, want := range map[int64]int64{0: 0, 4999: 0, 5000: 1, -1: -1, -5000: -1, -5001: -2} {
		if got := paneIndex(at, spec); got != want {
			t.Errorf("paneIndex(%d) = %d, want %d", at, got, want)
		}
	}
}

func TestPaneDoesNotWrap(t *testing.T) {
	p := pane{count: math.MaxUint32, sum: math.MaxInt64 - 5}
	p.add(10)
	if p.count != math.MaxUint32 || p.sum != math.MaxInt64 {
		t.Errorf("pane %+v", p)
	}
}

func TestCountries(t *testing.T) {
	type visit struct {
		t         events.Enriched
		countries float64
		isNew     float64
		previous  string
	}
	at := func(minutes int64) events.Enriched { return bought(day0+minutes*minute, 100) }
	for _, test := range []struct {
		name   string
		visits []visit
	}{
		{"at home", []visit{{at(0), 1, 0, ""}, {at(1), 1, 0, ""}}},
		{"another within the hour", []visit{{at(0), 1, 0, ""}, {in("FR", at(59)), 2, 1, "DE"}}},
		{"another after the hour", []visit{{at(0), 1, 0, ""}, {in("FR", at(60)), 1, 0, ""}}},
		{"to and fro is new once", []visit{{at(0), 1, 0, ""}, {in("FR", at(10)), 2, 1, "DE"}, {at(20), 2, 0, "FR"}, {in("FR", at(30)), 2, 0, "DE"}}},
		{"a third", []visit{{at(0), 1, 0, ""}, {in("FR", at(10)), 2, 1, "DE"}, {in("IT", at(20)), 3, 1, "FR"}}},
		{"home again after the hour", []visit{{at(0), 1, 0, ""}, {in("FR", at(30)), 2, 1, "DE"}, {at(70), 2, 1, "FR"}}},
		{"unknown country", []visit{{at(0), 1, 0, ""}, {in("", at(1)), 0, 0, ""}, {at(2), 1, 0, ""}}},
		{"a refund is no visit", []visit{{at(0), 1, 0, ""}, {refund(in("FR", at(1))), 0, 0, ""}, {at(2), 1, 0, ""}}},
		{"same time", []visit{{at(0), 1, 0, ""}, {in("FR", at(0)), 2, 1, "DE"}}},
		{"out of order sees nothing later", []visit{{in("FR", at(30)), 1, 0, ""}, {at(20), 1, 0, ""}, {in("IT", at(31)), 3, 1, "FR"}}},
		{"five", []visit{
			{in("AA", at(0)), 1, 0, ""}, {in("BB", at(1)), 2, 1, "AA"}, {in("CC", at(2)), 3, 1, "BB"},
			{in("DD", at(3)), 4, 1, "CC"}, {in("EE", at(4)), 5, 1, "DD"}, {in("BB", at(5)), 4, 0, "EE"}, {in("AA", at(6)), 5, 1, "BB"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p profile
			for i, visit := range test.visits {
				var v vector
				previous := p.observe(&visit.t, &v)
				if v[countries1h] != visit.countries || v[newCountry1h] != visit.isNew || previous != visit.previous {
					t.Errorf("visit %d: %v countries, new %v, previous %q; want %v, %v, %q",
						i, v[countries1h], v[newCountry1h], previous, visit.countries, visit.isNew, visit.previous)
				}
			}
		})
	}
}

func TestRefundIsActivityOnly(t *testing.T) {
	var p profile
	var v vector
	first := refund(bought(day0, 5000))
	p.observe(&first, &v)
	if v[count1m] != 1 || v[count1d] != 0 || v[mean1d] != 0 || v[amountRatio] != 1 {
		t.Errorf("features of a first refund: %v", features(&v))
	}
	second := bought(day0+minute, 100)
	p.observe(&second, &v)
	if v[count10m] != 2 || v[count30d] != 1 || v[mean30d] != 1 || v[lastAmount] != 0 || v[sinceLast] != 60 {
		t.Errorf("features of the purchase after it: %v", features(&v))
	}
}

func TestOtherBaseCurrencyStartsAnew(t *testing.T) {
	var p profile
	var v vector
	for i := range int64(10) {
		next := bought(day0+i*minute, 100)
		p.observe(&next, &v)
	}
	yen := bought(day0+hour, 100)
	yen.BaseCurrency = "JPY"
	p.observe(&yen, &v)
	if v[count1d] != 1 || v[mean1d] != 100 || v[lastAmount] != 0 {
		t.Errorf("features %v", features(&v))
	}
}

func TestWindowSpecsAgree(t *testing.T) {
	for _, spec := range windowSpecs {
		if spec.length%spec.width != 0 || spec.slots != int(spec.length/spec.width)+1 || spec.slots > maxSlots {
			t.Errorf("%+v", spec)
		}
	}
}
