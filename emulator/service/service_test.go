package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"datasurge/emulator/golden"
	"datasurge/knative"
)

// TestMain is also the function that the tests run: with BEHAVIOUR set, the test
// binary behaves so.
func TestMain(m *testing.M) {
	switch b := os.Getenv("BEHAVIOUR"); b {
	case "":
		os.Exit(golden.Main(m))
	case "die":
		fmt.Fprintln(os.Stderr, "cannot go on")
		os.Exit(3)
	default:
		function(b)
	}
}

// function listens on PORT; GET / answers its environment, /readyz whether it is
// ready: while the file named by UNREADY is not there.
func function(behaviour string) {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(9)
	}()
	port := os.Getenv("PORT")
	if behaviour == "wrong port" {
		port = "0"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Join(os.Environ(), "\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(os.Getenv("UNREADY")); err == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /die", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		os.Exit(5)
	}
	go http.Serve(l, mux)
	fmt.Println("listening")
	<-terms
	fmt.Print("stopping") // a last line without an end
	if behaviour == "ignore SIGTERM" {
		select {}
	}
	os.Exit(0)
}

// recorder collects what a service tells.
type recorder struct {
	mu     sync.Mutex
	output []string
	events []string
}

func (r *recorder) note(list *[]string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, text)
}

func (r *recorder) count(list *[]string, text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range *list {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func start(t *testing.T, behaviour string, s knative.Service, env map[string]string) (*Service, *recorder) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if s.Name == "" {
		s.Name = "f"
	}
	if s.Timeout == 0 {
		s.Timeout = 300 * time.Second
	}
	s.Env = append(s.Env, knative.EnvVar{Name: "BEHAVIOUR", Value: behaviour}, knative.EnvVar{Name: "OVER", Value: "manifest"})
	r := new(recorder)
	svc := Start(Config{
		Service:     &s,
		Command:     []string{exe},
		Env:         env,
		InstanceEnv: func(id string) map[string]string { return map[string]string{"ASKED_FOR": id} },
		Started:     func(in Instance) { r.note(&r.events, "started "+in.ID) },
		Ended:       func(in Instance) { r.note(&r.events, "ended "+in.ID) },
		Ready:       func(in Instance, ready bool) { r.note(&r.events, fmt.Sprintf("ready %v %s", ready, in.ID)) },
		Output:      func(instance, line string) { r.note(&r.output, instance+": "+line) },
		Logger:      slog.New(slog.NewTextHandler(&logWriter{r}, nil)),
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		svc.Close(ctx)
	})
	return svc, r
}

type logWriter struct{ r *recorder }

func (w *logWriter) Write(p []byte) (int, error) {
	w.r.note(&w.r.events, "log "+string(p))
	return len(p), nil
}

// eventually waits until ok, which processes have to bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("after 20 s: not %s", what)
		}
	}
}

// acquire waits until an instance is ready and returns its address.
func acquire(t *testing.T, s *Service) string {
	t.Helper()
	eventually(t, "ready", func() bool { _, ready, _ := s.Counts(); return ready > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.current.ready[0].URL
}

// roundTrip sends a request to the service over TCP.
func roundTrip(ctx context.Context, t *testing.T, s *Service, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://f"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.RoundTrip(http.DefaultTransport, req, path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEnvironment(t *testing.T) {
	golden.Row(t, 32, golden.FromSourceReading)
	t.Setenv("KAFKA_BROKERS", "the user's own")
	s, r := start(t, "serve", knative.Service{Object: knative.Object{Name: "enrich"}}, map[string]string{"OVER": "ours"})
	url := acquire(t, s)
	in := s.Instances()[0]
	env := strings.Split(get(t, url), "\n")
	for _, want := range []string{
		"PORT=" + url[strings.LastIndexByte(url, ':')+1:],
		"K_SERVICE=enrich", "K_CONFIGURATION=enrich", "K_REVISION=enrich-00001",
		"POD_IP=127.0.0.1", "INSTANCE_ID=" + in.ID, "ASKED_FOR=" + in.ID, "OVER=ours", "PATH=" + os.Getenv("PATH"),
	} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "KAFKA_BROKERS=") }) {
		t.Error("a variable of the user came through")
	}
	if url != in.URL || in.Label != "enrich" || in.PID == 0 {
		t.Errorf("instance %+v at %s", in, url)
	}
	s.Close(t.Context())
	for _, want := range []string{"enrich: listening", "enrich: stopping"} {
		if r.count(&r.output, want) != 1 {
			t.Errorf("output is %q, want %q in it", r.output, want)
		}
	}
	if r.count(&r.events, "ended "+in.ID) != 1 || r.count(&r.events, "ready false") != 1 || len(s.Instances()) != 0 {
		t.Errorf("events %q", r.events)
	}
}

// TestInstances: min-scale processes, and requests spread over them.
func TestInstances(t *testing.T) {
	s, _ := start(t, "serve", knative.Service{MinScale: 3}, nil)
	eventually(t, "ready", func() bool { _, ready, _ := s.Counts(); return ready == 3 })
	seen := make(map[string]int)
	for range 100 {
		status, body := roundTrip(t.Context(), t, s, "/")
		if status != http.StatusOK {
			t.Fatal(status, body)
		}
		id := body[strings.Index(body, "INSTANCE_ID="):]
		id, _, _ = strings.Cut(id, "\n")
		seen[id]++
	}
	if len(seen) != 3 {
		t.Errorf("%d instances got requests, want 3", len(seen))
	}
	var labels []string
	for _, in := range s.Instances() {
		labels = append(labels, in.Label)
	}
	slices.Sort(labels)
	if !slices.Equal(labels, []string{"f-1", "f-2", "f-3"}) {
		t.Errorf("labels %q", labels)
	}
}

