package detect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"datasurge/events"
	"datasurge/functions/step"
)

// share hands what fixtures have written to the table of windows to all of them,
// as the table's topic does.
func share(t *testing.T, all ...*fixture) {
	t.Helper()
	var changes []step.Change
	for _, f := range all {
		for _, e := range f.Take(events.TopicWindows) {
			changes = append(changes, step.Change{Key: e.Key, Value: e.Data})
		}
	}
	for _, f := range all {
		view, err := applyWindows(f.Tables[events.TopicWindows], changes)
		if err != nil {
			t.Fatal(err)
		}
		f.Tables[events.TopicWindows] = view
	}
}

func newTasks(t *testing.T, n int) []*fixture {
	t.Helper()
	var all []*fixture
	for i := range n {
		f := newFixture(t)
		f.task = i
		f.function = f.def.New(f.Task(i, n))
		all = append(all, f)
	}
	return all
}

func (f *fixture) tick(t *testing.T) {
	t.Helper()
	if err := f.function.Tick(f, f.Time); err != nil {
		t.Fatal(err)
	}
}

// TestMerchantWindowsOverTasks: three tasks count the customers of a merchant
// together, a restart in between included; and when no rule asks any more,
// everything about them goes.
func TestMerchantWindowsOverTasks(t *testing.T) {
	tasks := newTasks(t, 3)
	rule := askingRule("asks", "name: visits, key: merchantId, aggregate: count, duration: 1h",
		"name: takings, key: merchantId, aggregate: sum, duration: 1h", "name: dearest, key: merchantId, aggregate: max, duration: 1h",
		"name: cards, key: merchantId, aggregate: distinct, of: userId, duration: 1h")
	for _, f := range tasks {
		f.table(t, rule)
	}
	random := rand.New(rand.NewPCG(3, 4))
	count, sum, dearest, cards := 0, int64(0), int64(0), map[string]bool{}
	for i := range 60 {
		f := tasks[random.IntN(len(tasks))]
		switch i {
		case 30:
			f = tasks[0] // is killed before it has told the others
		case 31:
			f = tasks[1] // has to know of it all the same
		}
		next := bought(day0+int64(i)*30*second, 100+random.Int64N(10_000))
		next.TransactionID = fmt.Sprint("t", i)
		next.UserID = fmt.Sprintf("u%d-%d", f.task, random.IntN(5))
		f.step(t, next)
		count, sum, dearest, cards[next.UserID] = count+1, sum+next.BaseAmount, max(dearest, next.BaseAmount), true
		s := f.scored(t)[0]
		got := []float64{featureOf(t, &s, "asks.visits"), featureOf(t, &s, "asks.takings"), featureOf(t, &s, "asks.dearest"), featureOf(t, &s, "asks.cards")}
		want := []float64{float64(count), float64(sum) / 100, float64(dearest) / 100, float64(len(cards))}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("transaction %d (-want +got):\n%s", i, diff)
		}
		if i == 30 {
			f.EndCommit()
			f.Emitted = nil
			f.restart()
		}
		for _, f := range tasks {
			f.tick(t)
		}
		share(t, tasks...)
	}
	// Each merchant once a second at most, however many transactions.
	for i := range 50 {
		next := bought(day0+day+int64(i), 100)
		tasks[0].step(t, next)
	}
	tasks[0].tick(t)
	if n := len(tasks[0].Take(events.TopicWindows)); n != 1 {
		t.Errorf("%d records about one merchant, want 1", n)
	}
	for _, f := range tasks {
		f.table(t, step.Change{Key: "asks"})
		next := bought(day0+2*day, 100)
		next.UserID = fmt.Sprint("u", f.task)
		f.step(t, next)
		f.tick(t)
		f.EndCommit()
		for key := range f.Changelog {
			switch key[0] {
			case kindCustomerWindows, kindMerchantWindows, kindWindowStart:
				t.Errorf("task %d has still %q", f.task, key)
			}
		}
	}
	share(t, tasks...)
	if table := tasks[0].Tables[events.TopicWindows].(*windowTable); len(table.merchants)+len(table.starts) > 0 {
		t.Errorf("still in the table: %+v", table)
	}
}

