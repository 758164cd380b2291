package compose

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"datasurge/functions/run"
)

func TestEveryCombination(t *testing.T) {
	for _, files := range combinations {
		p := load(t, passwords, files...)
		for _, check := range []struct {
			name string
			f    func(*testing.T, *types.Project)
		}{
			{"images are pinned", checkImagesArePinned},
			{"mounted files exist", checkMountedFilesExist},
			{"ports are on loopback", checkPortsAreOnLoopback},
			{"memory", checkMemory},
			{"lifecycle", checkLifecycle},
			{"functions are confined", checkFunctionsAreConfined},
			{"functions know their variables", checkFunctionsKnowTheirVariables},
			{"Kafka's addresses", checkKafkaAddresses},
			{"scrape targets", checkScrapeTargets},
			{"provisioning", checkProvisioning},
		} {
			t.Run(strings.Join(files, "+")+"/"+check.name, func(t *testing.T) { check.f(t, p) })
		}
	}
}

// Kafka with passwords that nobody has set would be open to all who can guess.
func TestPasswordsMustBeSet(t *testing.T) {
	for missing := range passwords {
		env := map[string]string{}
		for name, value := range passwords {
			if name != missing {
				env[name] = value
			}
		}
		if _, err := tryLoad(t, env, base, tls); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

// Every variable is in .env.example with the value that holds without it, and
// .env.example has no other.
func TestEveryVariableIsDocumented(t *testing.T) {
	documented := example(t)
	defaults := map[string]string{}
	for _, file := range []string{base, tls, jmx} {
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(readFile(t, file)), &tree); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, v := range template.ExtractVariables(tree, template.DefaultPattern) {
			if before, again := defaults[name]; again && before != v.DefaultValue {
				t.Errorf("%s: the default of %s is %q, elsewhere %q", file, name, v.DefaultValue, before)
			}
			defaults[name] = v.DefaultValue
		}
	}
	if diff := cmp.Diff(defaults, documented); diff != "" {
		t.Errorf("-in the compose files +in .env.example:\n%s", diff)
	}
	// A line of text stands above each, or above the group that it is in.
	explained := false
	for line := range strings.Lines(readFile(t, ".env.example")) {
		switch name, _, set := strings.Cut(strings.TrimSpace(line), "="); {
		case strings.HasPrefix(line, "#"):
			explained = !strings.HasPrefix(line, "# ---")
		case set && !explained && !strings.HasSuffix(name, "_PORT"):
			t.Errorf(".env.example does not explain %s", name)
		}
	}
}

func checkImagesArePinned(t *testing.T, p *types.Project) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+$`)
	for _, s := range services(p) {
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s has no exact version", s.Name, s.Image)
		}
	}
}

func checkMountedFilesExist(t *testing.T, p *types.Project) {
	for _, s := range services(p) {
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: there is no volume %q", s.Name, v.Source)
				}
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s: %s is mounted writable", s.Name, v.Source)
			}
		}
	}
}

func TestScriptsCanBeRead(t *testing.T) {
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d scripts (%v)", len(scripts), err)
	}
	for _, script := range scripts {
		info, err := os.Stat(script)
		if err != nil {
			t.Fatal(err)
		}
		// They run as other users than their owner.
		if mode := info.Mode().Perm(); mode&0o005 != 0o005 {
			t.Errorf("%s has mode %v: others cannot run it", script, mode)
		}
	}
}

func checkPortsAreOnLoopback(t *testing.T, p *types.Project) {
	taken := map[string]string{}
	for _, s := range services(p) {
		if s.NetworkMode == "host" {
			t.Errorf("%s has the network of the machine", s.Name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q", s.Name, port.Published, port.HostIP)
			}
			if other := taken[port.Published]; other != "" {
				t.Errorf("%s and %s both publish port %s", other, s.Name, port.Published)
			}
			taken[port.Published] = s.Name
		}
	}
}

// All together has room on a machine with 8 GB for containers.
func checkMemory(t *testing.T, p *types.Project) {
	const most = 8 << 30
	var sum int64
	for _, s := range services(p) {
		if s.MemLimit <= 0 {
			t.Errorf("%s has no limit", s.Name)
		}
		sum += int64(s.MemLimit) * int64(s.GetScale())
		env := environment(&s)
		if limit := env["GOMEMLIMIT"]; limit != "" && !oneShot(&s) {
			bytes, err := units.RAMInBytes(limit)
			if err != nil || bytes > int64(s.MemLimit)*95/100 || bytes < int64(s.MemLimit)*80/100 {
				t.Errorf("%s: GOMEMLIMIT is %s of a limit of %s (%v)", s.Name, limit, units.BytesSize(float64(s.MemLimit)), err)
			}
		}
		// A JVM takes about 200 MB beside its heap.
		if heap := regexp.MustCompile(`-Xmx(\d+m)`).FindStringSubmatch(env["KAFKA_HEAP_OPTS"]); heap != nil {
			bytes, err := units.RAMInBytes(heap[1])
			if free := int64(s.MemLimit) - bytes; err != nil || free < 120<<20 {
				t.Errorf("%s: a heap of %s leaves %s of the limit (%v)", s.Name, heap[1], units.BytesSize(float64(free)), err)
			}
		}
	}
	if sum > most {
		t.Errorf("all limits together are %s, more than %s", units.BytesSize(float64(sum)), units.BytesSize(most))
	}
	t.Logf("all limits together: %s", units.BytesSize(float64(sum)))
}

// What runs for ever is looked after: it has a check, comes back after a failure
// and is given time to stop. What depends on something waits for it in a way that
// can come to an end.
func checkLifecycle(t *testing.T, p *types.Project) {
	for _, s := range services(p) {
		checked := s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) > 1
		if !oneShot(&s) {
			if !checked {
				t.Errorf("%s has no health check", s.Name)
			}
			if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < time.Second {
				t.Errorf("%s has no stop_grace_period", s.Name)
			}
		}
		if oneShot(&s) && checked {
			t.Errorf("%s ends by itself and has a health check", s.Name)
		}
		if !oneShot(&s) && (s.Logging == nil || s.Logging.Options["max-size"] == "") {
			t.Errorf("%s: its log may grow for ever", s.Name)
		}
		for name, d := range s.DependsOn {
			other, ok := p.Services[name]
			if !ok {
				t.Errorf("%s depends on %s, which is not there", s.Name, name)
				continue
			}
			want := types.ServiceConditionHealthy
			if oneShot(&other) {
				want = types.ServiceConditionCompletedSuccessfully
			}
			if d.Condition != want {
				t.Errorf("%s waits for %s by %s, want %s", s.Name, name, d.Condition, want)
			}
		}
	}
}

// Our own containers may write nothing and need no rights.
func checkFunctionsAreConfined(t *testing.T, p *types.Project) {
	for _, s := range services(p) {
		if s.Build == nil {
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.User != "" || s.Privileged {
			t.Errorf("%s: read_only %v, cap_drop %v, security_opt %v, user %q", s.Name, s.ReadOnly, s.CapDrop, s.SecurityOpt, s.User)
		}
	}
}

// variables returns the names of the variables that the functions know.
func variables(of reflect.Type, prefix string) (names []string) {
	for field := range of.Fields() {
		name := prefix + field.Tag.Get("envconfig")
		if field.Type.Kind() == reflect.Struct {
			names = append(names, variables(field.Type, name+"_")...)
			continue
		}
		names = append(names, name)
	}
	return names
}

// A variable with a slip in its name is one that does nothing.
func checkFunctionsKnowTheirVariables(t *testing.T, p *types.Project) {
	known := append(variables(reflect.TypeFor[run.Config](), ""), "GOMEMLIMIT")
	for _, s := range services(p) {
		if s.Build == nil {
			continue
		}
		for name := range environment(&s) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: nothing reads %s", s.Name, name)
			}
		}
	}
}

func TestTheFunctionsOfThePipeline(t *testing.T) {
	p := load(t, nil, base)
	for name, instances := range map[string]int{"generate": 1, "enrich": 1, "detect": 2, "aggregate": 1, "learn": 1} {
		s := p.Services[name]
		if !slices.Equal(s.Command, []string{name}) || s.GetScale() != instances || *s.Environment["TRANSPORT"] != "kafka" {
			t.Errorf("%s: command %v, %d instances, %v", name, s.Command, s.GetScale(), s.Environment)
		}
	}
}

// The addresses that nodes of Kafka tell others are those at which they listen
// and by which they are reached.
func checkKafkaAddresses(t *testing.T, p *types.Project) {
	var voters, bootstrap []string
	ids := map[string]string{}
	for n := 1; n <= 3; n++ {
		controller, broker := p.Services[fmt.Sprintf("controller-%d", n)], p.Services[fmt.Sprintf("broker-%d", n)]
		voters = append(voters, fmt.Sprintf("%s@%s:9093", *controller.Environment["KAFKA_NODE_ID"], controller.Name))
		bootstrap = append(bootstrap, broker.Name+":9092")
		for _, s := range []types.ServiceConfig{controller, broker} {
			id := *s.Environment["KAFKA_NODE_ID"]
			if other := ids[id]; other != "" {
				t.Errorf("%s and %s both have the id %s", other, s.Name, id)
			}
			ids[id] = s.Name
			data := slices.IndexFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == *s.Environment["KAFKA_LOG_DIRS"] })
			if data < 0 || s.Volumes[data].Source != s.Name {
				t.Errorf("%s has no volume of its own for its data: %v", s.Name, s.Volumes)
			}
		}
		want := fmt.Sprintf("INTERNAL://%s:19092,CLIENT://%s:9092,EXTERNAL://localhost:%s", broker.Name, broker.Name, broker.Ports[0].Published)
		if got := *broker.Environment["KAFKA_ADVERTISED_LISTENERS"]; got != want {
			t.Errorf("%s advertises %s, want %s", broker.Name, got, want)
		}
		if got := *broker.Environment["KAFKA_LISTENERS"]; got != "INTERNAL://:19092,CLIENT://:9092,EXTERNAL://:29092" || broker.Ports[0].Target != 29092 {
			t.Errorf("%s listens on %s and publishes %d", broker.Name, got, broker.Ports[0].Target)
		}
	}
	for _, s := range services(p) {
		if got := s.Environment["KAFKA_CONTROLLER_QUORUM_VOTERS"]; got != nil && *got != strings.Join(voters, ",") {
			t.Errorf("%s has the voters %s, want %s", s.Name, *got, voters)
		}
		if got := s.Environment["KAFKA_BROKERS"]; got != nil && *got != strings.Join(bootstrap, ",") {
			t.Errorf("%s connects to %s, want %s", s.Name, *got, bootstrap)
		}
		if got := s.Environment["KAFKA_BROKERS_EXPECTED"]; got != nil && *got != strconv.Itoa(len(bootstrap)) {
			t.Errorf("%s expects %s brokers, there are %d", s.Name, *got, len(bootstrap))
		}
	}
}

// Every target of Prometheus is a service, and every service that has metrics is a
// target.
func checkScrapeTargets(t *testing.T, p *types.Project) {
	ports := map[string]string{
		"alertmanager": "9093", "kafka-exporter": "9308", "node-exporter": "9100", "prometheus": "9090",
		"broker-1": "9404", "broker-2": "9404", "broker-3": "9404",
	}
	for _, s := range services(p) {
		if s.Build != nil && !oneShot(&s) {
			ports[s.Name] = httpPort
		}
	}
	scraped := map[string]bool{}
	for _, job := range scrapeJobs(t, p) {
		for _, target := range job.targets() {
			name, port, _ := strings.Cut(target, ":")
			if name == "localhost" {
				name = "prometheus"
			}
			if want, ok := ports[name]; !ok || port != want {
				t.Errorf("job %s scrapes %s; port %q of a service of that name would have metrics", job.Job, target, want)
			}
			scraped[name] = true
			if p.Services[name].Name == "" {
				t.Errorf("job %s scrapes %s, which is no service", job.Job, target)
			}
			if s := p.Services[name]; s.GetScale() > 1 && len(job.DNS) == 0 {
				t.Errorf("job %s scrapes %s, of which there are %d: only dns_sd_configs finds all", job.Job, target, s.GetScale())
			}
		}
	}
	for name := range ports {
		_, jmx := p.Volumes["jmx-agent"]
		if !scraped[name] && (jmx || !strings.HasPrefix(name, "broker-")) {
			t.Errorf("nothing scrapes %s", name)
		}
	}
}

// scrapeJobs returns the jobs of Prometheus as it sees its files in its container.
func scrapeJobs(t *testing.T, p *types.Project) []scrape {
	t.Helper()
	prometheus := p.Services["prometheus"]
	mounted := func(target string) (source string, ok bool) {
		for _, v := range prometheus.Volumes {
			if v.Target == target {
				return v.Source, true
			}
		}
		return "", false
	}
	jobs := readPrometheus(t).Scrapes
	for i := range jobs {
		for _, sd := range jobs[i].File {
			for _, file := range sd.Files {
				source, ok := mounted(path.Join("/etc/prometheus", file))
				if !ok {
					continue // it is there with an overlay
				}
				text, err := os.ReadFile(source)
				if err != nil {
					t.Fatal(err)
				}
				if err := yaml.Unmarshal(text, &jobs[i].Static); err != nil {
					t.Fatalf("%s: %v", source, err)
				}
			}
		}
	}
	for _, rules := range readPrometheus(t).Rules {
		if _, ok := mounted(path.Join("/etc/prometheus", path.Dir(rules))); !ok {
			t.Errorf("rule_files %s are not mounted", rules)
		}
	}
	return jobs
}

// Grafana finds the dashboards where they are mounted, and asks services.
func checkProvisioning(t *testing.T, p *types.Project) {
	grafana := p.Services["grafana"]
	var dashboards struct {
		Providers []struct {
			Options struct{ Path string }
		}
	}
	readYAML(t, "monitoring/grafana/provisioning/dashboards", &dashboards)
	for _, provider := range dashboards.Providers {
		if !slices.ContainsFunc(grafana.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == provider.Options.Path }) {
			t.Errorf("dashboards are read from %s, where nothing is mounted", provider.Options.Path)
		}
	}
	var sources struct {
		Datasources []struct{ Name, URL string }
	}
	readYAML(t, "monitoring/grafana/provisioning/datasources", &sources)
	if len(dashboards.Providers) == 0 || len(sources.Datasources) == 0 {
		t.Errorf("%d providers of dashboards and %d data sources", len(dashboards.Providers), len(sources.Datasources))
	}
	for _, source := range sources.Datasources {
		u, err := url.Parse(source.URL)
		if err != nil || p.Services[u.Hostname()].Name == "" {
			t.Errorf("the data source %s is at %s, which is no service", source.Name, source.URL)
		}
	}
}

// readYAML reads the only file of a folder.
func readYAML(t *testing.T, folder string, to any) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.y*ml"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s has %d files (%v), want one", folder, len(files), err)
	}
	text, err := os.ReadFile(files[0])
	if err == nil {
		err = yaml.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// With TLS no listener is left that takes a connection in the clear or without
// knowing who is there, and everybody who connects has what it takes.
func TestTLSLeavesNothingOpen(t *testing.T) {
	p := load(t, passwords, base, tls)
	for _, s := range services(p) {
		env := environment(&s)
		if protocols, ok := env["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]; ok {
			if want := "CONTROLLER:SSL,INTERNAL:SSL,CLIENT:SASL_SSL,EXTERNAL:SASL_SSL"; protocols != want {
				t.Errorf("%s: %s", s.Name, protocols)
			}
			if want := "/etc/kafka/secrets/" + s.Name + ".p12"; env["KAFKA_SSL_KEYSTORE_LOCATION"] != want {
				t.Errorf("%s shows the certificate %s", s.Name, env["KAFKA_SSL_KEYSTORE_LOCATION"])
			}
			if !slices.Contains(p.Services["certificates"].Entrypoint, s.Name) {
				t.Errorf("no certificate is made for %s", s.Name)
			}
		}
		if _, ok := env["KAFKA_BROKERS"]; ok && (env["KAFKA_TLS_ENABLED"] != "true" || env["KAFKA_SASL_PASSWORD"] != passwords["KAFKA_PASSWORD"]) {
			t.Errorf("%s connects with %v", s.Name, env)
		}
	}
	exporter := p.Services["kafka-exporter"].Command
	for _, flag := range load(t, nil, base).Services["kafka-exporter"].Command {
		if !slices.Contains(exporter, flag) {
			t.Errorf("kafka-exporter loses %s with TLS", flag)
		}
	}
}

// The check of a container calls the executable that its image has.
func TestDockerfile(t *testing.T) {
	text := readFile(t, "functions/Dockerfile")
	entrypoint := regexp.MustCompile(`(?m)^ENTRYPOINT \["(.*)"\]$`).FindStringSubmatch(text)
	if entrypoint == nil {
		t.Fatal("there is no ENTRYPOINT")
	}
	for _, s := range services(load(t, nil, base)) {
		if s.Build != nil && !oneShot(&s) && s.HealthCheck.Test[1] != entrypoint[1] {
			t.Errorf("%s is checked with %v; the executable is %s", s.Name, s.HealthCheck.Test, entrypoint[1])
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(text, -1) {
		if strings.Contains(line, ":latest") || !strings.Contains(line, ":") {
			t.Errorf("it is not made from a version: %s", line)
		}
	}
	if !regexp.MustCompile(`(?m)^USER 65532:65532$`).MatchString(text) {
		t.Error("it runs as root")
	}
	toolchain := regexp.MustCompile(`golang:(\d+\.\d+)`).FindStringSubmatch(text)
	required := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if toolchain == nil || required == nil || toolchain[1] != required[1] {
		t.Errorf("it builds with Go %v, go.mod wants %v", toolchain, required)
	}
	// What is copied is what the executable is made of.
	if !strings.Contains(text, "./functions\n") {
		t.Error("it does not build ./functions")
	}
	ignored := readFile(t, ".dockerignore")
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == "." {
			return err
		}
		if !strings.Contains(ignored, "\n!"+path+"\n") && slices.Contains([]string{"events", "functions", "knative"}, path) {
			t.Errorf(".dockerignore leaves out %s", path)
		}
		return fs.SkipDir
	})
	if err != nil {
		t.Error(err)
	}
}
