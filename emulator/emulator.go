package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/account"
	"datasurge/emulator/broker"
	"datasurge/emulator/datadir"
	"datasurge/emulator/dispatch"
	"datasurge/emulator/ownership"
	"datasurge/emulator/ping"
	"datasurge/emulator/prometheus"
	"datasurge/emulator/service"
	"datasurge/emulator/sink"
	"datasurge/emulator/source"
	"datasurge/emulator/status"
	functions "datasurge/functions/run"
	"datasurge/knative"
	"datasurge/knative/topic"
)

// emulator is everything that runs.
//
//	manifests ──▶ topics ──▶ broker (embedded, or --brokers)
//	                           │ ▲
//	              KafkaSource ◀┘ └ KafkaSink ◀─┐
//	                  │                        │ HTTP
//	                  └─ HTTP ─▶ Service ──────┘
//	                             processes, which read and write Kafka themselves
//
// A KafkaChannel or Broker is a KafkaSink with a topic of its own, a Subscription
// or Trigger a KafkaSource that passes replies on (eventing.go).
type emulator struct {
	config  runConfig
	screen  *status.Screen
	log     *slog.Logger
	started time.Time
	failed  chan error    // capacity 1: why it cannot go on
	stopped chan struct{} // closed when the broker is

	dir       *datadir.Dir
	broker    *broker.Broker // nil with --brokers; --chaos replaces it until endFaults
	kafkaAddr []string
	// kafkaListen is the address that the embedded broker listens on.
	kafkaListen string
	kafka       []kgo.Opt // connects clients of our own
	admin       *kadm.Client
	sinks       *kgo.Client
	baseURL     string
	server      *http.Server
	transport   *http.Transport
	routes      *routes
	owners      *ownership.Registry
	follower    *status.Follower
	health      *health
	pings       map[string]*ping.Source // by namespace/name
	serving     sync.WaitGroup

	prometheus *prometheus.Process // nil without --with-monitoring, or when there is none

	faults *faults       // nil without --chaos
	begin  account.Begin // of the account, with --verify or --chaos

	// What a change of the manifests changes. Only the goroutine that runs the
	// emulator does so; others read it with the mutex.
	mu       sync.Mutex
	set      *knative.Set
	services []*service.Service
	sources  []*delivery
	display  *display
}

// delivery is a KafkaSource that delivers.
type delivery struct {
	spec *knative.KafkaSource
	*source.Dispatcher
}

// key names what it delivers for among all kinds.
func (d *delivery) key() string { return d.spec.Kind + "/" + full(d.spec.Namespace, d.spec.Name) }

// feeds reports whether it delivers to a Service.
func (d *delivery) feeds(s *knative.Service) bool {
	ref := d.spec.Sink.Ref
	return ref != nil && ref.Kind == "Service" && ref.Namespace == s.Namespace && ref.Name == s.Name
}

// startWithin bounds everything until the functions are started.
const startWithin = 60 * time.Second

// start starts everything. When it fails, what was started has been stopped.
func start(ctx context.Context, c runConfig, set *knative.Set, screen *status.Screen, log *slog.Logger) (e *emulator, err error) {
	e = &emulator{config: c, set: set, screen: screen, log: log, started: time.Now(), failed: make(chan error, 1), stopped: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	if err := errors.Join(e.checkServices(set), checkFilters(set)); err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if e.dir, err = datadir.Open(c.dataDir); err != nil {
		return e, fmt.Errorf("%w (--data-dir)", err)
	}
	listener, err := listen(ctx, "functions and sinks", "http-addr", c.httpAddr)
	if err != nil {
		return e, err
	}
	e.baseURL = "http://" + reachable(listener)
	if err := e.startKafka(ctx); err != nil {
		listener.Close()
		return e, err
	}
	partitions, err := e.makeTopics(ctx, set)
	if err != nil {
		listener.Close()
		return e, err
	}
	if c.verify {
		if e.begin, err = account.Mark(ctx, e.admin); err != nil {
			listener.Close()
			return e, err
		}
	}
	if err := e.makeFaults(); err != nil {
		listener.Close()
		return e, err
	}
	e.owners = ownership.New(partitions)
	e.transport = &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute}
	e.routes = newRoutes(set, e.owners, e.transport, log)
	if err := e.startSinks(); err != nil {
		listener.Close()
		return e, err
	}
	if e.health, err = e.startHealth(); err != nil {
		listener.Close()
		return e, err
	}
	e.routes.kafka = e.health
	e.startServices()
	e.routes.listing = e.listing
	e.routes.targets = e.targets()
	e.serve(listener)
	if e.follower, err = status.Follow(ctx, e.kafka, e.shownTopics(), log); err != nil {
		return e, err
	}
	if err := e.startSources(ctx); err != nil {
		return e, err
	}
	if err := e.startSubscribers(ctx); err != nil {
		return e, err
	}
	if err := e.startPings(); err != nil {
		return e, err
	}
	if err := e.startMonitoring(ctx); err != nil {
		return e, err
	}
	e.setDisplay(newDisplay(e))
	e.writeInfo()
	if e.faults != nil {
		e.faults.Start()
	}
	return e, nil
}