// TestWindowIsExactFrom: a window that a task has kept from its first
// transaction is exact at once; one that a rule asks for later is exact from when
// nothing of it can have been missed, and until then decisions say so.
func TestWindowIsExactFrom(t *testing.T) {
	f := newFixture(t)
	f.table(t, askingRule("early", "name: n, aggregate: count, duration: 1h"))
	f.step(t, bought(day0, 100))
	if s := f.scored(t)[0]; len(s.Rules) != 1 || s.Rules[0].ExactFrom != 0 {
		t.Errorf("rules %+v, want early without a time", s.Rules)
	}
	f.Take(events.TopicAnomalies)
	f.table(t, askingRule("late", "name: n, aggregate: count, duration: 2h"))
	f.tick(t) // it is the tick that lets a window begin when nothing comes
	exact := day0 + 130*minute + 1
	starts := f.Take(events.TopicWindows)
	var start events.WindowStart
	if err := events.ParseWindowStart(starts[len(starts)-1].Data, &start); err != nil || start.ExactFrom != exact || start.Task != 0 {
		t.Errorf("%v: the window's begin is %+v, want %d", err, start, exact)
	}
	f.restart()
	for _, c := range []struct{ at, want int64 }{{day0 + minute, exact}, {exact - 1, exact}, {exact, 0}} {
		f.step(t, bought(c.at, 100))
		s, a := f.scored(t)[0], f.anomalies(t)[0]
		if s.Rules[0].ID != "early" || s.Rules[0].ExactFrom != 0 || s.Rules[1].ExactFrom != c.want {
			t.Errorf("at %d: rules %+v, want late exact from %d", c.at, s.Rules, c.want)
		}
		told := strings.Contains(a.Reasons[1].Text, "counted only in part before "+time.UnixMilli(exact).UTC().Format(time.RFC3339))
		if told != (c.want != 0) {
			t.Errorf("at %d: reason %q", c.at, a.Reasons[1].Text)
		}
	}
	// Away and back: it begins anew.
	f.table(t, step.Change{Key: "late"})
	f.tick(t)
	f.table(t, askingRule("late", "name: n, aggregate: count, duration: 2h"))
	f.step(t, bought(exact+minute, 100))
	if s := f.scored(t)[0]; s.Rules[1].ExactFrom != exact+130*minute+1 {
		t.Errorf("rules %+v, want late exact from %d", s.Rules, exact+130*minute+1)
	}
}

// The begin of a merchant's window is that of the task which began last.
func TestMerchantWindowIsExactFrom(t *testing.T) {
	tasks := newTasks(t, 2)
	tasks[0].step(t, bought(day0, 100))
	tasks[1].step(t, bought(day0+hour, 100))
	for _, f := range tasks {
		f.scored(t)
		f.table(t, askingRule("asks", "name: n, key: merchantId, aggregate: count, duration: 1h"))
		f.tick(t)
	}
	share(t, tasks...)
	exact := day0 + hour + 65*minute + 1
	for _, c := range []struct{ at, want int64 }{{exact - 1, exact}, {exact, 0}} {
		tasks[0].step(t, bought(c.at, 100))
		if s := tasks[0].scored(t)[0]; s.Rules[0].ExactFrom != c.want {
			t.Errorf("at %d: %+v, want exact from %d", c.at, s.Rules, c.want)
		}
	}
}

// Records of the table of windows that are wrong leave what stood there.
func TestWindowTableRefuses(t *testing.T) {
	good := events.NewWindowPanes(&events.WindowPanes{MerchantID: "m", Task: 1, Panes: []byte{askedVersion, 0, 'U', 'S', 'D'}})
	start := events.NewWindowStart(&events.WindowStart{Window: "0123456789abcdef", Task: 2, ExactFrom: 5})
	view, err := applyWindows(&windowTable{}, []step.Change{{Key: good.Key, Value: good.Data}, {Key: start.Key, Value: start.Data}})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		good.Key: "{", "panes/1/m2": `{"merchantId":"m2","task":1,"panes":"AA=="}`, "panes/x/m": "{}", "start/0123456789abcdef/2": "{}",
		"start/short/1": string(start.Data), "other": "{}",
	} {
		next, err := applyWindows(view, []step.Change{{Key: key, Value: []byte(value)}})
		if err == nil {
			t.Errorf("%s: accepted", key)
		}
		if diff := cmp.Diff(view, next, cmp.AllowUnexported(windowTable{}, taskPanes{})); diff != "" {
			t.Errorf("%s changed the view: %s", key, diff)
		}
	}
}
