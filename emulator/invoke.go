package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/emulator/sample"
	"datasurge/events"
	"datasurge/events/kafkarecord"
	functions "datasurge/functions/run"
)

// sampleFor is what a function of ours is invoked with when no event is given, and
// the type of data without an event around it; "" for any other function.
func sampleFor(function string) string {
	switch function {
	case "enrich":
		return "transaction"
	case "detect":
		return "enriched"
	case "aggregate", "learn":
		return "scored"
	}
	return ""
}

// invocation is the command line of invoke.
type invocation struct {
	connection
	function string
	file     string
	sample   string
	kind     string
	data     optional
	id       string
	source   string
	key      string
	wait     time.Duration
	local    bool
	asJSON   bool
}

// runInvoke is the command invoke.
func runInvoke(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	flags := flag.NewFlagSet("invoke", flag.ContinueOnError)
	var c invocation
	flags.StringVar(&c.dataDir, "data-dir", ".datasurge", "`directory` of the emulator")
	flags.StringVar(&c.file, "f", "", "`file` with the event in the CloudEvents JSON format, or with its data alone; - is the standard input")
	flags.StringVar(&c.sample, "sample", "", "send this built-in `sample`; emulator sample lists them (default: what the function takes)")
	flags.StringVar(&c.kind, "type", "", "`type` of the event (default: what the function takes)")
	flags.Var(&c.data, "data", "`JSON` that is the data of the event")
	flags.StringVar(&c.id, "id", "", "`id` of the event (default: a new one)")
	flags.StringVar(&c.source, "source", "/emulator/invoke", "`source` of the event")
	flags.StringVar(&c.key, "key", "", "partitionkey of the event (default: the userId in the data)")
	flags.DurationVar(&c.wait, "wait", 5*time.Second, "how long to wait for the results in their topics; 0: not")
	flags.BoolVar(&c.local, "local", false, "run the function in this process, without Kafka, also when an emulator runs")
	flags.BoolVar(&c.asJSON, "json", false, "the answer and the results as one JSON object")
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("which function? emulator invoke FUNCTION -f event.json; emulator invoke -h lists the arguments")
	}
	c.function = rest[0]
	e, err := c.event(os.Stdin)
	if err != nil {
		return err
	}
	info, err := datadir.ReadInfo(c.dataDir)
	var a *answer
	switch {
	case c.local || errors.Is(err, fs.ErrNotExist):
		a, err = c.here(&e, errs)
	case err == nil:
		a, err = c.there(ctx, &e, info)
	}
	if err != nil {
		return err
	}
	if err := a.print(out, c.asJSON); err != nil {
		return err
	}
	if a.Status >= 300 {
		return fmt.Errorf("%s answered %d: %s", c.function, a.Status, oneLine(errors.New(cmp.Or(strings.TrimSpace(a.Text), http.StatusText(a.Status)))))
	}
	return nil
}

// event makes the event of the command line.
func (c *invocation) event(stdin io.Reader) (events.Event, error) {
	var e events.Event
	given := 0
	for _, is := range []bool{c.file != "", c.sample != "", c.data.given} {
		if is {
			given++
		}
	}
	if given > 1 {
		return e, errors.New("-f, --sample and --data exclude each other")
	}
	data := []byte(c.data.value)
	switch {
	case c.file != "":
		var err error
		if c.file == "-" {
			data, err = io.ReadAll(io.LimitReader(stdin, 16<<20))
		} else {
			data, err = os.ReadFile(c.file)
		}
		if err != nil {
			return e, err
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			return e, fmt.Errorf("%s is no JSON object: %w", c.file, err)
		}
		if _, isEvent := members["specversion"]; isEvent {
			if err := e.ParseJSON(data); err != nil {
				return e, fmt.Errorf("%s: %w", c.file, err)
			}
			e.ID, e.Type, e.Key = cmp.Or(c.id, e.ID), cmp.Or(c.kind, e.Type), cmp.Or(c.key, e.Key)
			return e, nil
		}
	case !c.data.given:
		kind := cmp.Or(c.sample, sampleFor(c.function), "transaction")
		e, err := sample.New(kind, cmp.Or(c.id, newID()), time.Now())
		e.Type, e.Key = cmp.Or(c.kind, e.Type), cmp.Or(c.key, e.Key)
		return e, err
	}
	kind := c.kind
	if kind == "" {
		if sampleFor(c.function) == "" {
			return e, fmt.Errorf("--type is missing: what %s takes is not known here", c.function)
		}
		s, err := sample.New(sampleFor(c.function), newID(), time.Now())
		if err != nil {
			return e, err
		}
		kind = s.Type
	}
	e = events.Event{
		ID: cmp.Or(c.id, newID()), Source: c.source, Type: kind, Time: time.Now().UTC(), Key: cmp.Or(c.key, transactionIn(data).UserID),
		DataContentType: "application/json", Data: data,
	}
	e.Subject = e.Key
	return e, nil
}

