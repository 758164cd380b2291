package aggregate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/step"
	"datasurge/functions/window"
)

// Random events over random partitions, stepped, ticked, committed and crashed at
// random: every window has one final result, which is that of a single thread
// over all events that the windows accept, and updates only grow.
func TestFinalResultsEqualAReferenceUnderRandomCrashes(t *testing.T) {
	configs := []string{"1m,5m/1m,1h", "10m/3m", "1m@15s,90s/45s,7s", "1h/10m,10m"}
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			cfg := testConfig(t, configs[seed%uint64(len(configs))], time.Duration(r.IntN(3))*time.Minute)
			p := newPipeline(t, cfg, 1+r.IntN(4))
			ref := newReference(cfg)
			fill(r, p, ref)
			for p.busy() {
				tk := p.tasks[r.IntN(len(p.tasks))]
				switch n := r.IntN(100); {
				case n < 40:
					for range 1 + r.IntN(20) {
						p.stepScored(tk)
					}
				case n < 70:
					for range 1 + r.IntN(60) {
						p.stepPartial(tk)
					}
				case n < 85:
					p.now = p.now.Add(time.Duration(r.IntN(1500)) * time.Millisecond)
					p.tick(tk)
				case n < 97:
					p.commit(tk)
				default:
					p.crash(tk)
				}
			}
			p.run()
			ref.compare(t, p)
			for _, tk := range p.tasks {
				for key := range tk.tx.All() {
					if key[0] != kindClosed && key[0] != kindDays && key[0] != kindRisk {
						t.Fatalf("state is left of closed windows: %q", key)
					}
				}
			}
		})
	}
}

// busy reports whether input is left that has not been committed.
func (p *pipeline) busy() bool {
	for _, tk := range p.tasks {
		if tk.committed.scored < len(tk.scored) {
			return true
		}
	}
	return false
}

// fill writes random events to the inputs of p, and adds them to ref as the
// watermark in the input demands. The last watermark closes everything.
func fill(r *rand.Rand, p *pipeline, ref *reference) {
	const outOfOrder = 20 * testSecond
	for n := range p.tasks {
		watermark, at := step.MinWatermark, int64(r.IntN(300))*testSecond
		for i := range 150 {
			switch r.IntN(40) {
			case 0:
				at += int64(r.IntN(20)) * testMinute
			case 1: // back again: late for some windows, or for all
				at = max(0, at-int64(r.IntN(90))*testMinute)
			default:
				at += int64(r.IntN(8000))
			}
			tx := transaction(fmt.Sprintf("%d-%d", n, i), max(0, at-r.Int64N(outOfOrder)))
			tx.UserID = fmt.Sprint("user-", r.IntN(30))
			tx.MerchantID = fmt.Sprint("merchant-", r.IntN(4))
			tx.Amount, tx.BaseAmount = 1+r.Int64N(1_000_000), 1+r.Int64N(1_000_000)
			tx.Currency = []string{"EUR", "USD", "JPY"}[r.IntN(3)]
			tx.Country = []string{"DE", "FR", ""}[r.IntN(3)]
			tx.Flagged = r.IntN(10) == 0
			if tx.Flagged {
				tx.Rules = []events.FiredRule{{ID: "velocity", Version: 1}, {ID: fmt.Sprint("rule-", r.IntN(2)), Version: 3}}
			}
			p.scored(n, tx)
			ref.add(tx, watermark)
			watermark = max(watermark, base+at-outOfOrder)
			p.watermark(n, watermark)
		}
		p.watermark(n, base+1000*60*testMinute)
	}
}

// reference keeps every window by definition: the events that it accepts.
type reference struct {
	cfg     Config
	bins    *window.Bins
	windows map[string][]window.Value
	late    int
}

func newReference(cfg Config) *reference {
	return &reference{cfg: cfg, bins: window.NewBins(), windows: map[string][]window.Value{}}
}

func (f *reference) add(t events.Scored, watermark int64) {
	value := func(amount int64) window.Value {
		return window.Value{Amount: amount, Bin: f.bins.Of(amount), User: xxhash.Sum64String(t.UserID), Anomaly: t.Flagged}
	}
	accepted := false
	for _, spec := range f.cfg.Windows {
		for start := spec.LastStart(t.Time); start+spec.Size > t.Time; start -= spec.Slide {
			if watermark != step.MinWatermark && start+spec.Size+f.cfg.Lateness.Milliseconds() <= watermark {
				continue
			}
			accepted = true
			add := func(dim, name string, amount int64) {
				key := resultName(dim, name, spec.String(), start)
				f.windows[key] = append(f.windows[key], value(amount))
			}
			country := t.Country
			if country == "" {
				country = "unknown"
			}
			add("all", "all", t.BaseAmount)
			add("currency", t.Currency, t.Amount)
			add("merchant", t.MerchantID, t.BaseAmount)
			add("category", t.Category, t.BaseAmount)
			add("country", country, t.BaseAmount)
			add("type", t.Type, t.BaseAmount)
			add("payment", t.PaymentMethod, t.BaseAmount)
			for _, rule := range t.Rules {
				add("rule", rule.ID, t.BaseAmount)
			}
		}
	}
	if !accepted {
		f.late++
	}
}

func (f *reference) compare(t *testing.T, p *pipeline) {
	t.Helper()
	got := p.upserts()
	if p.late != f.late {
		t.Errorf("%d late events, want %d", p.late, f.late)
	}
	for key, values := range f.windows {
		a, ok := got[key]
		if !ok || !a.Final {
			t.Fatalf("%s: no final result (%+v)", key, a)
		}
		acc := window.NewSketched()
		for _, v := range values {
			acc.Add(v)
		}
		if a.Count != acc.Count || a.Anomalies != acc.Anomalies || a.Sum != acc.Sum || a.Min != acc.Min || a.Max != acc.Max || a.Overflow {
			t.Fatalf("%s: %+v, want %+v", key, a, acc)
		}
		if !close(a.Mean, acc.Mean()) || !close(a.StdDev, acc.StdDev()) {
			t.Fatalf("%s: mean %g, deviation %g, want %g, %g", key, a.Mean, a.StdDev, acc.Mean(), acc.StdDev())
		}
		if sketched := a.Dimension != "merchant" && a.Dimension != "rule"; a.Sketched != sketched {
			t.Fatalf("%s: has quantiles: %t", key, a.Sketched)
		}
		if !a.Sketched {
			continue
		}
		at := acc.Quantiles.Values(nil, f.bins, 0.5, 0.9, 0.95, 0.99)
		for i, q := range []int64{a.P50, a.P90, a.P95, a.P99} {
			if want := min(max(int64(math.Round(at[i])), acc.Min), acc.Max); q != want {
				t.Fatalf("%s: quantile %d is %d, want %d", key, i, q, want)
			}
		}
		if want := int64(acc.Distinct.Estimate()); a.Customers != want {
			t.Fatalf("%s: %d customers, want %d", key, a.Customers, want)
		}
	}
	for key := range got {
		if _, ok := f.windows[key]; !ok {
			t.Errorf("%s: a result of a window that accepted nothing", key)
		}
	}
}

func close(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(math.Abs(a), math.Abs(b), 1) }
