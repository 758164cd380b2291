package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"datasurge/functions/aggregate"
	"datasurge/functions/detect"
	"datasurge/functions/enrich"
	"datasurge/functions/generate"
	"datasurge/functions/learn"
	"datasurge/functions/metrics"
	"datasurge/functions/serve"
	"datasurge/functions/step"
	"datasurge/functions/stream"
	"datasurge/functions/tracing"
	"datasurge/functions/window"
)

// Usage is printed when it is asked for, and when the arguments are wrong.
const Usage = `usage: functions generate|enrich|detect|aggregate|learn
       functions topics         create the topics that are not there, and end
       functions kafka-health   watch Kafka and export what is seen as metrics
       functions healthcheck    ask the one that listens on PORT whether it is ready

Everything else is set by environment variables; the README has the table.
Without KAFKA_BROKERS the answer to a CloudEvent is what the function emits:

  go run ./functions enrich`

// stopWithin bounds the last requests and commits of a process that is asked to
// stop. The emulator kills it a little later, Knative much later.
const stopWithin = 3 * time.Second

// forwardWithin bounds an event that is sent on to the owner of its partition.
const forwardWithin = 30 * time.Second

// Main runs one function until ctx ends, then ends it with everything committed.
// The function is the first of args, else the variable FUNCTION names it; or it is
// one of the other modes that Usage lists, which operate what the functions need.
//
//	environment ─▶ Config ─▶ step.Definition ─┬─▶ stream.Engine ◀── Ownership (group or emulator)
//	                              metrics ────┤         ▲
//	                                          └─▶ serve.Handler ◀── HTTP: events, probes, /metrics
func Main(ctx context.Context, args []string, logs io.Writer) error {
	config, err := ReadConfig()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		config.Function = args[0]
	}
	if len(args) <= 1 {
		switch log := newLogger(&config, logs); config.Function {
		case "topics":
			return makeTopics(ctx, &config, log)
		case "kafka-health":
			return watchKafka(ctx, &config, log)
		case "healthcheck":
			return checkHealth(ctx, &config)
		}
	}
	if config.Function == "" {
		return fmt.Errorf("which function? The argument names it, or the variable FUNCTION\n\n%s", Usage)
	}
	if len(args) > 1 || !slices.Contains(names[:], config.Function) {
		return fmt.Errorf("there is no function %q\n\n%s", strings.Join(append([]string{config.Function}, args[min(1, len(args)):]...), " "), Usage)
	}
	log := newLogger(&config, logs)
	observer := metrics.New(config.Function, version(), log)
	definition, err := Definition(&config, observer)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, &config)
	if err != nil {
		return err
	}
	function, err := open(ctx, &config, definition, observer, log)
	if err != nil {
		listener.Close()
		return err
	}
	server := serve.NewServer(serve.NewHandler(function, function.ready, observer.Handler(), log), log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("started", slog.String("function", config.Function), slog.String("address", listener.Addr().String()),
		slog.String("transport", config.Transport), slog.Any("brokers", config.Brokers))

	select {
	case <-ctx.Done():
		err = nil
	case <-function.failed():
		err = function.err()
	case err = <-served:
	}
	// Shutdown order:
	//  1. The server takes no new request and waits for those under way, whose
	//     answers need the engine.
	//  2. The engine commits what is left and gives its partitions up.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	err = errors.Join(err, server.Shutdown(stop), function.close(stop))
	log.Info("stopped", slog.String("function", config.Function))
	return err
}

// listen opens the port of the HTTP server.
func listen(ctx context.Context, c *Config) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w; set PORT to another one", c.Port, err)
	}
	return listener, nil
}