// identity is what tells a transaction from others.
type identity struct {
	TransactionID string `json:"transactionId"`
	UserID        string `json:"userId"`
}

// transactionIn returns the transaction that data is about, as far as it says.
func transactionIn(data []byte) (id identity) {
	_ = json.Unmarshal(data, &id) // what is no such JSON is about none
	return id
}

// answer is what became of an event.
type answer struct {
	Status  int            `json:"status"`
	Took    time.Duration  `json:"tookNanoseconds"`
	Text    string         `json:"text,omitempty"` // of an answer that is no event
	Note    string         `json:"note,omitempty"`
	Results []recordObject `json:"results,omitempty"` // what the function emitted
}

// here runs the function in this process.
func (c *invocation) here(e *events.Event, logs io.Writer) (*answer, error) {
	f, err := functions.NewLocal(c.function, logs)
	if err != nil {
		return nil, fmt.Errorf("%w (no emulator runs on %s, so it has to be one of ours)", err, c.dataDir)
	}
	start := time.Now()
	a := &answer{Status: http.StatusOK, Note: "in this process, without Kafka"}
	emitted, err := f.Deliver(e, start)
	a.Took = time.Since(start)
	if invalid, ok := errors.AsType[*events.InvalidError](err); ok {
		a.Status, a.Text = http.StatusBadRequest, invalid.Error()
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range emitted {
		a.Results = append(a.Results, recordObject{Event: emitted[i].AppendJSON(nil)})
	}
	if len(emitted) == 0 {
		a.Note += "; it emitted nothing: what it does with the event comes with time, or only once"
	}
	return a, nil
}

// there sends the event to the emulator that runs, and waits for the results.
func (c *invocation) there(ctx context.Context, e *events.Event, info datadir.Info) (*answer, error) {
	s, ok := info.Services[c.function]
	if !ok {
		return nil, fmt.Errorf("the emulator on %s runs no function %q; it runs %s", c.dataDir, c.function, strings.Join(slices.Sorted(maps.Keys(info.Services)), ", "))
	}
	kafka, err := c.options(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; --local runs the function without it", err)
	}
	w, err := watchResults(ctx, kafka, c.function, e, c.wait)
	if err != nil {
		return nil, err
	}
	defer w.close()
	a, err := post(ctx, s.URL, e)
	if err != nil {
		return nil, fmt.Errorf("the emulator on %s does not answer: %w", c.dataDir, err)
	}
	if a.Status != http.StatusAccepted {
		return a, nil
	}
	if a.Results, a.Note, err = w.await(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// answerWithin is how long a function may take to answer.
const answerWithin = time.Minute

// post sends an event in binary mode.
func post(ctx context.Context, url string, e *events.Event) (*answer, error) {
	ce, err := e.CloudEvent()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return nil, err
	}
	if err := cehttp.WriteRequest(ctx, binding.ToMessage(&ce), req); err != nil {
		return nil, err
	}
	start := time.Now()
	resp, err := (&http.Client{Timeout: answerWithin}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	a := &answer{Status: resp.StatusCode, Took: time.Since(start)}
	replies, ok := readReplies(ctx, resp.Header, body)
	if !ok {
		a.Text = string(body)
		return a, nil
	}
	for i := range replies {
		a.Results = append(a.Results, recordObject{Event: replies[i].AppendJSON(nil)})
	}
	return a, nil
}

// readReplies reads the events of an answer; ok is false when there are none.
func readReplies(ctx context.Context, header http.Header, body []byte) (list []events.Event, ok bool) {
	var parsed []event.Event
	if strings.HasPrefix(header.Get("Content-Type"), event.ApplicationCloudEventsBatchJSON) {
		if json.Unmarshal(body, &parsed) != nil {
			return nil, false
		}
	} else {
		one, err := binding.ToEvent(ctx, cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body))))
		if err != nil {
			return nil, false
		}
		parsed = append(parsed, *one)
	}
	for _, ce := range parsed {
		e, err := events.FromCloudEvent(ce)
		if err != nil {
			return nil, false
		}
		list = append(list, e)
	}
	return list, true
}

