package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/go-units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.yaml.in/yaml/v3"

	"datasurge/events"
	"datasurge/functions/stream/kafkatest"
	"datasurge/knative"
	"datasurge/monitoring/dashboards"
)

// TestTopology runs what docker compose up runs, but for the containers: the
// controllers, the brokers, the creation of topics, the functions and the health
// loop with the values that stand in docker-compose.yml, and Prometheus with the
// targets and the rules of monitoring/. A broker and a function are killed: alerts
// fire, and resolve when both are back, and no transaction is lost or counted
// twice.
func TestTopology(t *testing.T) {
	prometheusPath, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("LEFT OUT: there is no prometheus on the PATH; Debian has it in the package prometheus")
	}
	m := newMachine(t, load(t, map[string]string{"RATE": "50"}, base))
	nodes := m.kafka(t, "CLIENT")
	cluster := kafkatest.StartNodes(t, nodes)
	if out, err := m.once(t, "topics"); err != nil {
		t.Fatalf("topics: %v\n%s", err, out)
	}
	checkTopics(t, cluster)

	running := map[string]*process{}
	for name, s := range m.project.Services {
		if s.Build != nil && !oneShot(&s) {
			for n := range s.GetScale() {
				running[instance(name, n)] = m.start(t, name, n)
			}
		}
	}
	for _, p := range running {
		p.awaitHealthy(t)
	}
	exporter := startExporter(t, cluster)
	prom := startPrometheus(t, prometheusPath, m, map[string]string{"kafka-exporter:9308": exporter})
	eventually(t, "every function is scraped", func() error {
		return prom.none(`up{job=~"datasurge|kafka-health|kafka-exporter"} == 0`, len(running)+1)
	})
	eventually(t, "the quorum has a leader among the controllers", func() error {
		return prom.none(`datasurge_kafka_quorum_leader_id < 101 or datasurge_kafka_quorum_leader_id > 103 or datasurge_kafka_quorum_voters != 3`, 0)
	})
	panels := healthQueries(t)
	eventually(t, "the panels of kafka-health have something to show", func() error {
		var missing error
		for _, expr := range panels {
			missing = errors.Join(missing, prom.some(expr))
		}
		return missing
	})
	eventually(t, "all is well", func() error { return prom.firing() })

	cluster.Kill(t, 2)
	running["enrich"].kill()
	eventually(t, "the alerts fire", func() error { return prom.firing("KafkaBrokerDown", "FunctionDown") })
	eventually(t, "the health loop sees it, too", func() error {
		return errors.Join(
			prom.some(`datasurge_kafka_brokers == 2 and datasurge_kafka_brokers_expected == 3`),
			prom.some(`datasurge_kafka_under_replicated_partitions{topic="__transaction_state"} > 0`),
			prom.some(`datasurge_consumer_lag_seconds{group="enrich"} > 30`))
	})
	cluster.Start(t, 2)
	running["enrich"] = m.start(t, "enrich", 0)
	running["enrich"].awaitHealthy(t)
	eventually(t, "the alerts resolve", func() error { return prom.resolved() })
	eventually(t, "nobody is behind", func() error {
		return errors.Join(
			prom.none(`datasurge_consumer_lag_seconds > 20`, 0),
			prom.none(`datasurge_kafka_under_replicated_partitions > 0 or datasurge_kafka_brokers != 3`, 0))
	})

	checkMemoryUsed(t, m, cluster, nodes, running)
	running["generate"].stop(t)
	checkEveryTransactionArrives(t, cluster)
	for _, p := range running {
		p.stop(t)
	}
}

// dashboardVariable is a variable of a dashboard.
var dashboardVariable = regexp.MustCompile(`\$[a-z]+`)

// healthQueries are the queries of the panels that are of kafka-health. Those of the
// others are asked by the integration test of monitoring, which has no controllers.
func healthQueries(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, d := range dashboards.All() {
		for _, p := range d.Panels {
			if p.Elsewhere != "kafka-health" {
				continue
			}
			for _, target := range p.Targets {
				list = append(list, dashboardVariable.ReplaceAllString(target.Expr, ".*"))
			}
		}
	}
	if len(list) == 0 {
		t.Fatal("no panel is of kafka-health")
	}
	return list
}

// checkTopics holds the topics against the manifests. A broker may hear of a topic a
// little later than the one that whoever made it has asked.
func checkTopics(t *testing.T, cluster *kafkatest.Cluster) {
	t.Helper()
	set, err := knative.Default()
	if err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(cluster.Client(t))
	eventually(t, "every topic is there", func() error {
		topics, err := admin.ListTopics(t.Context())
		for _, want := range set.Topics {
			if got := topics[want.Topic].Partitions; len(got) != want.Partitions || got.NumReplicas() != want.Replicas {
				err = errors.Join(err, fmt.Errorf("%s: %d partitions, %d replicas; want %d and %d", want.Topic, len(got), got.NumReplicas(), want.Partitions, want.Replicas))
			}
		}
		return err
	})
}

