//go:build synctests

package source

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"datasurge/knative"
)

// recording is a transcript of Knative's dispatcher: what it was given, how the
// sink answered, and the requests that it made.
type recording struct {
	Name    string
	Given   yaml.Node
	Topics  map[string]int32
	Records []struct {
		Topic        string
		Partition    int32
		Timestamp    time.Time
		ProducedAtMs int64 `yaml:"producedAtMs"`
		Key, Value   *content
		Headers      [][2]yaml.Node
		Transaction  string // name and end, "none", or ""
	}
	Sink []struct {
		Path     string
		WhenBody *string `yaml:"whenBody"`
		Answers  []answer
	}
	Then struct {
		Requests []struct {
			AtMs                 int64  `yaml:"atMs"`
			SincePrevAttemptMs   *int64 `yaml:"sincePrevAttemptMs"`
			Attempt              int
			Method, Path, Answer string
			Headers              [][2]yaml.Node
			Body                 *content
		}
		Committed map[string]int64
	}
}

type answer struct {
	Status  int
	Headers [][2]string
	Body    string
	BodyDoc string `yaml:"bodyDoc"`
	DelayMs int    `yaml:"delayMs"`
	Action  string
}

// content is {b64: ...}, or text.
type content []byte

func (c *content) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*c = []byte(n.Value)
		return nil
	}
	var v struct{ B64 string }
	if err := n.Decode(&v); err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(v.B64)
	*c = append([]byte{}, b...)
	return err
}

// value returns a header's value, nil when it is null.
func value(t *testing.T, n yaml.Node) []byte {
	t.Helper()
	if n.ShortTag() == "!!null" {
		return nil
	}
	var c content
	if err := c.UnmarshalYAML(&n); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGolden replays the transcripts in testdata/golden and compares the requests
// that are made with those of Knative: their number and content, the pauses
// between attempts, and the positions that are committed in the end.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := yaml.Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { replay(t, &r) })
		})
	}
}

func replay(t *testing.T, r *recording) {
	given, err := yaml.Marshal(&r.Given)
	if err != nil {
		t.Fatal(err)
	}
	set, err := knative.Read(r.Name, bytes.NewReader(given))
	if err != nil {
		t.Fatal(err)
	}
	src := set.Sources[0]

	var network kfake.VirtualNetwork
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.Listen), kfake.Ports(9092))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	kafka := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(network.DialContext)}
	client, err := kgo.NewClient(append(kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for topic, n := range r.Topics {
		if _, err := admin.CreateTopic(t.Context(), n, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	write := writer(t, client, kafka)
	produce := func(later bool) {
		start := time.Now()
		for _, rec := range r.Records {
			if (rec.ProducedAtMs > 0) != later {
				continue
			}
			time.Sleep(time.Until(start.Add(time.Duration(rec.ProducedAtMs) * time.Millisecond)))
			k := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Timestamp: rec.Timestamp}
			if rec.Key != nil {
				k.Key = *rec.Key
			}
			if rec.Value != nil {
				k.Value = *rec.Value
			}
			for _, h := range rec.Headers {
				k.Headers = append(k.Headers, kgo.RecordHeader{Key: h[0].Value, Value: value(t, h[1])})
			}
			write(t, k, rec.Transaction)
		}
		write(t, nil, "none")
	}
	produce(false)
	sink := &scripted{r: r, attempts: make(map[string]int), last: make(map[string]time.Time)}
	cfg := Config{
		Source: src, Kafka: kafka, Alone: true, Sink: Target{URL: src.Sink.URI},
		Transport: sink, Logger: slog.New(slog.DiscardHandler),
	}
	if dls := src.Delivery.DeadLetterSink; dls != nil {
		cfg.DeadLetter = &Target{URL: dls.URI}
	}
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	produce(true)
	time.Sleep(20 * time.Minute) // longer than any schedule
	d.Close(t.Context())

	var want []string
	for _, q := range r.Then.Requests {
		var headers []string
		for _, h := range q.Headers {
			headers = append(headers, h[0].Value+": "+fmt.Sprintf("%q", value(t, h[1])))
		}
		body := []byte(nil)
		if q.Body != nil {
			body = *q.Body
		}
		want = append(want, canonical(q.Method, q.Path, headers, body))
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(sink.requests))
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-Knative +emulator):\n%s", diff)
	}
	compareTimes(t, r, sink)

	committed, err := admin.FetchOffsets(t.Context(), src.ConsumerGroup)
	if err != nil && len(r.Then.Committed) > 0 {
		t.Fatal(err)
	}
	positions := make(map[string]int64)
	committed.Each(func(o kadm.OffsetResponse) {
		positions[o.Topic+"/"+strconv.Itoa(int(o.Partition))] = o.At
	})
	if diff := gocmp.Diff(r.Then.Committed, positions); diff != "" && len(r.Then.Committed) > 0 {
		t.Errorf("committed (-Knative +emulator):\n%s", diff)
	}
}