// Definition returns the function that the configuration names.
func Definition(c *Config, m *metrics.Metrics) (step.Definition, error) {
	switch c.Function {
	case "generate":
		g := generate.DefaultConfig()
		g.Profile, g.Speed, g.Rate, g.Seed = c.Profile, float64(c.Speed), float64(c.Rate), c.Seed
		g.Customers, g.Merchants, g.LabelDelay = c.Customers, c.Merchants, c.LabelDelay
		g.Observer = m
		return generate.Definition(g)
	case "enrich":
		e := enrich.DefaultConfig()
		e.BaseCurrency, e.Horizon, e.Observer = c.BaseCurrency, c.DedupeHorizon, m.Enrich()
		return enrich.Definition(e)
	case "detect":
		d := detect.DefaultConfig()
		d.FlagScore, d.ReviewScore, d.DeclineScore = c.FlagScore, c.ReviewScore, c.DeclineScore
		d.Observer = m.Detect()
		return detect.Definition(d)
	case "aggregate":
		windows, err := window.ParseSpecs(c.Windows)
		if err != nil {
			return step.Definition{}, fmt.Errorf("WINDOWS: %w", err)
		}
		a := aggregate.DefaultConfig()
		a.Windows, a.Lateness, a.LabelDelay, a.BaseCurrency = windows, c.Lateness, c.LabelDelay, c.BaseCurrency
		a.Observer = m.Aggregate()
		return aggregate.Definition(a)
	case "learn":
		return learn.Definition(learn.DefaultConfig())
	}
	return step.Definition{}, fmt.Errorf("there is no function %q", c.Function)
}

// instance is a function that takes events, with Kafka or without.
type instance struct {
	serve.Function
	ready  func() error
	failed func() <-chan struct{}
	err    func() error
	close  func(context.Context) error
}

func open(ctx context.Context, c *Config, definition step.Definition, observer *metrics.Metrics, log *slog.Logger) (*instance, error) {
	if len(c.Brokers) == 0 {
		if len(definition.Inputs) == 0 {
			return nil, fmt.Errorf("%s has no input to answer to: set KAFKA_BROKERS", c.Function)
		}
		local := stream.NewLocal(definition, limits(c), observer)
		return &instance{
			Function: serve.Local{Function: local},
			ready:    func() error { return nil },
			failed:   func() <-chan struct{} { return nil },
			err:      func() error { return nil },
			close:    func(context.Context) error { return nil },
		}, nil
	}
	kafka, err := KafkaOptions(c, log)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(cmp.Or(c.PodIP, ownAddress()), strconv.Itoa(c.Port))
	var tracer stream.Tracer // none, unless the environment asks for spans
	closeTracer := func(context.Context) error { return nil }
	if tracing.Enabled() {
		t, err := tracing.Open(ctx, c.Function, version())
		if err != nil {
			return nil, err
		}
		tracer, closeTracer = t, t.Close
	}
	engine, err := stream.Open(ctx, stream.Options{
		Definition:      definition,
		Kafka:           kafka,
		Consume:         c.Transport == "kafka",
		Owner:           ownership(c),
		Address:         address,
		CommitInterval:  c.Commit,
		Waiting:         c.Waiting,
		Compression:     compression(c.Compress),
		ResumeTruncated: c.Truncated == "resume",
		Limits:          limits(c),
		Logger:          log,
		Observer:        observer,
		Tracer:          tracer,
	})
	if err != nil {
		return nil, errors.Join(err, closeTracer(ctx))
	}
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	var follower sync.WaitGroup
	follower.Go(func() { observer.Follow(following, engine) })
	client := &http.Client{Timeout: forwardWithin, Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}}
	return &instance{
		Function: serve.Engine{Engine: engine, Client: client, Self: address},
		ready:    engine.Ready,
		failed:   engine.Failed,
		err:      engine.Err,
		close: func(ctx context.Context) error {
			unfollow()
			follower.Wait()
			client.CloseIdleConnections()
			err := engine.Close(ctx)
			if lost := closeTracer(ctx); lost != nil {
				log.Warn("the last spans could not be exported", slog.Any("error", lost))
			}
			return err
		},
	}, nil
}

// ownAddress is the address of this pod or machine as others see it: the first
// one that is not local. Without one, other instances cannot be elsewhere.
func ownAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				return ip.IP.String()
			}
		}
	}
	return "127.0.0.1"
}

func limits(c *Config) stream.Limits {
	l := stream.DefaultLimits()
	l.OutOfOrderness, l.MaxAhead, l.IdleAfter = c.OutOfOrderness, c.MaxAhead, c.IdleAfter
	return l
}

func ownership(c *Config) stream.Ownership {
	if c.AssignURL != "" {
		return stream.Assigned{URL: c.AssignURL}
	}
	return stream.Group{InstanceID: c.InstanceID}
}