// checkMemoryUsed holds what the processes have needed against the limits of their
// containers.
func checkMemoryUsed(t *testing.T, m *machine, cluster *kafkatest.Cluster, nodes []kafkatest.Node, running map[string]*process) {
	t.Helper()
	check := func(service string, pid int) {
		used, limit := mostMemory(t, pid), int64(m.project.Services[service].MemLimit)
		t.Logf("%-12s used at most %9s of %s", service, units.BytesSize(float64(used)), units.BytesSize(float64(limit)))
		if used > limit {
			t.Errorf("%s would have been killed", service)
		}
	}
	for i, name := range m.kafkaNodes() {
		check(name, cluster.PID(t, nodes[i].ID))
	}
	for _, name := range slices.Sorted(maps.Keys(running)) {
		check(running[name].name, running[name].cmd.Process.Pid)
	}
}

// checkEveryTransactionArrives waits until every transaction that was generated
// has been enriched and scored, once.
func checkEveryTransactionArrives(t *testing.T, cluster *kafkatest.Cluster) {
	t.Helper()
	var all map[string]int
	eventually(t, "every transaction arrives", func() error {
		all = transactions(t, cluster, "financial_transactions", events.TypeTransaction)
		enriched := transactions(t, cluster, "enriched_transactions", events.TypeEnriched)
		scored := transactions(t, cluster, "scored_transactions", events.TypeScored)
		if !maps.Equal(all, enriched) || !maps.Equal(all, scored) {
			return fmt.Errorf("%d generated, %d enriched, %d scored", len(all), len(enriched), len(scored))
		}
		return nil
	})
	for id, n := range all {
		if n != 1 {
			t.Errorf("transaction %s is there %d times", id, n)
		}
	}
	for _, topic := range []string{events.TopicDeadLetters, events.TopicLate} {
		if n := len(cluster.ReadDecided(t, topic)); n > 0 {
			t.Errorf("%s has %d records", topic, n)
		}
	}
	t.Logf("%d transactions, each of them once in every topic", len(all))
}

// transactions counts how often each transaction is in a topic.
func transactions(t *testing.T, cluster *kafkatest.Cluster, topic, eventType string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, rec := range cluster.ReadDecided(t, topic) {
		for _, h := range rec.Headers {
			if h.Key == "ce_type" && string(h.Value) == eventType {
				var transaction struct {
					ID string `json:"transactionId"`
				}
				if err := json.Unmarshal(rec.Value, &transaction); err != nil || transaction.ID == "" {
					t.Fatalf("%s: no transaction: %s (%v)", topic, rec.Value, err)
				}
				count[transaction.ID]++
			}
		}
	}
	return count
}

