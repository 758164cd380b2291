package main

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"datasurge/functions/kafkahealth"
)

// health watches Kafka as the mode kafka-health of the functions does, as far as
// the embedded broker answers: it has no quorum. It serves the metrics, and those
// of this process.
type health struct {
	http.Handler
	loop   *kafkahealth.Loop
	cancel context.CancelFunc
	done   chan struct{}
}

func (e *emulator) startHealth() (*health, error) {
	config := kafkahealth.Config{Kafka: e.kafka}
	if !e.embedded() { // which has no quorum, and says itself when it is away
		config.Logger = e.log
	}
	loop, err := kafkahealth.New(config)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(loop, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ctx, cancel := context.WithCancel(context.Background())
	h := &health{
		Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}),
		loop:    loop, cancel: cancel, done: make(chan struct{}),
	}
	go func() {
		defer close(h.done)
		loop.Run(ctx)
	}()
	return h, nil
}

// close ends it. It is safe on nil.
func (h *health) close() {
	if h != nil {
		h.cancel()
		<-h.done
		h.loop.Close()
	}
}
