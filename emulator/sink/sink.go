// Package sink does what the receiver of a KafkaSink does: it takes CloudEvents
// by HTTP and writes them to a topic. The addresses of a KafkaChannel and of a
// Broker are the same receiver.
//
// Emulated: POST of one event in binary or structured mode, versions 0.3 and
// 1.0; the record in binary or structured mode, as contentMode says, with the
// same bytes; its key is the extension partitionkey, which stays in the event;
// header values are read as Latin-1; data that is called JSON is put into a
// structured record unseen, also when it is none; 202 when the brokers have it,
// 400 for what is no event, 404 for an unknown path, 405 for other methods, 431
// for long headers, 503 when it could not be written within 60 seconds or is too
// large; probes. Answers are empty, without a date.
//
// Different from the receiver: the producer is idempotent, so that an attempt
// that is repeated writes nothing twice.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/knative"
)

// Handler serves one address. The path is the caller's, see [Receiver].
type Handler struct {
	name       string // for the log
	topic      string
	structured bool
	client     *kgo.Client
	log        *slog.Logger
}

// New makes the handler of a sink that writes with client, which [Options] made.
func New(sink *knative.KafkaSink, client *kgo.Client, log *slog.Logger) *Handler {
	return &Handler{name: sink.String(), topic: sink.Topic, structured: sink.Structured, client: client, log: log}
}

// ForTopic makes the handler of a KafkaChannel or Broker, by its name for the
// log, with its topic.
func ForTopic(name, topic string, client *kgo.Client, log *slog.Logger) *Handler {
	return &Handler{name: name, topic: topic, client: client, log: log}
}

// Options are those of a client for sinks, beside the brokers: acks from all
// replicas, no waiting for more records.
func Options() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(maxBatch),
		kgo.MaxBufferedBytes(maxWaiting),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.UnknownTopicRetries(-1), // until the delivery timeout
		// A record may have been sent when its time is up; the answer is 503 all
		// the same, and whoever gets it sends the event again.
		kgo.AllowIdempotentProduceCancellation(),
	}
}

const (
	// maxRequest is max.request.size, in bytes; it bounds one record.
	maxRequest = 1 << 20
	// maxBatch is what a broker takes (message.max.bytes), in bytes.
	maxBatch = 1<<20 + 12
	// maxBody is how much of a request is read at all: what a record can hold, in
	// base64 and with all the rest around it. A longer one cannot be written, which
	// is a 503 as any other failure to write is.
	maxBody = 4 << 20
	// maxHeader bounds all headers of a request together, in bytes.
	maxHeader = 8 << 10
	// maxWaiting is buffer.memory: how much may wait for the brokers, in bytes.
	// Beyond, requests wait.
	maxWaiting = 32 << 20
	// deliveryTimeout is how long a record may take (max.block.ms).
	deliveryTimeout = 60 * time.Second
)

// ServeHTTP takes one event.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case isProbe(req):
		w.Header()["K-Network-Hash"] = req.Header["K-Network-Hash"]
		answer(w, req, http.StatusOK)
	case req.Method != http.MethodPost:
		answer(w, req, http.StatusMethodNotAllowed)
	case headerSize(req.Header) > maxHeader:
		w.Header().Set("Connection", "close")
		answer(w, req, http.StatusRequestHeaderFieldsTooLarge)
	default:
		answer(w, req, h.take(w, req))
	}
}

// take writes the event of a request to the topic and returns the status of the
// answer. A request that breaks off has none: its connection is closed.
func (h *Handler) take(w http.ResponseWriter, req *http.Request) int {
	body, err := readBody(w, req)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return http.StatusServiceUnavailable
		}
		panic(http.ErrAbortHandler)
	}
	var e event
	if err := e.read(req.Header, body); err != nil {
		h.log.Debug("request is no event", "at", h.name, "error", err)
		return http.StatusBadRequest
	}
	rec := &kgo.Record{Topic: h.topic}
	if h.structured {
		e.writeStructured(rec)
	} else {
		e.writeBinary(rec)
	}
	rec.Headers = appendTrace(rec.Headers, req.Header)
	if recordSize(rec) > maxRequest {
		err = errTooLarge
	} else {
		err = h.produce(rec)
	}
	if err != nil {
		h.log.Warn("event could not be written", "at", h.name, "topic", h.topic, "id", e.id, "error", err)
		return http.StatusServiceUnavailable
	}
	return http.StatusAccepted
}

var errTooLarge = errors.New("record is larger than 1 MiB (max.request.size)")

// produce returns when the brokers have rec, or when its time is up. A client
// that goes away meanwhile does not matter.
func (h *Handler) produce(rec *kgo.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTimeout)
	defer cancel()
	result := make(chan error, 1)
	h.client.Produce(ctx, rec, func(_ *kgo.Record, err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		// The client drops the record when it next looks at it.
		return fmt.Errorf("not written within %v: %w", deliveryTimeout, ctx.Err())
	}
}

func readBody(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	const known = 64 << 10
	if n := req.ContentLength; n == 0 {
		return nil, nil
	} else if n > 0 && n <= known {
		body := make([]byte, n)
		_, err := io.ReadFull(req.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
}

func isProbe(req *http.Request) bool {
	return req.Method == http.MethodGet && req.Header.Get("K-Network-Probe") == "probe"
}

// answer writes a status with an empty body and nothing else.
func answer(w http.ResponseWriter, req *http.Request, status int) {
	h := w.Header()
	h["Date"] = nil // the server adds none
	if req.Method != http.MethodHead {
		h["Content-Length"] = zero
	}
	w.WriteHeader(status)
}

var zero = []string{"0"}

// headerSize is what the headers take on the wire, in bytes.
func headerSize(h http.Header) int {
	size := 0
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	return size
}

// Receiver serves the addresses of a number of sinks, and what the receiver
// answers everywhere else.
type Receiver struct {
	// Find returns the handler of a path, such as /namespace/name, nil when there
	// is none.
	Find func(path string) *Handler
}

// ServeHTTP finds the sink. The path is compared as it was sent: nothing in it
// is decoded; one slash at its end does not matter.
func (r Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := req.URL.EscapedPath()
	h := r.Find(strings.TrimSuffix(path, "/"))
	switch {
	case h != nil:
		h.ServeHTTP(w, req)
	case req.Method == http.MethodGet && (path == "/healthz" || path == "/readyz"):
		answer(w, req, http.StatusOK)
	case req.Method == http.MethodPost || isProbe(req):
		answer(w, req, http.StatusNotFound)
	default:
		answer(w, req, http.StatusMethodNotAllowed)
	}
}
