package monitoring

import (
	"bufio"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/kafkahealth"
	"datasurge/functions/metrics"
)

// inventory is every metric that exists: its name and its labels.
type inventory map[string]labelSet

type labelSet map[string]bool

func (i inventory) add(name string, labels ...string) {
	if i[name] == nil {
		i[name] = labelSet{"job": true, "instance": true, "service": true}
	}
	for _, label := range labels {
		i[name][label] = true
	}
}

// addHistogram adds the series of a histogram or summary.
func (i inventory) addHistogram(name string, labels ...string) {
	i.add(name, append(labels, "quantile")...)
	i.add(name+"_bucket", append(labels, "le")...)
	i.add(name+"_sum", labels...)
	i.add(name+"_count", labels...)
}

// functions of the system, which each export other metrics.
var functions = []string{"generate", "enrich", "detect", "aggregate", "learn"}

// own returns the metrics of the functions, from what they describe and not from
// a scrape: a vector has no series before its first child.
func own(t testing.TB) inventory {
	t.Helper()
	all := inventory{}
	for _, function := range functions {
		m := metrics.New(function, "test", slog.New(slog.DiscardHandler))
		// A client's metrics are there once there is a client; it needs no broker.
		client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"), kgo.ClientID("test"), kgo.WithHooks(m.Client("test")...))
		if err != nil {
			t.Fatal(err)
		}
		families, err := m.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		distributions := map[string]bool{ // those that have no series yet
			"datasurge_rule_duration_seconds":              true,
			"datasurge_kafka_request_duration_e2e_seconds": true, "datasurge_kafka_request_throttled_seconds": true,
		}
		for _, f := range families {
			if f.GetType() == dto.MetricType_HISTOGRAM || f.GetType() == dto.MetricType_SUMMARY {
				distributions[f.GetName()] = true
			}
		}
		describe(t, m, all, distributions)
		client.Close()
	}
	return all
}

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func describe(t testing.TB, c interface{ Describe(chan<- *prometheus.Desc) }, into inventory, distributions map[string]bool) {
	t.Helper()
	ch := make(chan *prometheus.Desc)
	go func() { c.Describe(ch); close(ch) }()
	for d := range ch {
		found := description.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("a description in another form: %s", d)
		}
		var labels []string
		for pair := range strings.SplitSeq(found[2], ",") {
			if name, _, ok := strings.Cut(pair, "="); ok {
				labels = append(labels, name)
			}
		}
		for name := range strings.SplitSeq(found[3], ",") {
			if name != "" {
				if inner, ok := strings.CutPrefix(name, "c("); ok { // with a constraint
					name = strings.TrimSuffix(inner, ")")
				}
				labels = append(labels, name)
			}
		}
		if distributions[found[1]] {
			into.addHistogram(found[1], labels...)
		} else {
			into.add(found[1], labels...)
		}
	}
}

// everything is own and what comes from elsewhere: the exporters as they were
// recorded, and what Prometheus makes itself.
func everything(t testing.TB) inventory {
	t.Helper()
	all := own(t)
	describe(t, new(kafkahealth.Loop), all, nil)
	scrapes, err := filepath.Glob("scrapes/*.txt")
	if err != nil || len(scrapes) == 0 {
		t.Fatalf("%d recorded scrapes (%v)", len(scrapes), err)
	}
	for _, path := range scrapes {
		readScrape(t, path, all)
	}
	for _, name := range []string{"up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"} {
		all.add(name)
	}
	all.add("ALERTS", "alertname", "alertstate", "severity", "team")
	for _, r := range readRules(t) {
		if r.Record != "" {
			all.add(r.Record, slices.Collect(maps.Keys(resultLabels(t, r.Expr)))...)
		}
	}
	return all
}

var (
	sample     = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)
	sampleName = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="`)
)

func readScrape(t testing.TB, path string, into inventory) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// A family without series is only declared.
		if name, ok := strings.CutPrefix(lines.Text(), "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			into.add(name)
		}
		found := sample.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		into.add(found[1])
		for _, label := range sampleName.FindAllStringSubmatch(found[2], -1) {
			into.add(found[1], label[1])
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}
