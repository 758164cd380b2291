package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"datasurge/events"
	"datasurge/monitoring/dashboards"
)

// The integration test runs the real executables, a real Prometheus with the
// rules ten times as fast, and a real Alertmanager, injects faults, and then asks
// every query of every panel.
const (
	faster    = 10
	warmUp    = 60 * time.Second
	fireIn    = 2 * time.Minute
	startedIn = 90 * time.Second
)

// needsTime lists queries that have no answer in a minute, by panel and title of
// the query, and why.
var needsTime = map[string]string{
	"Rate and last week's / a week ago": "there was no last week",
}

func TestIntegration(t *testing.T) {
	if os.Getenv("MONITORING_INTEGRATION") == "" {
		t.Skip("LEFT OUT: two minutes with a real Prometheus; .ci/run monitoring, or MONITORING_INTEGRATION=1")
	}
	s := newStack(t)
	s.runEmulator()
	generator := s.runGenerator()
	hook := s.runAlertmanager()
	s.runPrometheus()
	s.await("transactions in Prometheus", startedIn, func() bool {
		return len(s.query(`datasurge:transactions:rate5m > 0`)) > 0
	})
	s.injectFaults()
	time.Sleep(warmUp) // time for the rates to fill: nothing to wait for
	s.checkTargets()
	s.checkPanels()
	s.await("the alert DeadLetters at the webhook", fireIn, func() bool { return hook.has("DeadLetters") })

	stopped := time.Now()
	if err := generator.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await("the alert NoTransactions at the webhook", fireIn, func() bool { return hook.has("NoTransactions") })
	t.Logf("NoTransactions arrived %v after the generator was stopped", time.Since(stopped).Round(time.Second))
}

// stack is everything that the integration test runs.
type stack struct {
	t          *testing.T
	dir        string
	emulator   string // URL
	kafka      []string
	generator  string // host:port
	prometheus string // host:port
	alerts     string // host:port of Alertmanager
}

func newStack(t *testing.T) *stack {
	tool(t, "prometheus")
	tool(t, "alertmanager", "prometheus-alertmanager")
	s := &stack{t: t, dir: t.TempDir()}
	for _, name := range []string{"emulator", "functions"} {
		run(t, "go", "build", "-o", s.path(name), "datasurge/"+name)
	}
	return s
}

func (s *stack) path(name string) string { return filepath.Join(s.dir, name) }

// start runs a command until the test ends. Its output is shown when the test
// has failed.
func (s *stack) start(name string, env []string, command string, args ...string) *exec.Cmd {
	s.t.Helper()
	log, err := os.Create(s.path(name + ".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command(command, args...)
	c.Env, c.Stdout, c.Stderr, c.Dir = append(os.Environ(), env...), log, log, s.dir
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }() // how it ends is in its log
	s.t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && s.t.Failed() {
			s.t.Logf("%s:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return c
}

// free returns a port of this machine that nothing listens on.
func (s *stack) free() string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *stack) await(what string, within time.Duration, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(250 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after %v not: %s", within, what)
		}
	}
}

func (s *stack) runEmulator() {
	s.start("emulator", nil, s.path("emulator"), "run", "--profile", "none", "--data-dir", s.path("data"),
		"--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0")
	s.await("emulator.json", startedIn, func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "data", "emulator.json"))
		var info struct {
			Kafka []string `json:"kafka"`
			HTTP  string   `json:"http"`
		}
		if err != nil || json.Unmarshal(text, &info) != nil || len(info.Kafka) == 0 {
			return false
		}
		s.kafka, s.emulator = info.Kafka, info.HTTP
		return true
	})
}

// runGenerator runs generate by itself, so that it can be stopped.
func (s *stack) runGenerator() *exec.Cmd {
	s.generator = s.free()
	host, port, err := net.SplitHostPort(s.generator)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start("generate", []string{
		"TRANSPORT=kafka", "KAFKA_BROKERS=" + strings.Join(s.kafka, ","), "HOST=" + host, "PORT=" + port,
		"RATE=200", "LABEL_DELAY=10s",
	}, s.path("functions"), "generate")
}

