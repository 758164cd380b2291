package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/golden"
)

// asStep in the environment makes the test binary a function that answers with an
// event, as Knative's appender does: it adds MESSAGE to the message, and gives the
// event the type TYPE. It writes each event that comes, and what it was told of
// its sink. An order that is refused is answered 400.
const asStep = "EMULATOR_TEST_AS_STEP"

func step() {
	if sink, ok := os.LookupEnv("K_SINK"); ok {
		fmt.Println("K_SINK", sink, "K_CE_OVERRIDES", os.Getenv("K_CE_OVERRIDES"))
	} else if _, ok := os.LookupEnv("K_CE_OVERRIDES"); !ok {
		fmt.Println("no sink")
	}
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var data struct {
			Message string `json:"message"`
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &data)
		}
		if err != nil || data.Message == "refuse" {
			http.Error(w, fmt.Sprint("no message: ", err), http.StatusBadRequest)
			return
		}
		kind := r.Header.Get("Ce-Type")
		fmt.Printf("got %s %q\n", kind, data.Message)
		if os.Getenv("MESSAGE") == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		data.Message += os.Getenv("MESSAGE")
		for _, name := range []string{"Ce-Specversion", "Ce-Id", "Ce-Source", "Content-Type", "Ce-Partitionkey"} {
			if v := r.Header.Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		w.Header().Set("Ce-Type", cmp.Or(os.Getenv("TYPE"), kind))
		json.NewEncoder(w).Encode(data)
	}))
}

// withSteps are the arguments that run all Services of a manifest as steps.
func withSteps(t *testing.T, manifest string, services ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-f", manifest}
	for _, s := range services {
		args = append(args, "--exec", s+"=env "+asStep+"=1 '"+exe+"'")
	}
	return args
}

func (r *running) publish(path, id, kind, source, message string) {
	r.t.Helper()
	header := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": source, "Ce-Type": kind,
		"Content-Type": "application/json", "Ce-Partitionkey": "customer"}
	request(r.t, http.MethodPost, r.info.HTTP+path, header, fmt.Sprintf(`{"message": %q}`, message), http.StatusAccepted)
}

// record waits for the record of a topic with this id.
func (r *running) record(topic, id string) *kgo.Record {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.info.Kafka...), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	var rec *kgo.Record
	r.await("event "+id+" in "+topic, func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		for got := range client.PollFetches(ctx).RecordsAll() {
			if headerOf(got, "ce_id") == id {
				rec = got
			}
		}
		return rec != nil
	})
	return rec
}

func headerOf(rec *kgo.Record, name string) string {
	for _, h := range rec.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// TestSequence: an event goes through the steps of the example, and what the last
// one answers with arrives in the topic.
func TestSequence(t *testing.T) {
	r := launchWith(t, 3, t.TempDir(), withSteps(t, "../knative/examples/sequence.yaml", "first", "second", "third")...)
	defer r.close()
	r.publish("/_channel/default/words-kn-sequence-0", "1", "words", "/test", "Now every")
	rec := r.record("sentences", "1")
	if got := strings.TrimSpace(string(rec.Value)); got != `{"message":"Now everyEvery step counts."}` {
		t.Errorf("value %s", got)
	}
	if string(rec.Key) != "customer" || headerOf(rec, "ce_type") != "words" {
		t.Errorf("key %q, headers %v", rec.Key, rec.Headers)
	}
	if listing := request(t, http.MethodGet, r.info.HTTP+"/", nil, "", 200); !strings.Contains(listing, "/_channel/default/words-kn-sequence-0 is the beginning of the Sequence words") {
		t.Errorf("listing: %s", listing)
	}
}

// TestBroker: functions are chained through the Broker of the example by the types
// of events; filters choose, what is refused goes to the dead letter sink, and the
// SinkBinding tells its subject where the Broker is.
func TestBroker(t *testing.T) {
	r := launchWith(t, 4, t.TempDir(), withSteps(t, "../knative/examples/broker.yaml", "shop", "accept", "ship", "audit")...)
	defer r.close()
	golden.Row(t, 32, golden.FromSourceReading)
	r.said("shop", "K_SINK "+r.info.HTTP+"/_broker/default/orders K_CE_OVERRIDES {\"extensions\":{\"channel\":\"web\"}}")
	r.said("accept", "no sink")
	r.publish("/_broker/default/orders", "1", "com.example.order.placed", "/shop", "a book")
	r.said("accept", `got com.example.order.placed "a book"`)
	r.said("ship", `got com.example.order.accepted "a book accepted"`)
	r.said("audit", `got com.example.order.placed "a book"`)
	r.said("audit", `got com.example.order.accepted "a book accepted"`)
	r.said("audit", `got com.example.order.shipped "a book accepted shipped"`)

	// The filter of audit does not take what is from a test, nor another type;
	// accept does the first.
	r.publish("/_broker/default/orders", "2", "com.example.order.placed", "/test", "a pen")
	r.said("ship", `got com.example.order.accepted "a pen accepted"`)
	r.publish("/_broker/default/orders", "3", "com.example.payment", "/shop", "ten")
	r.publish("/_broker/default/orders", "4", "com.example.order.cancelled", "/shop", "the end")
	r.said("audit", `got com.example.order.cancelled "the end"`)
	for _, unwanted := range []string{"payment", "placed \"a pen\""} {
		for line := range strings.Lines(content(t, r.out)) {
			if strings.HasPrefix(line, "audit") && strings.Contains(line, unwanted) {
				t.Errorf("not for audit: %s", line)
			}
		}
	}

	r.publish("/_broker/default/orders", "5", "com.example.order.placed", "/test", "refuse")
	rec := r.record("rejected_orders", "5")
	if headerOf(rec, "ce_knativeerrorcode") != "400" ||
		headerOf(rec, "ce_knativeerrordest") != "http://accept.default.svc.cluster.local" {
		t.Errorf("dead letter %v", rec.Headers)
	}
	if accepted := strings.Count(content(t, r.out), "got com.example.order.accepted \"a book accepted\""); accepted != 2 {
		t.Errorf("a book was accepted %d times, want once for ship and once for audit:\n%s", accepted, content(t, r.out))
	}
}

// TestFilterSyntax: an expression that is none is refused before anything starts,
// by its place.
func TestFilterSyntax(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	writeFile(t, path, `
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: b, annotations: {eventing.knative.dev/broker.class: Kafka}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: b
  subscriber: {uri: "http://h/"}
  filters:
    - cesql: "type = "
`)
	var errs strings.Builder
	if status := execute(t.Context(), []string{"run", "-f", path, "--data-dir", t.TempDir()}, output(t), &errs); status != 1 {
		t.Errorf("exit status %d", status)
	}
	if want := path + ":13: spec.filters: cesql"; !strings.Contains(errs.String(), want) {
		t.Errorf("%s, want %s", &errs, want)
	}
}
