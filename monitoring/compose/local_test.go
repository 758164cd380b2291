package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"datasurge/functions/stream/kafkatest"
)

// machine runs the services of a compose file as processes of this machine, with
// the environment and the arguments that stand there. What a container has of its
// own is replaced: names and ports by loopback ports, paths by folders of the
// test.
type machine struct {
	project   *types.Project
	dir       string
	artifacts string
	functions string            // our executable
	ports     map[string]string // 127.0.0.1:port by service:port, for detect service/instance:port
	paths     *strings.Replacer
	names     *regexp.Regexp // service:port in a text
}

// httpPort is the port at which the functions serve HTTP.
const httpPort = "8080"

// jmxPort is the port at which a broker's JMX agent serves HTTP.
const jmxPort = "9404"

// foldersIn are the folders of containers that mean something here, and filesIn the
// files.
var (
	foldersIn = []string{"/etc/kafka/secrets", "/etc/kafka/ca", "/opt/jmx"}
	filesIn   = []string{"/etc/jmx.yml"}
)

func newMachine(t *testing.T, project *types.Project) *machine {
	t.Helper()
	if os.Getenv(kafkatest.EnvLibs) == "" {
		t.Skip(`LEFT OUT: this test starts Apache Kafka and needs its jar files: run .ci/run compose, or eval "$(.ci/kafka.sh fetch)" before go test`)
	}
	m := &machine{project: project, dir: t.TempDir(), artifacts: t.ArtifactDir(), ports: map[string]string{}}
	var names, ends []string
	for _, s := range services(project) {
		names = append(names, regexp.QuoteMeta(s.Name))
		for listener := range strings.SplitSeq(environment(&s)["KAFKA_LISTENERS"], ",") {
			if _, port, ok := strings.Cut(listener, "://:"); ok {
				ends = append(ends, s.Name+":"+port)
			}
		}
		if environment(&s)["KAFKA_OPTS"] != "" {
			ends = append(ends, s.Name+":"+jmxPort)
		}
		if s.Build != nil {
			for n := range s.GetScale() {
				ends = append(ends, instance(s.Name, n)+":"+httpPort)
			}
		}
	}
	for i, port := range kafkatest.FreePorts(t, len(ends)) {
		m.ports[ends[i]] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	m.names = regexp.MustCompile(`\b(?:` + strings.Join(names, "|") + `):\d+\b`)
	var paths []string
	for _, path := range foldersIn {
		folder := filepath.Join(m.dir, filepath.Base(path))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path, folder)
	}
	for _, path := range filesIn {
		paths = append(paths, path, filepath.Join(m.dir, filepath.Base(path)))
	}
	m.paths = strings.NewReplacer(paths...)
	m.functions = filepath.Join(m.dir, "functions")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", m.functions, "datasurge/functions")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the functions: %v\n%s", err, out)
	}
	return m
}

// instance names instance n of a service.
func instance(service string, n int) string {
	if n == 0 {
		return service
	}
	return fmt.Sprintf("%s/%d", service, n)
}

// listens matches a listener of Kafka, as it is bound in a container, external one
// as it is advertised to programs outside, and agent where an agent of the virtual
// machine listens.
var (
	listens  = regexp.MustCompile(`(\w+)://:(\d+)`)
	external = regexp.MustCompile(`EXTERNAL://localhost:\d+`)
	agent    = regexp.MustCompile(`\.jar=(\d+):`)
)

// here translates a text of a service's configuration.
func (m *machine) here(service, text string) string {
	text = listens.ReplaceAllStringFunc(text, func(s string) string {
		name, port, _ := strings.Cut(s, "://:")
		return name + "://" + m.ports[service+":"+port]
	})
	text = external.ReplaceAllString(text, "EXTERNAL://"+m.ports[service+":29092"])
	text = agent.ReplaceAllStringFunc(text, func(s string) string {
		return ".jar=" + m.ports[service+":"+agent.FindStringSubmatch(s)[1]] + ":"
	})
	text = m.names.ReplaceAllStringFunc(text, func(s string) string {
		if address, ok := m.ports[s]; ok {
			return address
		}
		return s
	})
	return m.paths.Replace(text)
}

// environment returns the variables of a service, translated, in the form of a
// process, and the few that a process needs of this one.
func (m *machine) environment(service string, more ...string) []string {
	s := m.project.Services[service]
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.dir, "TMPDIR=" + m.dir}
	for name, value := range environment(&s) {
		env = append(env, name+"="+m.here(service, value))
	}
	return append(env, more...)
}