// embedded reports whether the broker is in this process.
func (e *emulator) embedded() bool { return len(e.config.brokers) == 0 }

// checkServices refuses what cannot be run before anything is started.
func (e *emulator) checkServices(set *knative.Set) error {
	if err := e.config.programs.check(set); err != nil {
		return err
	}
	for _, s := range set.Services {
		if path := servicePath(set, s.Namespace, s.Name); path != s.Name && set.Sink(s.Namespace, s.Name) != nil {
			return s.Errorf("metadata.name", "its address here would be /%s, which is the KafkaSink's of the same name; without another Service %s it would be /%s", path, s.Name, s.Name)
		}
		if e.config.programs.of(s) != nil {
			continue
		}
		if s.Image != ourImage {
			return s.Errorf("spec.template.spec.containers[0].image", "%s cannot be run here; only %s can. Name a command that does the same: --exec %s=\"python3 app.py\"",
				s.Image, ourImage, s.Name)
		}
		if s.Getenv("FUNCTION") == "" {
			return s.Errorf("spec.template.spec.containers[0].env", "FUNCTION is missing: it names the function to run")
		}
	}
	return nil
}

// startKafka opens the embedded broker, or reaches the one that was given.
func (e *emulator) startKafka(ctx context.Context) error {
	e.kafka = []kgo.Opt{
		kgo.WithLogger(functions.KafkaLogger(e.log)),
		kgo.DisableClientMetrics(),
	}
	if len(e.config.brokers) == 0 {
		l, err := e.openBroker(ctx, e.config.kafkaAddr)
		if err != nil {
			return err
		}
		e.kafkaAddr, e.kafkaListen = []string{reachable(l)}, l.Addr().String()
	} else {
		e.kafkaAddr = e.config.brokers
		if err := reach(ctx, e.config.brokers); err != nil {
			return fmt.Errorf("%w; --brokers gives others, and without it an embedded one is started", err)
		}
	}
	if !e.embedded() {
		// Over TLS and with SASL as the functions connect.
		config, err := functions.ReadConfig()
		if err != nil {
			return err
		}
		options, err := functions.KafkaOptions(&config, e.log)
		if err != nil {
			return err
		}
		e.kafka = append(options, e.kafka...)
	}
	e.kafka = append(e.kafka, kgo.SeedBrokers(e.kafkaAddr...))
	client, err := kgo.NewClient(e.kafka...)
	if err != nil {
		return err
	}
	e.admin = kadm.NewClient(client)
	ping, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if err := client.Ping(ping); err != nil {
		return fmt.Errorf("what listens at %s does not answer as Kafka does: %w (--brokers)", strings.Join(e.kafkaAddr, ","), err)
	}
	return nil
}

// reachWithin is how long a broker may take to answer the first time.
const reachWithin = 5 * time.Second

// reach returns an error when no broker can be connected to.
func reach(ctx context.Context, brokers []string) error {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	var last error
	for _, b := range brokers {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", b)
		if err == nil {
			return c.Close()
		}
		last = err
	}
	return fmt.Errorf("no broker of %s can be reached: %w", strings.Join(brokers, ","), last)
}

