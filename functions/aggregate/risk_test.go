package aggregate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
)

const testDay = 24 * 60 * testMinute

// label appends the truth about a transaction at base+at to the input of task n,
// where it is known after a day.
func (p *pipeline) label(n int, merchant string, at int64, fraud bool) {
	e := events.NewLabel(&events.Label{
		TransactionID: fmt.Sprint(merchant, at), UserID: "user", MerchantID: merchant,
		TransactionTime: base + at, LabelTime: base + at + testDay, Fraud: fraud,
	})
	p.tasks[n].scored = append(p.tasks[n].scored, message{event: &e})
}

func riskConfig(t testing.TB, delay time.Duration) Config {
	cfg := testConfig(t, "1m", 0)
	cfg.LabelDelay = delay
	return cfg
}

func shop(id, merchant string, at int64) events.Scored {
	tx := transaction(id, at)
	tx.MerchantID = merchant
	return tx
}

func TestRiskIsTheShareOfFraudsOfCompleteDaysBeforeTheLabelDelay(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 24*time.Hour), 2)
	for d := range int64(10) {
		for i := range int64(4) {
			p.scored(int(i%2), shop(fmt.Sprint(d, i), "shop", d*testDay+i*testMinute))
		}
		p.watermark(0, base+d*testDay)
		p.watermark(1, base+d*testDay)
	}
	p.label(0, "shop", 2*testDay, true)
	p.label(1, "shop", 7*testDay, true)
	p.label(0, "shop", 7*testDay, true)
	p.label(0, "shop", 7*testDay, false)
	p.label(0, "honest", 7*testDay, false)
	p.closeAll(9*testDay + testMinute) // days up to 7 are complete and labelled
	p.run()
	got := p.risks[len(p.risks)-1]
	want := events.MerchantRisk{
		MerchantID: "shop", AsOf: base + 8*testDay,
		Windows: [3]events.RiskWindow{{Count: 4, Frauds: 2, Risk: 0.5}, {Count: 28, Frauds: 3, Risk: 3.0 / 28}, {Count: 32, Frauds: 3, Risk: 3.0 / 32}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("risk (-want +got):\n%s", diff)
	}
	for _, r := range p.risks {
		if r.MerchantID != "shop" {
			t.Errorf("a risk of %s, which has no frauds", r.MerchantID)
		}
	}
	n := len(p.risks)
	p.run()
	if len(p.risks) != n {
		t.Errorf("%d more risks although nothing changed", len(p.risks)-n)
	}
}

func TestRiskWithAShortLabelDelayIncludesTheDayUnderWay(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 2*time.Minute), 1)
	for i := range int64(4) {
		p.scored(0, shop(fmt.Sprint(i), "shop", i*testMinute))
	}
	p.label(0, "shop", 0, true)
	p.closeAll(10 * testMinute)
	p.run()
	if got := p.risks[len(p.risks)-1].Windows[events.RiskDay]; got != (events.RiskWindow{Count: 4, Frauds: 1, Risk: 0.25}) {
		t.Errorf("risk of the day under way: %+v", got)
	}
}

func TestRiskOfFraudsWithoutTransactionsIsAtMostOne(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 0), 1)
	p.label(0, "shop", 0, true)
	p.label(0, "shop", 1, true)
	p.closeAll(testMinute)
	p.run()
	if got := p.risks[len(p.risks)-1].Windows[events.RiskDay]; got != (events.RiskWindow{Count: 2, Frauds: 2, Risk: 1}) {
		t.Errorf("risk: %+v", got)
	}
}

func TestRiskFallsToZeroWhenFraudsAreOldAndIsForgotten(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 24*time.Hour), 2)
	p.scored(0, shop("a", "shop", 0))
	p.label(1, "shop", 0, true)
	for d := range int64(40) {
		p.closeAll(d * testDay)
		p.now = p.now.Add(time.Minute)
		p.settle()
	}
	p.closeAll(80 * testDay)
	p.run()
	var risks []float64
	for _, r := range p.risks {
		risks = append(risks, r.Windows[events.RiskMonth].Risk)
	}
	if len(risks) < 2 || risks[0] != 1 || risks[len(risks)-1] != 0 || p.risks[len(p.risks)-1].Windows[0].Count != 0 {
		t.Errorf("risks %v", risks)
	}
	for _, tk := range p.tasks {
		for key := range tk.tx.Changelog {
			if key[0] == kindDays || key[0] == kindRisk {
				t.Errorf("state of a merchant without transactions: %q", key)
			}
		}
	}
	// A label of a day that is no longer kept counts for nothing.
	n := len(p.risks)
	p.label(0, "shop", 0, true)
	p.run()
	if len(p.risks) != n {
		t.Errorf("a label of 80 days ago: %+v", p.risks[n:])
	}
}

func TestRiskOfAMerchantIsPublishedAtMostOnceASecond(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 0), 1)
	p.watermark(0, base)
	for i := range int64(100) {
		p.label(0, "shop", i, true)
		p.settle()
		p.now = p.now.Add(100 * time.Millisecond)
	}
	if n := len(p.risks); n < 5 || n > 10 {
		t.Errorf("%d risks in 10 s", n)
	}
	ids := map[string]bool{}
	for _, r := range p.risks {
		ids[fmt.Sprint(r.AsOf, r.Windows)] = true
	}
	if len(ids) != len(p.risks) {
		t.Error("the same risk was published twice")
	}
}

func TestCountsByDayArePublishedOnlyWhenTheyChanged(t *testing.T) {
	p := newPipeline(t, riskConfig(t, 0), 1)
	var got []int
	for d := range int64(3) {
		p.scored(0, shop(fmt.Sprint(d), "shop", d*testDay))
		p.settle()
		p.now = p.now.Add(time.Duration(countsEvery) * time.Millisecond)
		n := 0
		for _, m := range p.tasks[0].partials {
			if m.event != nil && m.event.Key == dimMerchantDay+"|shop" {
				n++
			}
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, got); diff != "" {
		t.Errorf("partials after each day (-want +got):\n%s", diff)
	}
}

func TestRiskGoesOnAfterARestart(t *testing.T) {
	var last [2][]events.MerchantRisk
	for i, crash := range []bool{false, true} {
		p := newPipeline(t, riskConfig(t, 0), 2)
		for n := range int64(200) {
			merchant := fmt.Sprint("shop-", n%5)
			p.scored(int(n%2), shop(fmt.Sprint(n), merchant, n*testMinute))
			if n%7 == 0 {
				p.label(int(n/7%2), merchant, n*testMinute, true)
			}
			if n%10 == 0 {
				p.closeAll(n * testMinute)
				p.now = p.now.Add(3 * time.Second)
				if crash {
					p.crash(p.tasks[n/10%2])
				}
			}
		}
		p.run()
		newest := map[string]events.MerchantRisk{}
		for _, r := range p.risks {
			newest[r.MerchantID] = r
		}
		for n := range 5 {
			last[i] = append(last[i], newest[fmt.Sprint("shop-", n)])
		}
	}
	if diff := cmp.Diff(last[0], last[1]); diff != "" {
		t.Errorf("risks (-without +with restarts):\n%s", diff)
	}
	if !slices.ContainsFunc(last[0], func(r events.MerchantRisk) bool { return r.Windows[events.RiskDay].Frauds > 0 }) {
		t.Error("no frauds")
	}
}
