package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"datasurge/emulator/golden"
	"datasurge/knative"
)

// until sleeps in steps of a probe until ok; the bubble's clock is fake.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(probeUnready) {
		if time.Since(begin) > time.Hour {
			t.Fatalf("after an hour not: %s", what)
		}
	}
}

func ready(s *Service) int { _, n, _ := s.Counts(); return n }

// direct is a service without the activator in its path, once an instance is
// ready.
func direct(s knative.Service) knative.Service {
	s.Autoscaling.BurstCapacity = new(0.0)
	return s
}

// TestRequestTimeout: an answer that does not come in timeoutSeconds is 504.
func TestRequestTimeout(t *testing.T) {
	golden.Row(t, 33, golden.FromSourceReading)
	timeout := knative.Service{Timeout: 60 * time.Second}
	for text, spec := range map[string]knative.Service{"activator request timeout": timeout, "request timeout": direct(timeout)} {
		fake(t, &fakeMachine{}, spec, func(t *testing.T, s *Service, _ *recorder) {
			until(t, "ready", func() bool { return ready(s) == 1 })
			for _, c := range []struct {
				sleep time.Duration
				want  reply
			}{
				{0, reply{200, "1", 0}},
				{59 * time.Second, reply{200, "1", 59 * time.Second}},
				{61 * time.Second, reply{504, text, 60 * time.Second}},
			} {
				if got := send(t, s, c.sleep); got != c.want {
					t.Errorf("a request of %v: %v after %v, want %v after %v", c.sleep, got, got.took, c.want, c.want.took)
				}
			}
		})
	}
}