// makeTopics creates the topics and returns the number of tasks of each
// function: that of the partitions of its changelog.
func (e *emulator) makeTopics(ctx context.Context, set *knative.Set) (map[string]int, error) {
	var config func(map[string]string) map[string]string
	if e.embedded() {
		config = broker.TopicConfig
	}
	if err := topic.Create(ctx, e.admin, set.AllTopics(), config); err != nil {
		return nil, err
	}
	listed, err := e.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	partitions := make(map[string]int)
	for _, s := range set.Services {
		name := s.Getenv("FUNCTION")
		if t, ok := listed[name+changelogSuffix]; ok {
			partitions[name] = len(t.Partitions)
		}
	}
	return partitions, nil
}

// changelogSuffix ends the name of a function's changelog.
const changelogSuffix = "_state"

func (e *emulator) startSinks() error {
	client, err := kgo.NewClient(slices.Concat(sink.Options(), e.kafka)...)
	if err != nil {
		return err
	}
	e.sinks = client
	for _, s := range e.set.Sinks {
		e.routes.setSink(s, sink.New(s, client, e.log))
	}
	e.startReceivers()
	return nil
}

func (e *emulator) startServices() {
	for _, s := range e.set.Services {
		e.startService(s)
	}
}

// startService starts a Service, unless it is one that only generates and nothing
// is to be generated.
func (e *emulator) startService(s *knative.Service) {
	if s.Getenv("FUNCTION") == "generate" && e.config.profile == "none" {
		return
	}
	svc := service.Start(e.serviceConfig(s))
	e.mu.Lock()
	e.services = append(e.services, svc)
	e.mu.Unlock()
	e.routes.setService(s, svc)
}

// serviceConfig says how a Service is run here: by this executable, or by the
// command that is given for it.
func (e *emulator) serviceConfig(s *knative.Service) service.Config {
	function := s.Getenv("FUNCTION")
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	command := []string{exe, function}
	if c := e.config.programs.of(s); c != nil {
		command = c
	}
	env := e.config.overrides(s, e.kafkaAddr)
	maps.Copy(env, e.binding(s))
	return service.Config{
		Service:     s,
		Label:       servicePath(e.set, s.Namespace, s.Name),
		Command:     command,
		Env:         env,
		ScaleToZero: e.config.scaleToZero,
		Drain:       e.config.pace.drain,
		InstanceEnv: func(id string) map[string]string {
			if !e.embedded() || function == "" {
				return nil // a consumer group decides who owns what
			}
			return map[string]string{"ASSIGN_URL": e.baseURL + "/_assign/" + function + "/" + id}
		},
		Started: func(in service.Instance) {
			e.owners.Join(function, in.ID)
			e.writeInfo()
		},
		Ended: func(in service.Instance) {
			e.owners.Leave(function, in.ID)
			e.writeInfo()
		},
		Ready: func(in service.Instance, ready bool) {
			if ready {
				e.log.Info("function is ready", "service", in.Label, "revision", in.Revision, "url", in.URL)
			}
		},
		Output: func(instance, line string) { e.screen.Line("%s", label(instance)+line) },
		Logger: e.log,
	}
}

