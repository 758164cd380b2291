//go:build synctests

package broker

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fakeTime runs fn with a broker in a bubble of fake time.
func fakeTime(t *testing.T, fn func(t *testing.T, b *Broker, c *kgo.Client)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		l, err := network.Listen("tcp", "localhost:9092")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), Config{Dir: dir, Listener: l, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer closeBroker(t, b)
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fn(t, b, c)
	})
}

// starts returns the first offset of each topic's partition 0.
func starts(t *testing.T, c *kgo.Client, topics ...string) map[string]int64 {
	t.Helper()
	listed, err := kadm.NewClient(c).ListStartOffsets(t.Context(), topics...)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	listed.Each(func(o kadm.ListedOffset) { got[o.Topic] = o.Offset })
	return got
}

// TestRetention: time deletes from a topic with a retention while the broker
// runs, and not from a compacted one, whatever its configuration says.
func TestRetention(t *testing.T) {
	fakeTime(t, func(t *testing.T, b *Broker, c *kgo.Client) {
		for topic, config := range map[string]map[string]string{
			"stream": {"retention.ms": "3600000"},
			"state":  {"cleanup.policy": "compact", "retention.ms": "3600000"},
		} {
			configs := make(map[string]*string)
			for k, v := range TopicConfig(config) {
				configs[k] = &v
			}
			if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, configs, topic); err != nil {
				t.Fatal(err)
			}
			produce(t, c, topic, "k", "old")
		}
		time.Sleep(59 * time.Minute)
		if got := starts(t, c, "stream", "state"); got["stream"] != 0 || got["state"] != 0 {
			t.Errorf("before the hour: %v", got)
		}
		time.Sleep(3 * time.Minute)
		if got := starts(t, c, "stream", "state"); got["stream"] != 1 || got["state"] != 0 {
			t.Errorf("after the hour: %v, want 1 and 0", got)
		}
	})
}

// TestGroupsAreNotForgotten: the position of a group without members is there
// after a month.
func TestGroupsAreNotForgotten(t *testing.T) {
	fakeTime(t, func(t *testing.T, b *Broker, c *kgo.Client) {
		admin := kadm.NewClient(c)
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		var offsets kadm.Offsets
		offsets.AddOffset("t", 0, 7, -1)
		if err := admin.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * 24 * time.Hour)
		got, err := admin.FetchOffsets(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := got.Lookup("t", 0); !ok || o.At != 7 {
			t.Errorf("position is %v, want 7", o.At)
		}
	})
}
