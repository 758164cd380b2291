// Package sink does what the receiver of a KafkaSink does: it takes CloudEvents
// by HTTP and writes them to a topic.
//
// Emulated: POST of one event in binary or structured mode, spec 0.3 and 1.0;
// the record in binary or structured mode, as contentMode says; its key is the
// extension partitionkey, which stays in the event; header values are read as
// Latin-1; 202 when the brokers have it, 400 for what is no event, 405 for other
// methods, 503 when it could not be written; probes of the data plane.
//
// Different from the receiver: the producer is idempotent. An event of version
// 0.3 becomes one of 1.0.
//
// The path (404 for one that is not there) is the caller's.
package sink

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/knative"
)

// Handler serves one KafkaSink.
type Handler struct {
	sink   *knative.KafkaSink
	client *kgo.Client
	log    *slog.Logger
}

// New makes the handler of a sink that writes with client, which [Options] made.
func New(sink *knative.KafkaSink, client *kgo.Client, log *slog.Logger) *Handler {
	return &Handler{sink: sink, client: client, log: log}
}

// Options are those of a client for sinks, beside the brokers: acks from all
// replicas, no waiting for more records.
func Options() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(maxRequest),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.UnknownTopicRetries(-1), // until the delivery timeout
	}
}

const (
	// maxRequest is max.request.size, in bytes.
	maxRequest = 1 << 20
	// maxBody is how much of a request is read at all. A longer one cannot be
	// written, which is a 503 as any other failure to write is.
	maxBody = 16 << 20
	// deliveryTimeout is how long a record may take (max.block.ms).
	deliveryTimeout = 60 * time.Second
)

// ServeHTTP takes one event.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet && req.Header.Get("K-Network-Probe") == "probe" {
		w.Header().Set("K-Network-Hash", req.Header.Get("K-Network-Hash"))
		answer(w, http.StatusOK)
		return
	}
	if req.Method != http.MethodPost {
		answer(w, http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			answer(w, http.StatusServiceUnavailable)
		}
		return // else the client has gone away
	}
	e, err := read(req.Header, body)
	if err != nil {
		answer(w, http.StatusBadRequest)
		return
	}
	rec := &kgo.Record{Topic: h.sink.Topic}
	if h.sink.Structured {
		kafkarecord.WriteStructured(&e, rec)
	} else {
		kafkarecord.Write(&e, rec)
	}
	if rec.Key == nil && has(req.Header, "Ce-Partitionkey") {
		rec.Key = []byte{} // an empty partitionkey is an empty key
	}
	if parent := req.Header.Get("Traceparent"); parent != "" {
		rec.Headers = append([]kgo.RecordHeader{{Key: "traceparent", Value: []byte(parent)}}, rec.Headers...)
	}
	if err := h.client.ProduceSync(req.Context(), rec).FirstErr(); err != nil {
		h.log.Warn("event could not be written", "sink", h.sink.Name, "topic", h.sink.Topic, "error", err)
		answer(w, http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusAccepted)
}

// answer writes a status with an empty body, as every answer of a sink is.
func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

func has(h http.Header, name string) bool {
	_, ok := h[name]
	return ok
}

// read makes the event of a request: it puts the request into the form of a
// record, where the same attributes stand in the same two modes, and reads that.
func read(h http.Header, body []byte) (events.Event, error) {
	rec := kgo.Record{Value: body}
	if len(body) == 0 {
		rec.Value = nil
	}
	for name, values := range h {
		var key string
		switch {
		case len(values) == 0:
			continue
		case name == "Content-Type":
			key = "content-type"
		case strings.HasPrefix(name, "Ce-"):
			key = "ce_" + strings.ToLower(name[len("Ce-"):])
		default:
			continue
		}
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: fromLatin1(values[len(values)-1])})
	}
	var e events.Event
	err := kafkarecord.Read(&rec, &e, kafkarecord.Mapping{CloudEventsOnly: true, Reserialize: true})
	return e, err
}

// fromLatin1 returns the text of a header value whose bytes are Latin-1.
func fromLatin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c < 0x80 {
			b = append(b, c)
		} else {
			b = append(b, string(rune(c))...)
		}
	}
	return b
}
