package golden

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"
)

// Recording is one scenario.
type Recording struct {
	Name  string
	Rows  []int // of the parity list that it backs
	About string
	// Given is the manifest. Those of a Subscription and of a Trigger are
	// fragments, in which topic and group stand directly.
	Given yaml.Node
	// Kind of the manifest.
	Kind    Kind             `yaml:"-"`
	Topics  map[string]int32 // partitions of each topic
	Records []Record         // produced, in order
	Sink    []Rule
	Then    Then
}

// Kind says which component a recording is of.
type Kind string

// The kinds that are known.
const (
	KafkaSource  Kind = "KafkaSource"
	Subscription Kind = "Subscription"
	Trigger      Kind = "Trigger"
	KafkaSink    Kind = "KafkaSink"
)

// Record is a record that was produced, or that was there in the end.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	// ProducedAtMs is when it was produced, 0 at the beginning.
	ProducedAtMs int64 `yaml:"producedAtMs"`
	Key, Value   *Content
	Headers      []Header
	// Transaction is the name of the transaction and how it ended, "" or "none"
	// without one.
	Transaction string
	Note        string
}

// Kgo returns r as a record to be produced.
func (r *Record) Kgo() (*kgo.Record, error) {
	k := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp}
	var err error
	if k.Key, err = r.Key.Bytes(); err != nil {
		return nil, fmt.Errorf("key of record %d: %w", r.Offset, err)
	}
	if k.Value, err = r.Value.Bytes(); err != nil {
		return nil, fmt.Errorf("value of record %d: %w", r.Offset, err)
	}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
	}
	return k, nil
}

// Rule is how the sink answers requests with this path and, if given, this body.
// The first that fits counts; without any the answer is 202 without a body.
type Rule struct {
	Path     string
	WhenBody *string  `yaml:"whenBody"`
	Answers  []Answer // by attempt of one event; the last one repeats
}

// Answer is one answer of the sink.
type Answer struct {
	Status  int // 0 is 202
	Headers []Header
	Body    string
	// BodyDoc is "bytes" and hexadecimal numbers, for a body that is no text.
	BodyDoc string `yaml:"bodyDoc"`
	DelayMs int64  `yaml:"delayMs"`
	Action  Action
}

// Action is what the sink does in place of a plain answer.
type Action string

// The actions that are known.
const (
	Hang       Action = "hang"       // never answers, or when all are held: later
	Reset      Action = "reset"      // RST before an answer
	Close      Action = "close"      // FIN before an answer
	ResetMid   Action = "reset-mid"  // status, content-length 1000, 7 bytes, RST
	CloseMid   Action = "close-mid"  // the same with FIN
	Garbage    Action = "garbage"    // what is no HTTP, then FIN
	Interim    Action = "interim"    // 100 and 103 first
	CloseAfter Action = "closeafter" // FIN after the answer
)

var actions = []Action{"", Hang, Reset, Close, ResetMid, CloseMid, Garbage, Interim, CloseAfter}

// Content returns the body of an answer.
func (a *Answer) Content() ([]byte, error) {
	if a.BodyDoc == "" {
		return []byte(a.Body), nil
	}
	hex, ok := strings.CutPrefix(a.BodyDoc, "bytes ")
	if !ok {
		return nil, fmt.Errorf("bodyDoc %q: want bytes and hexadecimal numbers", a.BodyDoc)
	}
	var body []byte
	for b := range strings.FieldsSeq(hex) {
		v, err := strconv.ParseUint(b, 16, 8)
		if err != nil {
			return nil, fmt.Errorf("bodyDoc %q: %w", a.BodyDoc, err)
		}
		body = append(body, byte(v))
	}
	return body, nil
}

// Then is what the data plane did.
type Then struct {
	Events    []Event
	Requests  []Request
	Exchanges []Exchange
	Records   []Record // of the target topic, in the end
	// Committed are the positions in the end, by topic/partition.
	Committed map[string]int64
	Timeline  []Position `yaml:"committedTimeline"`
	Summary   *Summary
}

// Event is what the recorder did or saw.
type Event struct {
	At   time.Duration
	Text string
}

