package run

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/stream"
	"datasurge/functions/stream/kafkatest"
)

// lockedBuffer takes the logs of several tasks.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// The trace context of an event, as a CloudEvents extension or as a header of a
// plain record, is on everything that comes of it in all functions, and its trace
// id in their logs; what has none stays without.
func TestTraceContext(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		logs := &lockedBuffer{}
		p := newPipeline(t, b, nil)
		p.logs = logs
		const extension, header = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
		now := time.Now()
		record := func(id string, headers ...kgo.RecordHeader) *kgo.Record {
			value := bytes.Replace([]byte(goodInput(id, now)), []byte("1234.56"), []byte("234567.89"), 1) // an anomaly
			return &kgo.Record{Key: []byte("user_1"), Value: value, Headers: headers}
		}
		h := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
		parent := func(id string) string { return "00-" + id + "-00f067aa0ba902b7-01" }
		p.Produce(t, events.TopicTransactions,
			record("a", h("ce_specversion", "1.0"), h("ce_id", "a"), h("ce_source", "/test"), h("ce_type", events.TypeTransaction),
				h("ce_traceparent", parent(extension)), h("ce_tracestate", "vendor=1")),
			record("b", h("traceparent", parent(header))),
			record("c"),
		)
		p.start("enrich", "detect")
		p.AwaitCommitted(t, events.TopicAnomalies, 3)
		p.stop()
		for _, topic := range []string{events.TopicEnriched, events.TopicScored, events.TopicAnomalies} {
			got := map[string]string{}
			for _, e := range p.read(topic) {
				got[e.ID[:1]] = stream.TraceOf(&e).ID() + e.Extension("tracestate")
			}
			if want := map[string]string{"a": extension + "vendor=1", "b": header, "c": ""}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", topic, got, want)
			}
		}
		for _, function := range []string{"enrich", "detect"} {
			for _, id := range []string{extension, header} {
				found := false
				for line := range bytes.Lines(logs.Bytes()) {
					found = found || bytes.Contains(line, []byte("function="+function)) && bytes.Contains(line, []byte("trace_id="+id))
				}
				if !found {
					t.Errorf("the logs of %s do not name trace %s", function, id)
				}
			}
		}
	})
}