// webhook takes the notifications of Alertmanager.
type webhook struct {
	mu    sync.Mutex
	names map[string]bool
}

func (w *webhook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range body.Alerts {
		if a.Status == "firing" {
			w.names[a.Labels["alertname"]] = true
		}
	}
}

func (w *webhook) has(alert string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[alert]
}

// runAlertmanager runs it with the shipped routes; two receivers get the address
// of a webhook.
func (s *stack) runAlertmanager() *webhook {
	hook := &webhook{names: map[string]bool{}}
	server := httptest.NewServer(hook)
	s.t.Cleanup(server.Close)
	var config map[string]any
	readYAML(s.t, "alertmanager.yml", &config)
	for _, r := range config["receivers"].([]any) {
		receiver := r.(map[string]any)
		if name := receiver["name"]; name == "page-payments" || name == "ticket-platform" {
			receiver["webhook_configs"] = []any{map[string]any{"url": server.URL}}
		}
	}
	hurry(config["route"])
	writeYAML(s.t, s.path("alertmanager.yml"), config)
	s.alerts = s.free()
	s.start("alertmanager", nil, tool(s.t, "alertmanager", "prometheus-alertmanager"),
		"--config.file="+s.path("alertmanager.yml"), "--storage.path="+s.path("alertmanager"),
		"--web.listen-address="+s.alerts, "--cluster.listen-address=")
	return hook
}

// hurry has a route and those below it wait a second for more alerts.
func hurry(route any) {
	r := route.(map[string]any)
	r["group_wait"] = "1s"
	if below, ok := r["routes"].([]any); ok {
		for _, one := range below {
			hurry(one)
		}
	}
}

var (
	inBrackets = regexp.MustCompile(`\[\d+[smhdw]\]|offset \d+[smhdw]`)
	duration   = regexp.MustCompile(`(\d+)([smhdw])`)
)

// quicker returns text with each duration a tenth as long.
func quicker(text string) string {
	return duration.ReplaceAllStringFunc(text, func(d string) string {
		found := duration.FindStringSubmatch(d)
		n, _ := strconv.Atoi(found[1]) // the expression takes digits only
		seconds := n * map[string]int{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]
		return fmt.Sprintf("%ds", max(2, seconds/faster))
	})
}