// UnmarshalYAML reads "<ms> ms  text".
func (e *Event) UnmarshalYAML(n *yaml.Node) error {
	ms, text, ok := strings.Cut(n.Value, " ms ")
	at, err := strconv.ParseInt(strings.TrimSpace(ms), 10, 64)
	if !ok || err != nil {
		return fmt.Errorf("line %d: event %q: want a time in ms and a text", n.Line, n.Value)
	}
	e.At, e.Text = time.Duration(at)*time.Millisecond, strings.TrimSpace(text)
	return nil
}

// Position is what was committed at one time.
type Position struct {
	AtMs      int64 `yaml:"atMs"`
	Committed map[string]int64
}

// Summary stands for requests that were only counted.
type Summary struct {
	RecordsProduced    *int   `yaml:"recordsProduced"`
	WarmUpRecords      int    `yaml:"warmUpRecords"`
	RequestsInAll      *int   `yaml:"requestsInAll"`
	InFlightWhileHeld  *int   `yaml:"inFlightWhileHeld"`
	MaxInFlightEver    *int   `yaml:"maxInFlightEver"`
	ArrivalsPer100ms   []int  `yaml:"arrivalsPer100ms"` // since the first
	AssignedPartitions *int   `yaml:"assignedPartitions"`
	GroupMembers       *int   `yaml:"groupMembers"`
	Protocol           string // of the group
}

// Request is a request that the sink got.
type Request struct {
	N                  int
	AtMs               int64  `yaml:"atMs"`
	SincePrevAttemptMs *int64 `yaml:"sincePrevAttemptMs"`
	AnsweredMs         int64  `yaml:"answeredMs"`
	Answer             string // status, or what became of the connection
	Attempt            int    // of this event at this path, over all processes
	InFlight           int    `yaml:"inFlight"` // open requests, this one included
	Method, Path       string
	Headers            []Header // names in lower case, sorted
	RawHead            *Content `yaml:"rawHead"`
	Body               *Content
}

// Exchange is a request to a KafkaSink with its answer.
type Exchange struct {
	N            int
	Note         string
	Method, Path string
	Headers      []Header
	Body         *Content
	Response     Response
	TookMs       int64 `yaml:"tookMs"`
}

// Response is the answer of a KafkaSink. Body is nil when there can be none.
type Response struct {
	Status  int
	Reason  string
	Headers []Header
	Body    *Content
}

// Read reads a recording. It refuses what it does not know: a field, a kind, an
// action, a text that does not say the same as the bytes beside it.
func Read(name string, data []byte) (*Recording, error) {
	r := new(Recording)
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return nil, fmt.Errorf("recording %s: more than one document", name)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	return r, nil
}

func (r *Recording) check() error {
	var given struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       Kind
		Metadata   yaml.Node
		Spec       yaml.Node
	}
	if err := r.Given.Decode(&given); err != nil {
		return fmt.Errorf("given: %w", err)
	}
	versions := map[Kind]string{
		KafkaSource: "sources.knative.dev/v1", Subscription: "messaging.knative.dev/v1",
		Trigger: "eventing.knative.dev/v1", KafkaSink: "eventing.knative.dev/v1alpha1",
	}
	want, ok := versions[given.Kind]
	switch {
	case r.Name == "":
		return fmt.Errorf("it has no name")
	case !ok:
		return fmt.Errorf("kind %q is unknown: nothing replays it", given.Kind)
	case given.APIVersion != want:
		return fmt.Errorf("kind %s of %q: want %s", given.Kind, given.APIVersion, want)
	}
	r.Kind = given.Kind
	for i := range r.Sink {
		if len(r.Sink[i].Answers) == 0 {
			return fmt.Errorf("sink rule %d has no answer", i)
		}
		for _, a := range r.Sink[i].Answers {
			if !slices.Contains(actions, a.Action) {
				return fmt.Errorf("sink rule %d: action %q is unknown", i, a.Action)
			}
			if _, err := a.Content(); err != nil {
				return fmt.Errorf("sink rule %d: %w", i, err)
			}
		}
	}
	return nil
}
