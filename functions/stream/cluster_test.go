package stream

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"datasurge/functions/stream/kafkatest"
)

// A task reaches a point of its commit and the broker that coordinates its
// transaction is killed; in the end brokers are restarted one after the other, as
// an operator does it.
//
// This takes three brokers. Apache Kafka 4.3.1 with a single one loses commits
// that it has answered: when it comes back it is fenced until its old session
// ends, has no leader for its partitions meanwhile, and says of the markers of a
// transaction that was about to complete that the partitions "are likely deleted
// already and hence can be skipped".
func TestScenario02KillOfTheBroker(t *testing.T) {
	c := kafkatest.Start3x3(t)
	for _, point := range []faultPoint{faultBegin, faultProduced, faultFlushed, faultEnded} {
		t.Run(string(point), func(t *testing.T) {
			tb := newTestbed(t, c.Backend, 2)
			tb.produce(500, 20, start)
			fault, reached, dead := pauseAt(point, 3)
			tb.start(func(o *Options) { o.CommitEvents, o.fault = 100, fault })
			<-reached
			coordinator := tb.coordinator(0)
			c.Kill(t, coordinator)
			close(dead)
			tb.produce(500, 20, start)
			tb.checkWithin(2 * time.Minute)
			c.Start(t, coordinator)
		})
	}
	t.Run("graceful restart with live workers", func(t *testing.T) {
		tb := newTestbed(t, c.Backend, 2)
		tb.start(nil)
		for _, broker := range c.IDs() {
			tb.produce(200, 20, start)
			c.Stop(t, broker)
			tb.produce(200, 20, start)
			c.Start(t, broker)
		}
		tb.checkWithin(2 * time.Minute)
	})
}

// coordinator returns the broker that coordinates the transactions of a task.
func (tb *testbed) coordinator(task int) int32 {
	tb.t.Helper()
	id := fmt.Sprintf("%s-%d", tb.def.Name, task)
	found := kadm.NewClient(tb.Client(tb.t)).FindTxnCoordinators(tb.t.Context(), id)
	if err := found.Error(); err != nil {
		tb.t.Fatalf("find the coordinator of %s: %v", id, err)
	}
	return found[id].NodeID
}

// Three controllers and three brokers; the leader of a partition of the input is
// killed under load and brought back, again and again.
func TestClusterKillOfTheLeaderUnderLoad(t *testing.T) {
	c := kafkatest.Start3x3(t)
	tb := newTestbed(t, c.Backend, 3)
	tb.start(nil)
	stopLoad := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for {
			select {
			case <-stopLoad:
				return
			case <-time.After(50 * time.Millisecond):
				tb.produce(100, 50, start)
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		time.Sleep(2 * time.Second) // load goes on
		leader := c.Leader(t, tb.in, int32(rng.IntN(3)))
		c.Kill(t, leader)
		time.Sleep(5 * time.Second) // it goes on with two brokers
		c.Start(t, leader)
	}
	close(stopLoad)
	load.Wait()
	t.Logf("%d events while three leaders were killed", len(tb.produced))
	tb.checkWithin(3 * time.Minute)
}
