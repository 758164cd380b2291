package run

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"datasurge/functions/kafkahealth"
	"datasurge/functions/serve"
)

// watchKafka is the mode kafka-health: it looks at the cluster until ctx ends and
// exports what it sees at /metrics.
func watchKafka(ctx context.Context, c *Config, log *slog.Logger) error {
	if len(c.Brokers) == 0 {
		return errors.New("KAFKA_BROKERS is not set: there is no Kafka to watch")
	}
	kafka, err := KafkaOptions(c, log)
	if err != nil {
		return err
	}
	loop, err := kafkahealth.New(kafkahealth.Config{Kafka: kafka, Brokers: c.Expected, Logger: log})
	if err != nil {
		return err
	}
	defer loop.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(loop, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	listener, err := listen(ctx, c)
	if err != nil {
		return err
	}
	alive := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	// What it says is right while Kafka is away, so it is always ready.
	mux.HandleFunc("GET /readyz", alive)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	server := serve.NewServer(mux, log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("watching Kafka", slog.String("address", listener.Addr().String()), slog.Any("brokers", c.Brokers))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		loop.Run(ctx)
	}()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-served:
	}
	cancel()
	<-looked
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer done()
	return errors.Join(err, server.Shutdown(stop))
}