// TestAnswerBreaksOff: an answer that has begun is cut at timeoutSeconds.
func TestAnswerBreaksOff(t *testing.T) {
	fake(t, &fakeMachine{}, knative.Service{Timeout: 10 * time.Second}, func(t *testing.T, s *Service, _ *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			context.AfterFunc(req.Context(), func() { w.CloseWithError(context.Cause(req.Context())) })
			return &http.Response{StatusCode: 200, Body: r}, nil
		})
		begin := time.Now()
		resp, err := s.RoundTrip(base, httptest.NewRequest("GET", "http://f/", nil), "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, errActivatorTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("the body ends with %v after %v", err, time.Since(begin))
		}
		resp.Body.Close()
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestConcurrency: containerConcurrency requests at a time. Without the activator
// ten times as many wait in order, and one more is 503.
func TestConcurrency(t *testing.T) {
	golden.Row(t, 33, golden.FromSourceReading)
	m := new(fakeMachine)
	fake(t, m, direct(knative.Service{Concurrency: 2, MaxScale: 1}), func(t *testing.T, s *Service, _ *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		got := make(map[string]int)
		for r := range sendAll(t, s, 2+20+3, time.Second) {
			got[fmt.Sprint(r.status, " after ", r.took, ": ", strings.TrimSpace(r.body))]++
		}
		want := map[string]int{"503 after 0s: pending request queue full": 3}
		for i := range 11 {
			want[fmt.Sprint("200 after ", time.Duration(i+1)*time.Second, ": 1")] = 2
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if p := m.all()[0]; p.most != 2 || p.served != 22 {
			t.Errorf("%d at a time, want 2; %d served, want 22", p.most, p.served)
		}
	})
}

// TestActivatorQueue: with the activator in the path there is one queue for all
// instances, also while none is ready, and it is long.
func TestActivatorQueue(t *testing.T) {
	golden.Row(t, 33, golden.FromSourceReading)
	m := &fakeMachine{startup: 3 * time.Second}
	fake(t, m, knative.Service{Concurrency: 2, MinScale: 2, MaxScale: 2}, func(t *testing.T, s *Service, _ *recorder) {
		for round, begin := range []time.Duration{3 * time.Second, 0} {
			got := make(map[time.Duration]int)
			for r := range sendAll(t, s, 100, time.Second) {
				if r.status != 200 {
					t.Fatalf("%v", r)
				}
				got[r.took.Round(time.Second)-begin]++
			}
			for second := range 25 {
				if n := got[time.Duration(second+1)*time.Second]; n != 4 {
					t.Errorf("round %d: %d answers after %d s, want 4: two of each instance", round, n, second+1)
				}
			}
		}
		for _, p := range m.all() {
			if p.most != 2 || p.served != 100 {
				t.Errorf("%d at a time, want 2; %d served, want 100", p.most, p.served)
			}
		}
		s.mu.Lock()
		s.mu.line = make(line, activatorQueue)
		for _, in := range s.mu.current.ready {
			in.active = 2
		}
		s.mu.Unlock()
		if got := send(t, s, 0); got.String() != "503 pending request queue full\n" {
			t.Errorf("with a full queue: %v", got)
		}
	})
}

// TestTimeoutInQueue: waiting counts. One that has given up leaves its place.
func TestTimeoutInQueue(t *testing.T) {
	golden.Row(t, 33, golden.FromSourceReading)
	fake(t, &fakeMachine{}, knative.Service{Concurrency: 1, MaxScale: 1, Timeout: 10 * time.Second}, func(t *testing.T, s *Service, _ *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		var got []string
		for r := range sendAll(t, s, 4, 4*time.Second) {
			got = append(got, fmt.Sprint(r, " after ", r.took))
		}
		// The third begins at 8 s and is cut at 10 s; the fourth is, while it waits.
		slices.Sort(got)
		want := []string{"200 1 after 4s", "200 1 after 8s", "504 activator request timeout after 10s", "504 activator request timeout after 10s"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := send(t, s, 0); got.String() != "200 1" || got.took != 0 {
			t.Errorf("afterwards: %v after %v", got, got.took)
		}
	})
}

// TestClientGone: a request whose client has gone away gives its place to the
// next.
func TestClientGone(t *testing.T) {
	fake(t, &fakeMachine{}, knative.Service{Concurrency: 1, MaxScale: 1}, func(t *testing.T, s *Service, _ *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		gone := errors.New("gone")
		begin := time.Now()
		for _, after := range []time.Duration{5 * time.Second, time.Second} { // under way, and waiting
			ctx, cancel := context.WithTimeoutCause(t.Context(), after, gone)
			defer cancel()
			req := httptest.NewRequestWithContext(ctx, "GET", "http://f/", nil)
			req.Header.Set("Sleep", "1h")
			go func() {
				if _, err := s.RoundTrip(s.machine, req, "/"); !errors.Is(err, gone) {
					t.Errorf("RoundTrip: %v", err)
				}
			}()
			synctest.Wait()
		}
		if got := send(t, s, 0); got.status != 200 || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", got, time.Since(begin))
		}
	})
}

// TestRefused: a process that does not answer is 502.
func TestRefused(t *testing.T) {
	golden.Row(t, 33, golden.FromSourceReading)
	m := new(fakeMachine)
	fake(t, m, knative.Service{}, func(t *testing.T, s *Service, r *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		first := m.all()[0]
		replies := sendAll(t, s, 1, time.Minute)
		first.exit(errors.New("exit status 1"))
		if got := <-replies; got.status != 502 || !strings.Contains(got.body, "service f does not answer: connection reset") {
			t.Errorf("a request that is under way when the process dies: %v", got)
		}
		synctest.Wait() // until it is noticed, it would get the next one too
		if got := send(t, s, 0); got.status != 200 || got.body != "2" {
			t.Errorf("the next: %v", got)
		}
		refuse := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errRefused })
		resp, err := s.RoundTrip(refuse, httptest.NewRequest("GET", "http://f/", nil), "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 502 {
			t.Errorf("refused: %s", resp.Status)
		}
	})
}

// TestColdStart: a request waits for readiness, and none comes before; 504 when
// it is not ready in timeoutSeconds.
func TestColdStart(t *testing.T) {
	golden.Row(t, 34, golden.FromSourceReading)
	probes := 0
	m := &fakeMachine{startup: 4 * time.Second}
	m.handle = func(p *fakeProcess, w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/readyz" {
			if probes++; time.Since(p.started) < 12*time.Second {
				w.WriteHeader(503)
			}
			return
		}
		if since := time.Since(p.started); since < 12*time.Second {
			t.Errorf("a request %v after the start", since)
		}
		if req.URL.String() != "http://127.0.0.1:"+p.env["PORT"]+"/path?q=1" {
			t.Errorf("request for %s", req.URL)
		}
		w.WriteHeader(202)
	}
	fake(t, m, knative.Service{ReadyPath: "/readyz", Timeout: 60 * time.Second}, func(t *testing.T, s *Service, r *recorder) {
		got := send(t, s, 0)
		if got.status != 202 || got.took < 12*time.Second || got.took > 12*time.Second+probeUnready {
			t.Errorf("%v after %v", got, got.took)
		}
		if probes < 90 {
			t.Errorf("%d probes in 5 s, want one every 50 ms", probes)
		}
		if r.count(&r.events, "nothing listens at 127.0.0.1:20001: it has to listen on the port that the variable PORT names") != 0 {
			t.Error("it is said before 5 s")
		}
	})
	fake(t, &fakeMachine{startup: 7 * time.Second}, knative.Service{}, func(t *testing.T, s *Service, r *recorder) {
		if got := send(t, s, 0); got.status != 200 || got.took < 7*time.Second || got.took > 7*time.Second+probeUnready {
			t.Errorf("by TCP: %v after %v", got, got.took)
		}
	})
	fake(t, &fakeMachine{startup: forever}, knative.Service{Timeout: 30 * time.Second}, func(t *testing.T, s *Service, r *recorder) {
		if got := send(t, s, 0); got.String() != "504 activator request timeout" || got.took != 30*time.Second {
			t.Errorf("%v after %v", got, got.took)
		}
		if n := r.count(&r.events, "function is not ready yet"); n != 1 || r.count(&r.events, "nothing listens at 127.0.0.1:20001: it has to listen on the port that the variable PORT names") != 1 {
			t.Errorf("said %d times: %q", n, r.events)
		}
	})
}