// kafka configures the controllers and the brokers and formats their storage, by
// the class of Kafka's that the image calls for it. Clients connect to the given
// listener.
func (m *machine) kafka(t *testing.T, listener string) []kafkatest.Node {
	t.Helper()
	libs := os.Getenv(kafkatest.EnvLibs)
	// What the image has under /etc/kafka/docker: nothing that counts.
	defaults := filepath.Join(m.dir, "defaults")
	mounted := filepath.Join(m.dir, "mounted")
	for _, folder := range []string{defaults, mounted} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"server.properties": "\n", "tools-log4j2.yaml": "\n",
		"log4j2.yaml": "Configuration:\n  Appenders: {}\n  Loggers:\n    Root: {level: INFO}\n",
	} {
		if err := os.WriteFile(filepath.Join(defaults, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var nodes []kafkatest.Node
	for _, name := range m.kafkaNodes() {
		s := m.project.Services[name]
		env := environment(&s)
		final := filepath.Join(m.dir, name)
		if err := os.MkdirAll(final, 0o755); err != nil {
			t.Fatal(err)
		}
		agents := strings.Fields(m.here(name, env["KAFKA_OPTS"])) // in both processes, one after the other
		setup := exec.CommandContext(t.Context(), "java", slices.Concat(
			[]string{"-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}, agents,
			[]string{"-cp", filepath.Join(libs, "*"), "kafka.docker.KafkaDockerWrapper", "setup",
				"--default-configs-dir", defaults, "--mounted-configs-dir", mounted, "--final-configs-dir", final})...)
		setup.Env = m.environment(name, "KAFKA_LOG_DIRS="+filepath.Join(final, "data"))
		if out, err := setup.CombinedOutput(); err != nil {
			t.Fatalf("configure %s: %v\n%s", name, err, out)
		}
		id, err := strconv.Atoi(env["KAFKA_NODE_ID"])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		node := kafkatest.Node{ID: int32(id), Config: filepath.Join(final, "server.properties"), JVM: append(strings.Fields(env["KAFKA_HEAP_OPTS"]), agents...)}
		if env["KAFKA_PROCESS_ROLES"] == "broker" {
			node.Addr = m.listener(t, name, listener)
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// kafkaNodes returns the services that are nodes of Kafka, controllers first.
func (m *machine) kafkaNodes() []string {
	names := slices.DeleteFunc(slices.Collect(maps.Keys(m.project.Services)), func(name string) bool {
		_, ok := m.project.Services[name].Environment["KAFKA_PROCESS_ROLES"]
		return !ok
	})
	slices.Sort(names)
	slices.Reverse(names)
	return names
}

// listener returns the address of one of a broker's listeners.
func (m *machine) listener(t *testing.T, service, name string) string {
	t.Helper()
	s := m.project.Services[service]
	for l := range strings.SplitSeq(environment(&s)["KAFKA_ADVERTISED_LISTENERS"], ",") {
		if address, ok := strings.CutPrefix(m.here(service, l), name+"://"); ok {
			return address
		}
	}
	t.Fatalf("%s has no listener %s", service, name)
	return ""
}

// command returns one of our services as a process that has yet to be started.
func (m *machine) command(ctx context.Context, name string, n int, more ...string) *exec.Cmd {
	s := m.project.Services[name]
	_, port, _ := net.SplitHostPort(m.ports[instance(name, n)+":"+httpPort])
	cmd := exec.CommandContext(ctx, m.functions, s.Command...)
	cmd.Env = m.environment(name, append([]string{"HOST=127.0.0.1", "PORT=" + port}, more...)...)
	return cmd
}

// once runs a service that ends by itself.
func (m *machine) once(t *testing.T, name string, more ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := m.command(ctx, name, 0, more...).CombinedOutput()
	return string(out), err
}

// process is a service that runs.
type process struct {
	machine *machine
	name    string
	n       int
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{}
}

// start starts instance n of a service. It ends with the test at the latest.
func (m *machine) start(t *testing.T, name string, n int) *process {
	t.Helper()
	path := filepath.Join(m.artifacts, strings.ReplaceAll(instance(name, n), "/", "-")+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{machine: m, name: name, n: n, cmd: m.command(context.WithoutCancel(t.Context()), name, n), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = endWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		log.Close()
	}()
	t.Cleanup(func() {
		p.kill()
		if text, err := os.ReadFile(path); t.Failed() && err == nil {
			t.Logf("the end of %s:\n%s", path, text[max(0, len(text)-2000):])
		}
	})
	return p
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop asks the process to end, as docker compose stop does.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("stop %s: %v", p.name, err)
	}
	grace := p.machine.project.Services[p.name].StopGracePeriod
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d", p.name, code)
		}
	case <-time.After(max(time.Duration(*grace), patience)):
		t.Fatalf("%s did not end", p.name)
	}
}

// awaitHealthy waits until the health check of the service, made here, succeeds.
func (p *process) awaitHealthy(t *testing.T) {
	t.Helper()
	check := p.machine.project.Services[p.name].HealthCheck.Test[2:]
	eventually(t, instance(p.name, p.n)+" is healthy", func() error {
		select {
		case <-p.ended:
			return errors.New("it has ended")
		default:
		}
		cmd := p.machine.command(t.Context(), p.name, p.n)
		cmd.Args = append(cmd.Args[:1], check...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
}

// patience is how long a test waits for what must happen: far longer than it
// takes on a machine with nothing else to do.
const patience = 4 * time.Minute

// eventually calls f until it succeeds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		}
	}
}