// startSources starts the KafkaSources.
func (e *emulator) startSources(ctx context.Context) error {
	for _, s := range e.set.Sources {
		if err := e.startSource(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (e *emulator) startSource(ctx context.Context, s *knative.KafkaSource) error {
	spec := source.ForKafkaSource(s)
	if err := e.resolveEgress(&spec, "spec.sink", s.Sink); err != nil {
		return err
	}
	return e.openSource(ctx, s, spec)
}

// openSource starts a dispatcher. s is what it delivers, spec how.
func (e *emulator) openSource(ctx context.Context, s *knative.KafkaSource, spec source.Spec) error {
	d, err := source.Open(ctx, source.Config{
		Spec: spec, Kafka: e.kafka, Alone: e.embedded(),
		Pace: e.config.pace.times, Transport: e.strike(s.Name, e.routes.mesh(dispatch.NewTransport(e.config.pace.times, nil))), Logger: e.log,
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.sources = append(e.sources, &delivery{s, d})
	e.mu.Unlock()
	return nil
}

// target resolves a destination: a Service has the address that it has on a
// cluster, which the mesh knows.
func (e *emulator) target(o *knative.Object, field string, d knative.Destination) (dispatch.Target, error) {
	if d.Ref == nil || d.Ref.Kind != "Service" {
		return dispatch.Target{URL: e.address(d)}, nil
	}
	if e.routes.service(d.Ref.Namespace, d.Ref.Name) == nil {
		return dispatch.Target{}, o.Errorf(field, "the Service %s is not run", d.Ref.Name)
	}
	return dispatch.Target{URL: clusterURL(d.Ref.Namespace, d.Ref.Name) + relative(d.URI)}, nil
}

// servicePath is where a Service is reached at the HTTP address, without the first
// slash: its name, with its namespace when there is another of that name. It is
// what it is called, too.
func servicePath(set *knative.Set, namespace, name string) string {
	for _, s := range set.Services {
		if s.Name == name && s.Namespace != namespace {
			return full(namespace, name)
		}
	}
	return name
}

// relative is the path of a destination below the object that it refers to.
func relative(uri string) string {
	if uri == "" {
		return ""
	}
	return "/" + strings.TrimPrefix(uri, "/")
}

// serve serves the HTTP address.
func (e *emulator) serve(l net.Listener) {
	e.server = &http.Server{
		Handler:           e.routes,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10, // a sink has a bound of its own
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	e.serving.Go(func() {
		if err := e.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.fail(err)
		}
	})
}

// fail ends the run with err, unless something else has.
func (e *emulator) fail(err error) {
	select {
	case e.failed <- err:
	default:
	}
}

// listing is what GET / answers.
func (e *emulator) listing() string {
	var b strings.Builder
	fmt.Fprintf(&b, "DataSurge\n\nKafka: %s\n\nfunctions (POST a CloudEvent):\n", strings.Join(e.kafkaAddr, ","))
	set, services, _ := e.running()
	for _, s := range services {
		spec := s.Spec()
		fmt.Fprintf(&b, "  %s/%s\n", e.baseURL, servicePath(set, spec.Namespace, spec.Name))
	}
	b.WriteString("\nKafkaSinks, KafkaChannels and Brokers (POST a CloudEvent):\n")
	for _, name := range e.routes.receiverPaths() {
		fmt.Fprintf(&b, "  %s/%s\n", e.baseURL, name)
	}
	for _, s := range set.Sequences {
		fmt.Fprintf(&b, "  %s/%s%s/%s is the beginning of the %s\n", e.baseURL, channelPath, s.Namespace, s.Channels[0].Name, s)
	}
	fmt.Fprintf(&b, "\nthe health of Kafka, for Prometheus:\n  %s/metrics\n", e.baseURL)
	return b.String()
}

// writeInfo writes emulator.json as things are now, once everything is started.
func (e *emulator) writeInfo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dir == nil || e.display == nil {
		return // stopped, or not all started
	}
	info := datadir.Info{Kafka: e.kafkaAddr, HTTP: e.baseURL, Services: make(map[string]datadir.Service)}
	for _, s := range e.services {
		spec := s.Spec()
		path := servicePath(e.set, spec.Namespace, spec.Name)
		entry := datadir.Service{URL: e.baseURL + "/" + path, Instances: []datadir.Instance{}}
		for _, in := range s.Instances() {
			entry.Instances = append(entry.Instances, datadir.Instance{URL: in.URL, PID: in.PID})
		}
		if len(entry.Instances) > 0 {
			entry.PID = entry.Instances[0].PID
		}
		info.Services[path] = entry
	}
	if err := e.dir.WriteInfo(info); err != nil {
		e.log.Warn("endpoints are not written", "error", err)
	}
}

func (e *emulator) setDisplay(d *display) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.display = d
}

// running is what runs now, for those who do not hold the mutex.
func (e *emulator) running() (*knative.Set, []*service.Service, []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set, slices.Clone(e.services), slices.Clone(e.sources)
}

// shownTopics are the topics of the status: all but the changelogs.
func (e *emulator) shownTopics() []string {
	set, _, _ := e.running()
	return slices.DeleteFunc(topics(set), func(name string) bool { return strings.HasSuffix(name, changelogSuffix) })
}