// TestRestart: a process that ends is started again, as another instance.
func TestRestart(t *testing.T) {
	s, r := start(t, "serve", knative.Service{}, nil)
	url := acquire(t, s)
	first := s.Instances()[0]
	if resp, err := http.Get(url + "/die"); err == nil {
		resp.Body.Close()
	}
	eventually(t, "ended", func() bool { return r.count(&r.events, "ended "+first.ID) == 1 })
	acquire(t, s)
	if second := s.Instances()[0]; second.ID == first.ID || second.PID == first.PID {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if _, _, restarts := s.Counts(); restarts != 1 {
		t.Errorf("%d restarts", restarts)
	}
	if r.count(&r.events, "exit status 4") != 1 {
		t.Errorf("log does not say why: %q", r.events)
	}
}

// TestDiesAtOnce: the message names the service and the reason, the pauses grow.
func TestDiesAtOnce(t *testing.T) {
	s, r := start(t, "die", knative.Service{}, nil)
	for _, want := range []string{"service=f reason=\"exit status 3\" in=500ms", "service=f reason=\"exit status 3\" in=1s"} {
		eventually(t, want, func() bool { return r.count(&r.events, want) == 1 })
	}
	if _, _, n := s.Counts(); n < 2 {
		t.Errorf("it counts as restarted %d times, want at least twice", n)
	}
	if r.count(&r.output, "f: cannot go on") < 2 {
		t.Errorf("output is %q", r.output)
	}
}

func TestNoSuchProgram(t *testing.T) {
	r := new(recorder)
	s := Start(Config{
		Service: &knative.Service{Object: knative.Object{Name: "f"}}, Command: []string{filepath.Join(t.TempDir(), "none")},
		Output: func(string, string) {}, Logger: slog.New(slog.NewTextHandler(&logWriter{r}, nil)),
	})
	eventually(t, "said", func() bool { return r.count(&r.events, "cannot be started") > 0 })
	s.Close(t.Context())
}

// TestIgnoresSIGTERM: it is killed when the time of grace is over.
func TestIgnoresSIGTERM(t *testing.T) {
	s, r := start(t, "ignore SIGTERM", knative.Service{}, nil)
	acquire(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	s.Close(ctx)
	if took := time.Since(begin); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
	if r.count(&r.events, "did not stop in time") != 1 || len(s.Instances()) != 0 {
		t.Errorf("events %q", r.events)
	}
}

// TestWrongPort: an instance that listens elsewhere never gets a request.
func TestWrongPort(t *testing.T) {
	s, r := start(t, "wrong port", knative.Service{}, nil)
	eventually(t, "up", func() bool { return r.count(&r.output, "listening") == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if status, body := roundTrip(ctx, t, s, "/"); status != 0 {
		t.Errorf("a request gets %d %s", status, body)
	}
}

// TestReadyPath: readiness follows the probe, both ways.
func TestReadyPath(t *testing.T) {
	unready := filepath.Join(t.TempDir(), "unready")
	if err := os.WriteFile(unready, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, r := start(t, "serve", knative.Service{ReadyPath: "/readyz"}, map[string]string{"UNREADY": unready})
	eventually(t, "up", func() bool { return r.count(&r.output, "listening") == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if status, body := roundTrip(ctx, t, s, "/"); status != 0 {
		t.Errorf("before it is ready, a request gets %d %s", status, body)
	}
	if err := os.Remove(unready); err != nil {
		t.Fatal(err)
	}
	acquire(t, s)
	if err := os.WriteFile(unready, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "unready", func() bool { _, ready, _ := s.Counts(); return ready == 0 })
	if r.count(&r.events, "not ready any more") != 1 {
		t.Errorf("events %q", r.events)
	}
}

// TestLinesLimit: of a flood the beginning and the end are shown, and how much was
// between, also when nothing follows.
func TestLinesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(recorder)
		l := newLines(func(s string) { r.note(&r.output, s) })
		take := func() []string {
			r.mu.Lock()
			defer r.mu.Unlock()
			got := r.output
			r.output = nil
			return got
		}
		for i := range 10_000 {
			fmt.Fprintf(l, "%d\n", i)
		}
		if got := take(); len(got) != maxLines || got[maxLines-1] != "499" {
			t.Fatalf("%d lines at once", len(got))
		}
		time.Sleep(2 * time.Second)
		want := []string{"... 9490 lines are not shown: it wrote more than 500 lines or 1048576 bytes in a second",
			"9990", "9991", "9992", "9993", "9994", "9995", "9996", "9997", "9998", "9999"}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("after the flood: %q", got)
		}
		for range 100 {
			fmt.Fprintln(l, strings.Repeat("x", 60_000))
		}
		l.flush()
		if got, want := take(), maxBytes/60_000+1+keepLast; len(got) != want {
			t.Errorf("%d lines of a flood of bytes, want %d", len(got), want)
		}
		time.Sleep(time.Minute)
		if got := take(); len(got) > 0 {
			t.Errorf("after the end: %q", got)
		}
	})
}

func TestLines(t *testing.T) {
	var got []string
	l := newLines(func(s string) { got = append(got, s) })
	for _, p := range []string{"a", "b\nc\r\n\nd", "e\n", "rest", strings.Repeat("x", 2*maxLine)} {
		if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write gives %d, %v", n, err)
		}
	}
	l.flush()
	l.flush()
	long := "rest" + strings.Repeat("x", 2*maxLine)
	want := []string{"ab", "c", "", "de", long[:maxLine], long[maxLine : 2*maxLine], long[2*maxLine:]}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
}
