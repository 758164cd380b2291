package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Plan
	}{
		{"redeliver=0.05,kill=30s,latency=200ms,status=503:0.02,broker=60s,seed=7", Plan{
			Redeliver: 0.05, Kill: 30 * time.Second, Latency: 200 * time.Millisecond, Status: []Status{{503, 0.02}}, Broker: time.Minute, Seed: 7,
		}},
		{"kill=1s", Plan{Kill: time.Second, Seed: 1}},
		{"status=503:0.1, status=404:0.2", Plan{Status: []Status{{503, 0.1}, {404, 0.2}}, Seed: 1}},
		{"redeliver=1,seed=0", Plan{Redeliver: 1}},
	} {
		got, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
		if again, err := Parse(got.String()); err != nil || !cmp.Equal(got, again) {
			t.Errorf("%s is written as %s, which is read as %+v, %v", c.text, got, again, err)
		}
	}
}

// TestParseErrors: an error names the part and what is wrong with it.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               {`""`, "no fault", "redeliver=SHARE"},
		"kill=1s,reboot=2s":              {`"reboot=2s"`, `"reboot"`},
		"redeliver=2":                    {`"redeliver=2"`, "from 0 to 1"},
		"redeliver=NaN":                  {`"redeliver=NaN"`},
		"kill":                           {`"kill"`, "30s"},
		"kill=30":                        {`"kill=30"`, "30s"},
		"kill=1ms":                       {`"kill=1ms"`, "less than 100ms"},
		"latency=-1s":                    {`"latency=-1s"`, "less than 0s"},
		"latency=1h":                     {`"latency=1h"`, "more than 1m"},
		"status=503":                     {`"status=503"`, "503:0.02"},
		"status=200:0.1":                 {"300 to 599"},
		"status=abc:0.1":                 {"300 to 599"},
		"status=503:1":                   {"from 0 to 0.9"},
		"status=503:0.5,status=500:0.5":  {`"status=500:0.5"`, "0.9"},
		"status=503:0.1,status=503:0.1":  {`"status=503:0.1"`, "twice"},
		"kill=1s,kill=2s":                {`"kill=2s"`, "twice"},
		"seed=-1":                        {`"seed=-1"`, "whole number"},
		"broker=0s":                      {`"broker=0s"`},
		"redeliver=0.05,kill=30s,seed=x": {`"seed=x"`},
	} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", text, err, w)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("redeliver=0.05,kill=30s,latency=200ms,status=503:0.02,broker=60s,seed=7")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(p.String()); err != nil || !cmp.Equal(p, again) {
			t.Errorf("%q is written as %s, which is read as %+v, %v", text, p, again, err)
		}
	})
}

// function counts what it is delivered.
type function struct {
	mu   sync.Mutex
	seen map[string]int // deliveries by id
	body map[string]string
	at   map[string][]time.Time
}

func newFunction() *function {
	return &function{seen: make(map[string]int), body: make(map[string]string), at: make(map[string][]time.Time)}
}

func (f *function) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := req.Header.Get("Ce-Id")
	f.seen[id]++
	f.body[id] += string(data)
	f.at[id] = append(f.at[id], time.Now())
	return answer(req, http.StatusAccepted), nil
}

// deliver delivers event n once and returns the status.
func deliver(t *testing.T, rt http.RoundTripper, n int, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://f/", strings.NewReader(fmt.Sprint("body ", n)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Ce-Id": {fmt.Sprint(n)}, "Ce-Type": {"t"}}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// recorder keeps faults.
type recorder struct {
	mu     sync.Mutex
	faults []Fault
}

func (r *recorder) record(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, f)
}

// strike delivers n events, each until it is taken, under a plan, and returns
// what was done.
func strike(t *testing.T, plan Plan, n int) (*function, []Fault, *Chaos) {
	t.Helper()
	f, r := newFunction(), &recorder{}
	c := New(Config{Plan: plan, Record: r.record})
	rt := c.Transport("s", f)
	c.Start()
	for i := range n {
		for deliver(t, rt, i) != http.StatusAccepted {
		}
	}
	c.Stop()
	return f, r.faults, c
}

func TestDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		plan := Plan{Redeliver: 0.1, Latency: 200 * time.Millisecond, Status: []Status{{503, 0.1}, {404, 0.1}}, Seed: 7}
		f, faults, c := strike(t, plan, n)
		kinds := map[string]int64{}
		refusedBefore, lostAnswers := 0, 0
		for _, x := range faults {
			kinds[x.Kind]++
			if strings.HasSuffix(x.Detail, "not delivered") {
				refusedBefore++
			} else if strings.Contains(x.Detail, "in place of 202") {
				lostAnswers++
			}
			if x.Where != "s" || !strings.HasPrefix(x.Event, "t ") || x.Time.IsZero() {
				t.Fatalf("fault %+v", x)
			}
		}
		if diff := cmp.Diff(kinds, c.Counts()); diff != "" {
			t.Errorf("counts (-recorded +counted):\n%s", diff)
		}
		near := func(what string, got, want int) {
			t.Helper()
			if got < want*8/10 || got > want*12/10 {
				t.Errorf("%s: %d, want about %d", what, got, want)
			}
		}
		near("redelivered", int(kinds["redeliver"]), n/10)
		near("answered with an error", int(kinds["status"]), n/4) // a fifth of the attempts, of which there are a quarter more
		near("before", refusedBefore, n/8)
		near("after", lostAnswers, n/8)
		deliveries, later := 0, 0
		for i := range n {
			id := fmt.Sprint(i)
			deliveries += f.seen[id]
			if want := strings.Repeat("body "+id, f.seen[id]); f.body[id] != want {
				t.Fatalf("event %s: body %q, want %q", id, f.body[id], want)
			}
			if at := f.at[id]; len(at) > 1 && at[len(at)-1].Sub(at[0]) > 300*time.Millisecond {
				later++
			}
		}
		if want := n + int(kinds["redeliver"]) + lostAnswers; deliveries != want {
			t.Errorf("%d deliveries, want %d: one of each event, and one for each redelivery and each lost answer", deliveries, want)
		}
		if later == 0 {
			t.Error("no redelivery came later")
		}
	})
}

func TestFaultInALine(t *testing.T) {
	for want, f := range map[string]Fault{
		"kill enrich-0":                    {Kind: "kill", Where: "enrich-0"},
		"broker: restarted, away for 2.1s": {Kind: "broker", Detail: "restarted, away for 2.1s"},
		"latency default/enrich t 1: 20ms": {Kind: "latency", Where: "default/enrich", Event: "t 1", Detail: "20ms"},
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSeed: the same seed strikes the same events, another seed others.
func TestSeed(t *testing.T) {
	events := func(seed uint64) map[string]int {
		struck := make(map[string]int)
		synctest.Test(t, func(t *testing.T) {
			_, faults, _ := strike(t, Plan{Redeliver: 0.1, Status: []Status{{503, 0.2}}, Seed: seed}, 500)
			for _, f := range faults {
				struck[f.Kind+" "+f.Event]++
			}
		})
		return struck
	}
	seven := events(7)
	if diff := cmp.Diff(seven, events(7)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if cmp.Equal(seven, events(8)) {
		t.Error("another seed strikes the same events")
	}
}

// TestLeftAlone: before Start, after Stop, what is no event, and what goes to a
// dead letter sink.
func TestLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFunction()
		c := New(Config{Plan: Plan{Redeliver: 1, Latency: time.Second, Status: []Status{{503, 0.9}}}})
		rt := c.Transport("s", f)
		begin, n := time.Now(), 0
		clean := func(header ...string) {
			for range 50 {
				n++
				if status := deliver(t, rt, n, header...); status != http.StatusAccepted {
					t.Fatalf("answered %d", status)
				}
			}
		}
		clean()
		c.Start()
		clean("Ce-Knativeerrordest", "http://f/")
		c.Stop()
		clean()
		c.Stop()
		for id, times := range f.seen {
			if times != 1 {
				t.Errorf("event %s was delivered %d times", id, times)
			}
		}
		if time.Since(begin) > 0 || len(c.Counts()) > 0 {
			t.Errorf("took %v, faults %v", time.Since(begin), c.Counts())
		}
	})
}

// TestKills: victims are drawn from the seed, at about the mean distance.
func TestKills(t *testing.T) {
	run := func() (order []string) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			victims := func() (list []Victim) {
				for _, name := range []string{"c", "a", "b", "dead"} {
					list = append(list, Victim{Name: name, Kill: func() error {
						mu.Lock()
						defer mu.Unlock()
						if name == "dead" {
							return errors.New("has ended")
						}
						order = append(order, name)
						return nil
					}})
				}
				return list
			}
			var restarts []time.Duration
			r := &recorder{}
			c := New(Config{
				Plan: Plan{Kill: time.Second, Broker: 10 * time.Second, Seed: 3}, Victims: victims, Record: r.record,
				RestartBroker: func(ctx context.Context, down time.Duration) error {
					time.Sleep(down)
					restarts = append(restarts, down)
					return ctx.Err()
				},
			})
			c.Start()
			time.Sleep(100 * time.Second)
			c.Stop()
			killed := len(order)
			time.Sleep(time.Minute)
			if killed < 50 || killed > 110 || len(order) != killed {
				t.Errorf("%d kills in 100 s, %d in the end", killed, len(order))
			}
			for _, f := range r.faults { // nothing records any more
				if f.Kind == "broker" && !strings.HasPrefix(f.String(), "broker: restarted, away for ") {
					t.Errorf("a restart is told as %q", f)
				}
			}
			if n := len(restarts); n < 6 || n > 14 {
				t.Errorf("%d restarts in 100 s", n)
			}
			if counts := c.Counts(); counts["kill"] != int64(killed) || counts["broker"] != int64(len(restarts)) {
				t.Errorf("counts %v", counts)
			}
		})
		return order
	}
	first := run()
	if diff := cmp.Diff(first, run()); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	for _, name := range []string{"a", "b", "c"} {
		if !strings.Contains(strings.Join(first, ""), name) {
			t.Errorf("%s was never killed", name)
		}
	}
}
