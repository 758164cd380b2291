package stream

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"datasurge/functions/stream/kafkatest"
)

var errKilled = errors.New("killed by the test")

// everywhere runs a scenario under fake time on the embedded broker, and again
// in real time on the Kafka that KAFKA_BROKERS names, if it does.
func everywhere(t *testing.T, scenario func(t *testing.T, b kafkatest.Backend)) {
	t.Run("fake time", func(t *testing.T) {
		fakeTime(t, scenario)
	})
	t.Run("real time", func(t *testing.T) {
		scenario(t, kafkatest.Brokers(t))
	})
}

func fakeTime(t *testing.T, scenario func(t *testing.T, b kafkatest.Backend)) {
	synctest.Test(t, func(t *testing.T) { scenario(t, kafkatest.Virtual(t)) })
}

func TestEverythingArrivesOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 4)
		tb.produce(1000, 50, start)
		tb.start(nil)
		tb.produce(1000, 50, start)
		tb.check()
	})
}

func TestScenario01KillOfTheFunction(t *testing.T) {
	for _, point := range []faultPoint{faultBegin, faultProduced, faultFlushed, faultEnded} {
		t.Run(string(point), func(t *testing.T) {
			everywhere(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 2)
				tb.produce(500, 20, start)
				killed := make(chan struct{})
				e := tb.start(func(o *Options) {
					o.CommitEvents = 100
					o.fault = once(point, 3, func() { close(killed) })
				})
				<-killed
				e.kill()
				tb.produce(500, 20, start)
				tb.start(nil)
				tb.check()
			})
		})
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 4)
		for range 5 {
			tb.produce(200, 10, start)
			e := tb.start(nil)
			tb.check()
			stop(t, e)
		}
	})
}

var _ = time.Second
