package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"datasurge/knative"
)

// fakeMachine runs processes that are a handler, in fake time.
type fakeMachine struct {
	t *testing.T
	// startup is how long a process starts until it listens; forever is never.
	startup time.Duration
	// handle answers a request.
	handle func(p *fakeProcess, w http.ResponseWriter, req *http.Request)
	// ignoreTerm: SIGTERM does nothing.
	ignoreTerm bool

	mu        sync.Mutex
	last      int
	processes []*fakeProcess // all there have been
}

const forever = 1000 * time.Hour

// fakeProcess is a process of a fakeMachine.
type fakeProcess struct {
	m       *fakeMachine
	number  int // from 1
	env     map[string]string
	started time.Time
	ended   chan struct{}
	once    sync.Once

	mu     sync.Mutex
	active int
	served int
	most   int       // that were active at a time
	termed time.Time // when SIGTERM came
	killed time.Time
	exited time.Time
	err    error
}

func (m *fakeMachine) port() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	return 20000 + m.last, nil
}

func (m *fakeMachine) start(command, environment []string, output io.Writer) (process, error) {
	if command[0] == "none" {
		return nil, errors.New("no such file")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &fakeProcess{m: m, number: len(m.processes) + 1, env: make(map[string]string), started: time.Now(), ended: make(chan struct{})}
	for _, v := range environment {
		name, value, _ := strings.Cut(v, "=")
		p.env[name] = value
	}
	fmt.Fprintf(output, "process %d\n", p.number)
	m.processes = append(m.processes, p)
	return p, nil
}

func (m *fakeMachine) process(address string) *fakeProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		m.t.Errorf("request to %q", address)
		return nil
	}
	i := slices.IndexFunc(m.processes, func(p *fakeProcess) bool { return p.env["PORT"] == port && p.alive() })
	if i < 0 {
		return nil
	}
	return m.processes[i]
}

// all are the processes that there have been.
func (m *fakeMachine) all() []*fakeProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.processes)
}

func (m *fakeMachine) listens(address string) bool {
	p := m.process(address)
	return p != nil && p.listening()
}

var errRefused = errors.New("connection refused")

// RoundTrip calls the handler of the process at the request's address.
func (m *fakeMachine) RoundTrip(req *http.Request) (*http.Response, error) {
	p := m.process(req.URL.Host)
	if p == nil {
		return nil, errRefused
	}
	if !p.listening() {
		return nil, errRefused
	}
	p.mu.Lock()
	p.active++
	p.most = max(p.most, p.active)
	p.mu.Unlock()
	w, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		m.handle(p, w, req)
		p.mu.Lock()
		p.active--
		p.served++
		idle := p.active == 0 && !p.termed.IsZero()
		p.mu.Unlock()
		if idle && !m.ignoreTerm {
			p.exit(nil)
		}
	}()
	select {
	case <-done:
		return w.Result(), nil
	case <-p.ended:
		return nil, errors.New("connection reset")
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
}

func (p *fakeProcess) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *fakeProcess) listening() bool {
	return p.alive() && time.Since(p.started) >= p.m.startup
}

func (p *fakeProcess) exit(err error) {
	p.once.Do(func() {
		p.mu.Lock()
		p.exited, p.err = time.Now(), err
		p.mu.Unlock()
		close(p.ended)
	})
}

func (p *fakeProcess) pid() int { return p.number }

// terminate ends the process when its last request has been answered.
func (p *fakeProcess) terminate() {
	p.mu.Lock()
	p.termed = time.Now()
	idle := p.active == 0
	p.mu.Unlock()
	if idle && !p.m.ignoreTerm {
		p.exit(nil)
	}
}

func (p *fakeProcess) kill() {
	p.mu.Lock()
	p.killed = time.Now()
	p.mu.Unlock()
	p.exit(errors.New("killed"))
}

func (p *fakeProcess) wait() error {
	<-p.ended
	return p.err
}

// fake runs fn in fake time with a service on a fake machine. Handlers sleep for
// the duration in the header Sleep, and answer with the process's number.
func fake(t *testing.T, m *fakeMachine, spec knative.Service, fn func(t *testing.T, s *Service, r *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m.t = t
		if m.handle == nil {
			m.handle = sleeper
		}
		r := new(recorder)
		s := startOn(m, fakeConfig(spec, r))
		fn(t, s, r)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Close(ctx)
		for _, p := range m.all() {
			if p.alive() {
				t.Errorf("process %d still runs", p.number)
			}
		}
	})
}

func fakeConfig(spec knative.Service, r *recorder) Config {
	spec.Name = "f"
	if spec.Timeout == 0 {
		spec.Timeout = 300 * time.Second
	}
	return Config{
		Service: &spec, Command: []string{"f"},
		Output: func(instance, line string) { r.note(&r.output, instance+": "+line) },
		Logger: slog.New(slog.NewTextHandler(&logWriter{r}, nil)),
	}
}

func sleeper(p *fakeProcess, w http.ResponseWriter, req *http.Request) {
	if d, err := time.ParseDuration(req.Header.Get("Sleep")); err == nil {
		select {
		case <-time.After(d):
		case <-p.ended:
		}
	}
	fmt.Fprint(w, p.number)
}

// reply is what a request got.
type reply struct {
	status int
	body   string
	took   time.Duration
}

func (r reply) String() string { return strconv.Itoa(r.status) + " " + r.body }

// send sends a request that takes so long.
func send(t *testing.T, s *Service, sleep time.Duration) reply {
	begin := time.Now()
	req := httptest.NewRequest(http.MethodPost, "http://f.default.svc.cluster.local/path?q=1", strings.NewReader("body"))
	req.Header.Set("Sleep", sleep.String())
	resp, err := s.RoundTrip(s.machine, req.WithContext(t.Context()), "/path")
	if err != nil {
		t.Errorf("RoundTrip: %v", err)
		return reply{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("body: %v", err)
	}
	return reply{resp.StatusCode, string(b), time.Since(begin)}
}

// sendAll sends n requests at once, and returns the answers in the order in which
// they come.
func sendAll(t *testing.T, s *Service, n int, sleep time.Duration) <-chan reply {
	replies := make(chan reply, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() { replies <- send(t, s, sleep) })
		synctest.Wait() // so that they come in order
	}
	go func() {
		all.Wait()
		close(replies)
	}()
	return replies
}
