package stream

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"datasurge/functions/stream/kafkatest"
)

func TestScenario02KillOfTheBroker(t *testing.T) {
	for _, point := range []faultPoint{faultBegin, faultProduced, faultFlushed, faultEnded} {
		t.Run(string(point), func(t *testing.T) {
			c := kafkatest.SingleNode(t)
			tb := newTestbed(t, c.Backend, 2)
			tb.produce(500, 20, start)
			fault, reached, dead := pauseAt(point, 3)
			tb.start(func(o *Options) { o.CommitEvents, o.fault = 100, fault })
			<-reached
			c.Kill(t, 1)
			close(dead)
			c.Start(t, 1)
			tb.produce(500, 20, start)
			tb.check()
			// A graceful restart with live workers.
			c.Stop(t, 1)
			c.Start(t, 1)
			tb.produce(200, 20, start)
			tb.check()
		})
	}
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