// resultTopics are those in which the results of an event appear at once.
func resultTopics(function string) []string {
	switch function {
	case "enrich":
		return []string{events.TopicEnriched, events.TopicLate}
	case "detect":
		return []string{events.TopicScored, events.TopicAnomalies, events.TopicLate}
	}
	return nil
}

// resultWatch reads the topics of a function from before an event on.
type resultWatch struct {
	client *kgo.Client // nil: there is nothing to read
	event  *events.Event
	ids    []string
	within time.Duration
	topics []string
}

func watchResults(ctx context.Context, kafka []kgo.Opt, function string, e *events.Event, within time.Duration) (*resultWatch, error) {
	w := &resultWatch{event: e, within: within, topics: resultTopics(function), ids: []string{e.ID}}
	if id := transactionIn(e.Data).TransactionID; id != "" {
		w.ids = append(w.ids, id)
	}
	if len(w.topics) == 0 || within <= 0 {
		return w, nil
	}
	from := make(map[string]map[int32]kgo.Offset)
	for _, topic := range w.topics {
		o := tailOptions{from: "end", partition: -1, follow: true}
		start, _, err := o.positions(ctx, kafka, topic)
		if err != nil {
			return nil, err
		}
		from[topic] = start
	}
	var err error
	w.client, err = kgo.NewClient(append([]kgo.Opt{kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted())}, kafka...)...)
	return w, err
}

func (w *resultWatch) close() {
	if w.client != nil {
		w.client.Close()
	}
}

// await returns the results that come within the time that they are given, and
// what is to be said about them.
func (w *resultWatch) await(ctx context.Context) (results []recordObject, note string, err error) {
	if len(w.topics) == 0 {
		return nil, "committed; results come with time, in their topics", nil
	}
	if w.client == nil {
		return nil, "committed; results are in " + strings.Join(w.topics, ", "), nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	for missing := 1; missing > 0; {
		fetches := w.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return results, fmt.Sprintf("committed; not all results are in %s within %v. An event that was there before is dropped; emulator explain %s tells more",
				strings.Join(w.topics, ", "), w.within, w.ids[len(w.ids)-1]), nil
		}
		for _, e := range fetches.Errors() {
			return nil, "", fmt.Errorf("read %s: %w", e.Topic, e.Err)
		}
		for rec := range fetches.RecordsAll() {
			var e events.Event
			if kafkarecord.Read(rec, &e, kafkarecord.Mapping{CloudEventsOnly: true}) != nil || !w.concerns(&e) {
				continue
			}
			results = append(results, newRecordObject(rec, &e))
			var verdict events.Scored
			if missing--; e.Type == events.TypeScored && events.ParseVerdict(e.Data, &verdict) == nil && verdict.Flagged {
				missing++ // the anomaly
			}
		}
	}
	return results, "committed", nil
}

// concerns reports whether a result is of the event.
func (w *resultWatch) concerns(e *events.Event) bool {
	for _, id := range w.ids {
		if e.ID == id || strings.HasPrefix(e.ID, id+"/") {
			return true
		}
	}
	return false
}

// print writes the answer for people, or as JSON.
func (a *answer) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(a)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s in %v", a.Status, http.StatusText(a.Status), a.Took.Round(10*time.Microsecond))
	if a.Note != "" {
		b.WriteString(": " + a.Note)
	}
	b.WriteByte('\n')
	if text := strings.TrimSpace(a.Text); text != "" {
		b.WriteString(text + "\n")
	}
	for i := range a.Results {
		r := &a.Results[i]
		b.WriteByte('\n')
		if r.Topic != "" {
			fmt.Fprintf(&b, "%s %d/%d\n", r.Topic, r.Partition, r.Offset)
		}
		fmt.Fprintf(&b, "%s\n", pretty(r.Event))
	}
	_, err := out.Write(b.Bytes())
	return err
}