// writer returns a function that writes records, each in the transaction that is
// named, and ends the transaction before when that is another.
func writer(t *testing.T, plain *kgo.Client, kafka []kgo.Opt) func(*testing.T, *kgo.Record, string) {
	var txn *kgo.Client
	current := "none"
	return func(t *testing.T, rec *kgo.Record, transaction string) {
		t.Helper()
		transaction = cmp.Or(transaction, "none")
		stays := strings.Contains(current, "open for 4 s") && rec != nil // until all is written
		if transaction != current && current != "none" && !stays {
			if strings.Contains(current, "open for 4 s") {
				time.Sleep(4 * time.Second)
			}
			if err := txn.EndTransaction(t.Context(), kgo.TransactionEndTry(!strings.Contains(current, "aborted"))); err != nil {
				t.Fatal(err)
			}
			txn.Close()
		}
		client := plain
		if transaction != "none" {
			if transaction != current {
				var err error
				txn, err = kgo.NewClient(append(kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(transaction))...)
				if err == nil {
					err = txn.BeginTransaction()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			client = txn
		}
		if !stays {
			current = transaction
		}
		if rec == nil {
			return
		}
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// compareTimes compares the pauses before repetitions. Those of Knative were
// measured on a busy machine, so they may be longer by some 100 ms; the first of
// a process by more.
func compareTimes(t *testing.T, r *recording, sink *scripted) {
	t.Helper()
	const slack = 700 * time.Millisecond
	var want []time.Duration
	for _, q := range r.Then.Requests {
		if q.SincePrevAttemptMs != nil {
			want = append(want, time.Duration(*q.SincePrevAttemptMs)*time.Millisecond)
		}
	}
	got := slices.Clone(sink.pauses)
	slices.Sort(want)
	slices.Sort(got)
	if len(want) != len(got) {
		t.Errorf("%d repetitions, Knative made %d", len(got), len(want))
		return
	}
	for i := range want {
		if want[i] < got[i]-10*time.Millisecond || want[i] > got[i]+slack {
			t.Errorf("pauses %v, Knative's are %v", got, want)
			return
		}
	}
}

// canonical is a request without what is volatile.
func canonical(method, path string, headers []string, body []byte) string {
	headers = slices.DeleteFunc(slices.Clone(headers), func(h string) bool {
		name, _, _ := strings.Cut(h, ":")
		return name == "host" || name == "user-agent" || name == "content-length"
	})
	for i, h := range headers {
		if strings.HasPrefix(h, "ce-knativeerrordest:") {
			headers[i] = "ce-knativeerrordest"
		}
		// version-traceid-parentid-flags
		if parts := strings.Split(h, "-"); strings.HasPrefix(h, "traceparent:") && len(parts) == 4 {
			parts[2] = "span"
			headers[i] = strings.Join(parts, "-")
		}
	}
	slices.Sort(headers)
	return fmt.Sprintf("%s %s\n%s\n%q", method, path, strings.Join(headers, "\n"), body)
}

// scripted is a sink that answers as the recorded one did.
type scripted struct {
	r *recording

	mu       sync.Mutex
	requests []string
	attempts map[string]int       // by path and event
	last     map[string]time.Time // of the attempt before
	pauses   []time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	var headers []string
	for name, values := range req.Header {
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return nil, fmt.Errorf("invalid header field value for %q", name) // as net/http does
			}
			headers = append(headers, strings.ToLower(name)+": "+fmt.Sprintf("%q", v))
		}
	}
	switch req.URL.Host {
	case "127.0.0.1:18081", "127.0.0.1:18082", "127.0.0.1:18084":
	default:
		return nil, errors.New("connection refused")
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.requests = append(s.requests, canonical(req.Method, req.URL.RequestURI(), headers, body))
	key := req.Method + req.URL.Path + "\x00" + req.Header.Get("Ce-Id") + "\x00" + req.Header.Get("Ce-Knativekafkaoffset")
	n := s.attempts[key]
	s.attempts[key]++
	if last, ok := s.last[key]; ok {
		s.pauses = append(s.pauses, time.Since(last))
	}
	s.last[key] = time.Now()
	s.mu.Unlock()
	a := s.answer(req.URL.Path, string(body), n)
	select {
	case <-time.After(time.Duration(a.DelayMs) * time.Millisecond):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	switch a.Action {
	case "hang":
		<-req.Context().Done()
		return nil, req.Context().Err()
	case "reset", "close", "garbage":
		return nil, errors.New("connection reset by peer")
	}
	text := a.Body
	if hex, ok := strings.CutPrefix(a.BodyDoc, "bytes "); ok {
		for b := range strings.FieldsSeq(hex) {
			c, _ := strconv.ParseUint(b, 16, 8)
			text += string([]byte{byte(c)})
		}
	}
	resp := &http.Response{StatusCode: a.Status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(text)), Request: req}
	if resp.StatusCode == 0 {
		resp.StatusCode = http.StatusAccepted
	}
	for _, h := range a.Headers {
		resp.Header.Add(h[0], h[1])
	}
	if strings.HasSuffix(a.Action, "-mid") {
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("partial"), broken{}))
	}
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (s *scripted) answer(path, body string, n int) answer {
	for _, rule := range s.r.Sink {
		if rule.Path != path || rule.WhenBody != nil && *rule.WhenBody != body {
			continue
		}
		return rule.Answers[min(n, len(rule.Answers)-1)]
	}
	return answer{}
}