// startExporter stands for kafka-exporter, whose program cannot be had here: what
// the alerts need, under its names, from the same cluster. It returns its address.
func startExporter(t *testing.T, cluster *kafkatest.Cluster) string {
	t.Helper()
	admin := kadm.NewClient(cluster.Client(t))
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kafka_brokers", Help: "Number of Brokers in the Kafka Cluster."}, func() float64 {
		brokers, err := admin.ListBrokers(t.Context())
		if err != nil {
			return 0
		}
		return float64(len(brokers))
	}))
	return serve(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	address := "127.0.0.1:" + strconv.Itoa(kafkatest.FreePorts(t, 1)[0])
	server := &http.Server{Addr: address, Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return address
}

// prom is a running Prometheus.
type prom struct{ url string }

// scrape is what is read of a scrape configuration.
type scrape struct {
	Job    string `yaml:"job_name"`
	Static []struct {
		Targets []string `yaml:"targets"`
	} `yaml:"static_configs"`
	DNS []struct {
		Names []string `yaml:"names"`
		Port  int      `yaml:"port"`
	} `yaml:"dns_sd_configs"`
	File []struct {
		Files []string `yaml:"files"`
	} `yaml:"file_sd_configs"`
}

type prometheusConfig struct {
	Rules   []string `yaml:"rule_files"`
	Scrapes []scrape `yaml:"scrape_configs"`
}

func readPrometheus(t *testing.T) prometheusConfig {
	t.Helper()
	var config prometheusConfig
	if err := yaml.Unmarshal([]byte(readFile(t, "monitoring/prometheus.yml")), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// targets returns the targets of a job as service:port.
func (s *scrape) targets() (list []string) {
	for _, c := range s.Static {
		list = append(list, c.Targets...)
	}
	for _, c := range s.DNS {
		for _, name := range c.Names {
			list = append(list, name+":"+strconv.Itoa(c.Port))
		}
	}
	return list
}

// startPrometheus starts it with the jobs and rules of monitoring/prometheus.yml,
// as far as their targets run here, and looks more often.
func startPrometheus(t *testing.T, path string, m *machine, more map[string]string) *prom {
	t.Helper()
	type static struct {
		Targets []string `yaml:"targets"`
	}
	type job struct {
		Name   string   `yaml:"job_name"`
		Static []static `yaml:"static_configs"`
	}
	config := struct {
		Global  map[string]string `yaml:"global"`
		Rules   []string          `yaml:"rule_files"`
		Scrapes []job             `yaml:"scrape_configs"`
	}{Global: map[string]string{"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "5s"}}
	rules, err := filepath.Abs(filepath.Join(root, "monitoring/rules/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config.Rules = []string{rules}
	for _, s := range readPrometheus(t).Scrapes {
		var here []string
		for _, target := range s.targets() {
			if address, ok := more[target]; ok {
				here = append(here, address)
			}
			name, port, _ := strings.Cut(target, ":")
			for n := 0; m.ports[instance(name, n)+":"+port] != ""; n++ {
				here = append(here, m.ports[instance(name, n)+":"+port])
			}
		}
		if len(here) > 0 {
			config.Scrapes = append(config.Scrapes, job{s.Job, []static{{here}}})
		}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.artifacts, "prometheus.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(m.artifacts, "prometheus.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	address := "127.0.0.1:" + strconv.Itoa(kafkatest.FreePorts(t, 1)[0])
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(m.dir, "prometheus"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("the end of Prometheus' log:\n%s", text[max(0, len(text)-2000):])
		}
	})
	return &prom{"http://" + address}
}

func (p *prom) get(path string, values url.Values, data any) error {
	response, err := http.Get(p.url + path + "?" + values.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// query returns the series that an expression gives now, as text.
func (p *prom) query(expr string) (series []string, err error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := p.get("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	for _, r := range data.Result {
		series = append(series, fmt.Sprint(r.Metric, r.Value[1]))
	}
	return series, nil
}

// some returns an error unless the expression gives something.
func (p *prom) some(expr string) error {
	series, err := p.query(expr)
	if err == nil && len(series) == 0 {
		err = fmt.Errorf("%s gives nothing", expr)
	}
	return err
}

// none returns an error if the expression, a comparison, gives something, or if
// fewer than n series were compared.
func (p *prom) none(expr string, n int) error {
	series, err := p.query(expr)
	if err == nil && len(series) > 0 {
		err = fmt.Errorf("%s gives %v", expr, series)
	}
	if left, _, ok := strings.Cut(expr, " == "); ok && err == nil && n > 0 {
		if series, err = p.query(left); err == nil && len(series) < n {
			err = fmt.Errorf("%s gives %d series, want %d", left, len(series), n)
		}
	}
	return err
}

// quiet are alerts that say nothing about the system as it is run here.
var quiet = []string{"Watchdog", "NoAlertmanager"}

// alerts returns the alerts that fire, but for the quiet ones.
func (p *prom) alerts() ([]string, error) {
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if err := p.get("/api/v1/alerts", nil, &data); err != nil {
		return nil, err
	}
	var got []string
	for _, a := range data.Alerts {
		name := a.Labels["alertname"]
		if a.State == "firing" && !slices.Contains(quiet, name) && !slices.Contains(got, name) {
			got = append(got, name)
		}
	}
	return got, nil
}

// firing returns an error unless these alerts fire, or without names none.
func (p *prom) firing(want ...string) error {
	got, err := p.alerts()
	if err != nil {
		return err
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			return fmt.Errorf("%v fire, want %v", got, want)
		}
	}
	if len(want) == 0 && len(got) > 0 {
		return fmt.Errorf("%v fire", got)
	}
	return nil
}

// ofSpeed are alerts that last for as long as the machine that the test runs on is
// slow, whatever else is mended.
var ofSpeed = []string{"EndToEndLatencyBurnFast", "EndToEndLatencyBurnSlow", "RebalanceStorm"}

// resolved returns an error while an alert fires that is not one of speed.
func (p *prom) resolved() error {
	got, err := p.alerts()
	if err != nil {
		return err
	}
	if left := slices.DeleteFunc(got, func(name string) bool { return slices.Contains(ofSpeed, name) }); len(left) > 0 {
		return fmt.Errorf("%v fire", left)
	}
	return nil
}