// TestUpdate: the new revision takes over when it is ready; the old one ends what
// it has begun, and then gets SIGTERM.
func TestUpdate(t *testing.T) {
	golden.Row(t, 35, golden.FromSourceReading)
	m := &fakeMachine{startup: 3 * time.Second}
	fake(t, m, knative.Service{}, func(t *testing.T, s *Service, r *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		slow := sendAll(t, s, 1, 20*time.Second)
		s.Update(fakeConfig(knative.Service{}, r))
		synctest.Wait()
		begin := time.Now()
		for time.Since(begin) < 3*time.Second {
			if got := send(t, s, 0); got.body != "1" {
				t.Fatalf("before the new one is ready: %v", got)
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(probeUnready)
		if got := send(t, s, 0); got.body != "2" {
			t.Fatalf("after it is: %v", got)
		}
		old, new := m.all()[0], m.all()[1]
		if !old.alive() || !old.termed.IsZero() || s.Revision() != "f-00002" {
			t.Error("the old one has not been let end its request")
		}
		if old.env["K_REVISION"] != "f-00001" || new.env["K_REVISION"] != "f-00002" || new.env["K_CONFIGURATION"] != "f" {
			t.Errorf("environments %v and %v", old.env, new.env)
		}
		if got := <-slow; got.String() != "200 1" || got.took != 20*time.Second {
			t.Errorf("%v after %v", got, got.took)
		}
		<-old.ended
		if took := time.Since(begin).Round(time.Second); took != 33*time.Second {
			t.Errorf("the old one is there for %v, want 3 s and then 30 s in which it drains", took)
		}
		synctest.Wait()
		if old.termed != old.exited || old.served != 7 {
			t.Errorf("the old one: SIGTERM %v, end %v, %d requests", old.termed, old.exited, old.served)
		}
		if r.count(&r.events, "takes over") != 1 {
			t.Errorf("events %q", r.events)
		}
		if _, _, restarts := s.Counts(); restarts != 0 {
			t.Errorf("%d restarts", restarts)
		}
	})
}

// TestGrace: SIGTERM comes after 30 s without a new request, whether those before
// have ended or not; a process that does not end is killed timeoutSeconds after it
// began to drain.
func TestGrace(t *testing.T) {
	golden.Row(t, 35, golden.FromSourceReading)
	const s = time.Second
	for _, c := range []struct {
		name         string
		timeout      time.Duration
		sleep        time.Duration // of the request under way
		ignore       bool
		termed, ends time.Duration // after the new one has taken over
	}{
		{"idle", 60 * s, 0, false, 30 * s, 30 * s},
		{"ignores SIGTERM", 60 * s, 0, true, 30 * s, 60 * s},
		{"ignores SIGTERM after a request", 60 * s, 10 * s, true, 30 * s, 60 * s},
		{"a request that is longer", 60 * s, 40 * s, false, 30 * s, 40 * s},
		{"a request without end", 60 * s, time.Hour, false, 30 * s, 60 * s},
		{"less grace than the pause", 10 * s, 0, false, 10 * s, 10 * s},
		{"and a process that ignores SIGTERM", 10 * s, 0, true, 10 * s, 12 * s},
	} {
		m := &fakeMachine{ignoreTerm: c.ignore}
		fake(t, m, knative.Service{Timeout: c.timeout}, func(t *testing.T, s *Service, r *recorder) {
			until(t, "ready", func() bool { return ready(s) == 1 })
			old := m.all()[0]
			var replies <-chan reply
			if c.sleep > 0 {
				replies = sendAll(t, s, 1, c.sleep)
			}
			s.Update(fakeConfig(knative.Service{}, r))
			until(t, "taken over", func() bool { return s.Revision() == "f-00002" })
			begin := time.Now()
			<-old.ended
			if got := old.termed.Sub(begin).Round(time.Second); got != c.termed {
				t.Errorf("%s: SIGTERM after %v, want %v", c.name, got, c.termed)
			}
			if got := old.exited.Sub(begin).Round(time.Second); got != c.ends {
				t.Errorf("%s: ended after %v, want %v", c.name, got, c.ends)
			}
			if replies != nil {
				<-replies // whatever it is: the sender ends before the test
			}
			if killed := r.count(&r.events, "did not stop in time and is killed") == 1; killed != (c.ignore || c.sleep == time.Hour) {
				t.Errorf("%s: killed %v; %q", c.name, killed, r.events)
			}
		})
	}
}

// TestGivenUp: a revision that does not become ready is replaced by the next, and
// never gets a request.
func TestGivenUp(t *testing.T) {
	m := new(fakeMachine)
	fake(t, m, knative.Service{}, func(t *testing.T, s *Service, r *recorder) {
		until(t, "ready", func() bool { return ready(s) == 1 })
		bad := fakeConfig(knative.Service{}, r)
		bad.Command = []string{"none"}
		s.Update(bad)
		time.Sleep(time.Minute)
		if got := send(t, s, 0); got.body != "1" || s.Revision() != "f-00001" {
			t.Errorf("%v from %s", got, s.Revision())
		}
		if n := r.count(&r.events, "the new revision does not start"); n != 1 {
			t.Errorf("said %d times: %q", n, r.events)
		}
		if r.count(&r.events, "none cannot be started: no such file") < 2 {
			t.Errorf("no reason: %q", r.events)
		}
		s.Update(fakeConfig(knative.Service{}, r))
		until(t, "taken over", func() bool { return s.Revision() == "f-00003" })
		if got := send(t, s, 0); got.body != "2" {
			t.Errorf("%v", got)
		}
		r.mu.Lock()
		said := len(r.events)
		r.mu.Unlock()
		time.Sleep(time.Minute)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.events) != said {
			t.Errorf("the one that was given up goes on: %q", r.events[said:])
		}
	})
}

// TestSpread: all instances get events of one key, spread as by the activator, or
// as by the network without it.
func TestSpread(t *testing.T) {
	golden.Row(t, 36, golden.FromSourceReading)
	const instances = 3
	always := knative.Autoscaling{BurstCapacity: new(-1.0)}
	for _, c := range []struct {
		name     string
		spec     knative.Service
		requests int
		sleep    time.Duration // the requests are under way at once
		want     string        // how many each gets, the fewest first; "" for anything with some
	}{
		{"the network draws", direct(knative.Service{}), 300, 0, ""},
		{"the less busy of two", knative.Service{Autoscaling: always}, 300, 0, ""},
		{"the first with room", knative.Service{Autoscaling: always, Concurrency: 3}, 30, 0, "[0 0 30]"},
		{"and then the next", knative.Service{Autoscaling: always, Concurrency: 3}, 7, time.Second, "[1 3 3]"},
		{"round robin", knative.Service{Autoscaling: always, Concurrency: 4}, 30, 0, "[10 10 10]"},
		{"round robin, those with room", knative.Service{Autoscaling: always, Concurrency: 4}, 12, time.Second, "[4 4 4]"},
	} {
		m := new(fakeMachine)
		c.spec.MinScale, c.spec.MaxScale = instances, instances
		fake(t, m, c.spec, func(t *testing.T, s *Service, _ *recorder) {
			until(t, "ready", func() bool { return ready(s) == instances })
			if c.sleep == 0 {
				for range c.requests {
					send(t, s, 0)
				}
			} else {
				for r := range sendAll(t, s, c.requests, c.sleep) {
					if r.took != c.sleep {
						t.Errorf("%s: it waited: %v", c.name, r.took)
					}
				}
			}
			var served []int
			for _, p := range m.all() {
				served = append(served, p.served)
			}
			slices.Sort(served)
			if got := fmt.Sprint(served); c.want != "" && got != c.want || served[0] == 0 && c.want == "" {
				t.Errorf("%s: %s of %d requests, want %s", c.name, got, c.requests, c.want)
			}
		})
	}
	// Of two, the less busy is always seen.
	m := new(fakeMachine)
	fake(t, m, knative.Service{MinScale: 2, MaxScale: 2}, func(t *testing.T, s *Service, _ *recorder) {
		until(t, "ready", func() bool { return ready(s) == 2 })
		for range sendAll(t, s, 30, time.Second) {
		}
		for _, p := range m.all() {
			if p.most != 15 {
				t.Errorf("instance %d has %d requests at a time, want half of 30", p.number, p.most)
			}
		}
	})
}

// TestScaleToZero: 60 s without a request and 30 s of grace, then what is in
// memory is gone. The next request starts an instance and waits for it.
func TestScaleToZero(t *testing.T) {
	golden.Row(t, 37, golden.FromSourceReading)
	m := &fakeMachine{startup: 5 * time.Second}
	zero := func(min int) (at time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			m.t, m.handle, m.processes = t, sleeper, nil
			r := new(recorder)
			cfg := fakeConfig(knative.Service{MinScale: min}, r)
			cfg.ScaleToZero = true
			s := startOn(m, cfg)
			defer s.Close(t.Context())
			if got := send(t, s, 0); got.body != "1" {
				t.Errorf("%v", got)
			}
			begin := time.Now()
			for s.Size() > 0 && time.Since(begin) < time.Hour {
				time.Sleep(time.Second)
			}
			if at = time.Since(begin); at == time.Hour {
				return
			}
			time.Sleep(time.Hour)
			if running, _, _ := s.Counts(); running != 0 {
				t.Errorf("%d processes after the scale to zero", running)
			}
			if got := send(t, s, 0); got.body != "2" || got.took < 5*time.Second || got.took > 6*time.Second {
				t.Errorf("cold start: %v after %v", got, got.took)
			}
			// It stays while there is a request now and then.
			for range 20 {
				time.Sleep(50 * time.Second)
				if got := send(t, s, 0); got.body != "2" {
					t.Errorf("%v", got)
				}
			}
		})
		return at
	}
	if at := zero(0); at < 90*time.Second || at > 90*time.Second+2*tick {
		t.Errorf("scaled to zero after %v, want 60 s + 30 s", at)
	}
	if at := zero(1); at != time.Hour {
		t.Errorf("with min-scale 1, scaled to zero after %v", at)
	}
	// It is off unless it is asked for.
	fake(t, &fakeMachine{}, knative.Service{}, func(t *testing.T, s *Service, _ *recorder) {
		send(t, s, 0)
		time.Sleep(time.Hour)
		if s.Size() != 1 || ready(s) != 1 {
			t.Errorf("%d instances", s.Size())
		}
	})
}