// recorded returns an address at which an exporter that does not run here exports what
// it once did: its rates are 0, but they are there.
func (s *stack) recorded(exporter string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		http.ServeFile(w, r, filepath.Join("scrapes", exporter+".txt"))
	}))
	s.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func (s *stack) runPrometheus() {
	files, err := filepath.Glob("rules/*.yml")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, path := range files {
		var f ruleFile
		readYAML(s.t, path, &f)
		for g := range f.Groups {
			for r := range f.Groups[g].Rules {
				rule := &f.Groups[g].Rules[r]
				rule.Expr = inBrackets.ReplaceAllStringFunc(rule.Expr, quicker)
				rule.For = quicker(rule.For)
			}
		}
		writeYAML(s.t, s.path("rules-"+filepath.Base(path)), f)
	}
	s.prometheus = s.free()
	group := func(address string, labels map[string]string) []any {
		return []any{map[string]any{"targets": []string{address}, "labels": labels}}
	}
	config := map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"},
		"rule_files": []string{s.path("rules-*.yml")},
		"alerting":   map[string]any{"alertmanagers": []any{map[string]any{"static_configs": group(s.alerts, nil)}}},
		"scrape_configs": []any{
			map[string]any{
				"job_name":        "datasurge",
				"http_sd_configs": []any{map[string]any{"url": s.emulator + "/prometheus/targets", "refresh_interval": "2s"}},
				"static_configs":  group(s.generator, map[string]string{"service": "generate"}),
			},
			map[string]any{"job_name": "prometheus", "static_configs": group(s.prometheus, nil)},
			map[string]any{"job_name": "alertmanager", "static_configs": group(s.alerts, nil)},
			map[string]any{"job_name": "node", "static_configs": group(s.recorded("node_exporter"), nil)},
			map[string]any{"job_name": "kafka-exporter", "static_configs": group(s.recorded("kafka_exporter"), nil)},
		},
	}
	text, err := yaml.Marshal(config)
	if err == nil {
		err = os.WriteFile(s.path("prometheus.yml"), text, 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.start("prometheus", nil, tool(s.t, "prometheus"), "--config.file="+s.path("prometheus.yml"),
		"--storage.tsdb.path="+s.path("tsdb"), "--web.listen-address="+s.prometheus)
}

// injectFaults writes a record that is none, one twice, one that is late and one
// from the future.
func (s *stack) injectFaults() {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka...), kgo.DefaultProduceTopic(events.TopicTransactions))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	transaction := func(id string, at time.Time) *kgo.Record {
		value := fmt.Sprintf(`{"transactionId":%q,"userId":"user_1","amount":12.34,"transactionTime":%d,"merchantId":"m","transactionType":"purchase","location":"US","paymentMethod":"paypal","international":true,"currency":"USD"}`, id, at.UnixMilli())
		return &kgo.Record{Key: []byte("user_1"), Value: []byte(value)}
	}
	now := time.Now()
	records := []*kgo.Record{
		{Key: []byte("user_1"), Value: []byte("not a transaction")},
		transaction("twice", now), transaction("twice", now),
		transaction("late", now.Add(-3*time.Hour)), transaction("early", now.Add(time.Hour)),
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// get asks Prometheus' API and returns the series with a number in them.
func (s *stack) get(path string, values url.Values) []json.RawMessage {
	s.t.Helper()
	response, err := http.Get("http://" + s.prometheus + path + "?" + values.Encode())
	if err != nil {
		return nil // it starts
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err != nil || json.Unmarshal(text, &answer) != nil {
		return nil
	}
	if answer.Status != "success" {
		s.t.Errorf("%s: %s", values.Get("query"), answer.Error)
	}
	var list []json.RawMessage
	for _, series := range answer.Data.Result {
		if hasNumber(series) {
			list = append(list, series)
		}
	}
	return list
}

// hasNumber reports whether a series has a value that is a number.
func hasNumber(series json.RawMessage) bool {
	var data struct {
		Value  [2]any   `json:"value"`
		Values [][2]any `json:"values"`
	}
	if json.Unmarshal(series, &data) != nil {
		return false
	}
	for _, v := range append(data.Values, data.Value) {
		if text, ok := v[1].(string); ok {
			if x, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(x) {
				return true
			}
		}
	}
	return false
}

func (s *stack) query(expr string) []json.RawMessage {
	s.t.Helper()
	return s.get("/api/v1/query", url.Values{"query": {expr}})
}

// checkTargets: everything that is scraped answers.
func (s *stack) checkTargets() {
	s.t.Helper()
	if down := s.query(`up == 0`); len(down) > 0 {
		s.t.Errorf("not scraped: %s", down)
	}
	for _, function := range functions {
		if len(s.query(fmt.Sprintf(`up{service=%q}`, function))) == 0 {
			s.t.Errorf("%s is not scraped", function)
		}
	}
}

// checkPanels asks every query of every panel as Grafana would, but for those of
// kafka-health, which needs a Kafka with controllers: the test of monitoring/compose
// asks them. One without an answer shows nothing.
func (s *stack) checkPanels() {
	s.t.Helper()
	asked, elsewhere := 0, 0
	end := time.Now()
	for _, d := range dashboards.All() {
		for _, p := range d.Panels {
			if p.Elsewhere == "kafka-health" {
				elsewhere += len(p.Targets)
				continue
			}
			for _, target := range p.Targets {
				asked++
				expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "20s")
				expr = variable.ReplaceAllString(expr, ".*")
				series := s.get("/api/v1/query_range", url.Values{
					"query": {expr}, "start": {fmt.Sprint(end.Add(-time.Minute).Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {"5"},
				})
				name := p.Title + " / " + target.LegendFormat
				if len(series) == 0 && !p.FailureOnly && needsTime[name] == "" {
					s.t.Errorf("%s, %s: nothing to show: %s", d.UID, name, expr)
				}
			}
		}
	}
	s.t.Logf("%d queries were asked, %d are of kafka-health", asked, elsewhere)
}
