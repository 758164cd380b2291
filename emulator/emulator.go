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
	"github.com/twmb/franz-go/plugin/kslog"

	"datasurge/emulator/broker"
	"datasurge/emulator/datadir"
	"datasurge/emulator/ownership"
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
type emulator struct {
	config  runConfig
	set     *knative.Set
	screen  *status.Screen
	log     *slog.Logger
	started time.Time
	failed  chan error    // capacity 1: why it cannot go on
	stopped chan struct{} // closed when the broker is

	dir       *datadir.Dir
	broker    *broker.Broker // nil with --brokers
	kafkaAddr []string
	kafka     []kgo.Opt // connects clients of our own
	admin     *kadm.Client
	sinks     *kgo.Client
	baseURL   string
	server    *http.Server
	transport *http.Transport
	routes    *routes
	owners    *ownership.Registry
	services  []*service.Service
	sources   []*source.Dispatcher
	follower  *status.Follower
	display   *display
	serving   sync.WaitGroup
	infoMu    sync.Mutex
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
	if err := e.checkServices(); err != nil {
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
	partitions, err := e.makeTopics(ctx)
	if err != nil {
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
	e.startServices()
	e.routes.listing = e.listing()
	e.serve(listener)
	if e.follower, err = status.Follow(ctx, e.kafka, e.shownTopics(), log); err != nil {
		return e, err
	}
	if err := e.startSources(ctx); err != nil {
		return e, err
	}
	e.infoMu.Lock()
	e.display = newDisplay(e)
	e.infoMu.Unlock()
	e.writeInfo()
	return e, nil
}

// checkServices refuses what cannot be run before anything is started.
func (e *emulator) checkServices() error {
	for _, s := range e.set.Services {
		if s.Image != ourImage {
			return s.Errorf("spec.template.spec.containers[0].image", "%s cannot be run here; only %s can", s.Image, ourImage)
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
		kgo.WithLogger(kslog.New(slog.New(quiet{e.log.Handler()}))),
		kgo.DisableClientMetrics(),
	}
	if len(e.config.brokers) == 0 {
		l, err := listen(ctx, "Kafka", "kafka-addr", e.config.kafkaAddr)
		if err != nil {
			return err
		}
		e.kafkaAddr = []string{reachable(l)}
		e.broker, err = broker.Open(ctx, broker.Config{Dir: e.dir.Kafka(), Listener: advertised{l}, Logger: e.log})
		if err != nil {
			return err
		}
		e.serving.Go(func() {
			select {
			case err := <-e.broker.Failed():
				e.fail(err)
			case <-e.stopped:
			}
		})
	} else {
		e.kafkaAddr = e.config.brokers
		if err := reach(ctx, e.config.brokers); err != nil {
			return err
		}
	}
	if e.broker == nil {
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
	return fmt.Errorf("no broker of %s can be reached: %w; --brokers gives others, and without it an embedded one is started",
		strings.Join(brokers, ","), last)
}

// makeTopics creates the topics and returns the number of tasks of each
// function: that of the partitions of its changelog.
func (e *emulator) makeTopics(ctx context.Context) (map[string]int, error) {
	var config func(map[string]string) map[string]string
	if e.broker != nil {
		config = broker.TopicConfig
	}
	if err := topic.Create(ctx, e.admin, e.set.Topics, config); err != nil {
		return nil, err
	}
	listed, err := e.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	partitions := make(map[string]int)
	for _, s := range e.set.Services {
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
		e.routes.sinks[s.Namespace+"/"+s.Name] = sink.New(s, client, e.log)
	}
	return nil
}

func (e *emulator) startServices() {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	for _, s := range e.set.Services {
		function := s.Getenv("FUNCTION")
		if function == "generate" && e.config.profile == "none" {
			continue
		}
		svc := service.Start(service.Config{
			Service: s,
			Command: []string{exe, function},
			Env:     e.config.overrides(e.kafkaAddr),
			InstanceEnv: func(id string) map[string]string {
				if e.broker == nil {
					return nil // a consumer group decides who owns what
				}
				return map[string]string{"ASSIGN_URL": e.baseURL + "/_assign/" + function + "/" + id}
			},
			Started: func(in service.Instance) {
				e.owners.Join(function, in.ID, in.URL)
				e.writeInfo()
			},
			Ended: func(in service.Instance) {
				e.owners.Leave(function, in.ID)
				e.writeInfo()
			},
			Ready: func(in service.Instance, ready bool) {
				if ready {
					e.log.Info("function is ready", "service", in.Label, "url", in.URL)
				}
			},
			Output: func(instance, line string) { e.screen.Line("%s", label(instance)+line) },
			Logger: e.log,
		})
		e.infoMu.Lock()
		e.services = append(e.services, svc)
		e.infoMu.Unlock()
		e.routes.services[s.Name] = svc
	}
}

// startSources starts the KafkaSources whose sink runs.
func (e *emulator) startSources(ctx context.Context) error {
	for _, s := range e.set.Sources {
		target, err := e.target(&s.Object, "spec.sink", s.Sink)
		if err != nil {
			return err
		}
		var dead *source.Target
		if d := s.Delivery.DeadLetterSink; d != nil {
			t, err := e.target(&s.Object, "spec.delivery.deadLetterSink", *d)
			if err != nil {
				return err
			}
			dead = &t
		}
		d, err := source.Open(ctx, source.Config{
			Source: s, Kafka: e.kafka, Alone: e.broker != nil, Sink: target, DeadLetter: dead,
			Pace: e.config.pace, Transport: e.routes.mesh(source.NewTransport(e.config.pace)), Logger: e.log,
		})
		if err != nil {
			return err
		}
		e.sources = append(e.sources, d)
	}
	return nil
}

// target resolves a destination: a Service has the address that it has on a
// cluster, which the mesh knows.
func (e *emulator) target(o *knative.Object, field string, d knative.Destination) (source.Target, error) {
	if d.Ref == nil {
		return source.Target{URL: d.URI}, nil
	}
	path := ""
	if d.URI != "" {
		path = "/" + strings.TrimPrefix(d.URI, "/")
	}
	if d.Ref.Kind == "KafkaSink" {
		return source.Target{URL: e.baseURL + "/" + d.Ref.Namespace + "/" + d.Ref.Name + path}, nil
	}
	if e.routes.services[d.Ref.Name] == nil {
		return source.Target{}, o.Errorf(field, "the Service %s is not run", d.Ref.Name)
	}
	return source.Target{URL: clusterURL(d.Ref.Namespace, d.Ref.Name) + path}, nil
}

// serve serves the HTTP address.
func (e *emulator) serve(l net.Listener) {
	e.server = &http.Server{
		Handler:           e.routes,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    8 << 10,
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
	for _, name := range slices.Sorted(maps.Keys(e.routes.services)) {
		fmt.Fprintf(&b, "  %s/%s\n", e.baseURL, name)
	}
	b.WriteString("\nKafkaSinks (POST a CloudEvent):\n")
	for _, name := range slices.Sorted(maps.Keys(e.routes.sinks)) {
		fmt.Fprintf(&b, "  %s/%s\n", e.baseURL, name)
	}
	return b.String()
}

// writeInfo writes emulator.json as things are now, once everything is started.
func (e *emulator) writeInfo() {
	e.infoMu.Lock()
	defer e.infoMu.Unlock()
	if e.dir == nil || e.display == nil {
		return // stopped, or not all started
	}
	info := datadir.Info{Kafka: e.kafkaAddr, HTTP: e.baseURL, Services: make(map[string]datadir.Service)}
	for _, s := range e.services {
		entry := datadir.Service{URL: e.baseURL + "/" + s.Name(), Instances: []datadir.Instance{}}
		for _, in := range s.Instances() {
			entry.Instances = append(entry.Instances, datadir.Instance{URL: in.URL, PID: in.PID})
		}
		if len(entry.Instances) > 0 {
			entry.PID = entry.Instances[0].PID
		}
		info.Services[s.Name()] = entry
	}
	if err := e.dir.WriteInfo(info); err != nil {
		e.log.Warn("endpoints are not written", "error", err)
	}
}

// shownTopics are the topics of the status: all but the changelogs.
func (e *emulator) shownTopics() []string {
	var names []string
	for _, t := range e.set.Topics {
		if !strings.HasSuffix(t.Topic, changelogSuffix) {
			names = append(names, t.Topic)
		}
	}
	return names
}

// quiet lets a Kafka client's warnings through, and nothing below.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (q quiet) WithAttrs(a []slog.Attr) slog.Handler             { return quiet{q.Handler.WithAttrs(a)} }
func (q quiet) WithGroup(name string) slog.Handler               { return quiet{q.Handler.WithGroup(name)} }
