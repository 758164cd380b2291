package metrics

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The clients of a process are counted together, and what one has counted stays
// when it is closed: a counter must not fall.
func TestClientsAreCountedTogether(t *testing.T) {
	m := New("enrich", "test", quiet)
	open := func() *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"), kgo.WithHooks(m.Client("")...))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	exported := func() (connects string, buffered int) {
		families, err := m.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			switch name := f.GetName(); {
			case name == "datasurge_kafka_connects_total":
				connects = f.String()
			case strings.HasPrefix(name, "datasurge_kafka_buffered_"):
				buffered += len(f.Metric)
			}
		}
		return connects, buffered
	}
	first, second := open(), open()
	defer second.Close()
	broker := kgo.BrokerMetadata{NodeID: 3}
	m.clients.OnBrokerConnect(broker, 0, nil, nil)
	m.clients.OnBrokerConnect(broker, 0, nil, nil)
	before, buffered := exported()
	for _, want := range []string{`"datasurge-enrich"`, `value:2`} {
		if strings.Count(before, want) != 1 {
			t.Errorf("%s is not once in %s", want, before)
		}
	}
	if buffered != 4 || len(m.clients.open) != 2 {
		t.Errorf("%d gauges of %d open clients", buffered, len(m.clients.open))
	}
	first.Close()
	if after, _ := exported(); after != before {
		t.Errorf("after one was closed %s, before %s", after, before)
	}
	if len(m.clients.open) != 1 || !m.clients.open[second] {
		t.Errorf("%d open clients", len(m.clients.open))
	}
}