// TestScale: the number of instances follows the load, between min-scale and
// max-scale.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		name string
		spec knative.Service
		load int // requests at a time
		want int
	}{
		{"no load", knative.Service{MaxScale: 4}, 0, 1},
		{"the target is 70", knative.Service{MaxScale: 4}, 70, 1},
		{"above it", knative.Service{MaxScale: 4}, 71, 2},
		{"twice", knative.Service{MaxScale: 4}, 141, 3},
		{"max-scale", knative.Service{MaxScale: 4}, 300, 4},
		{"no max-scale", knative.Service{}, 150, 3},
		{"no max-scale, min-scale", knative.Service{MinScale: 2}, 150, 3},
		{"min-scale", knative.Service{MinScale: 2, MaxScale: 4}, 1, 2},
		{"containerConcurrency", knative.Service{MaxScale: 9, Concurrency: 10}, 30, 5}, // 30 / 7
	} {
		fake(t, &fakeMachine{}, c.spec, func(t *testing.T, s *Service, _ *recorder) {
			stop := make(chan struct{})
			for range c.load {
				go func() {
					for {
						select {
						case <-stop:
							return
						default:
							send(t, s, 10*time.Second)
						}
					}
				}()
			}
			time.Sleep(3 * time.Minute)
			if got := s.Size(); got != c.want || ready(s) != c.want {
				t.Errorf("%s: %d instances, %d ready, want %d", c.name, got, ready(s), c.want)
			}
			close(stop)
			time.Sleep(5 * time.Minute)
			if got := s.Size(); got != max(1, c.spec.MinScale) {
				t.Errorf("%s: %d instances after the load", c.name, got)
			}
		})
	}
}
