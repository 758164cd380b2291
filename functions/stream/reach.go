package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An instance to which nothing is sent does nothing with Kafka, and would not
// notice that it is gone. So each asks it for what every broker knows. That it is
// gone is known after both times together, or sooner.
const (
	reachEvery  = 3 * time.Second
	reachWithin = 5 * time.Second // longer than a client takes to try another broker
)

// watchReach asks Kafka whether it is there until the engine ends.
func (e *Engine) watchReach() {
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			return
		}
		err := e.reach()
		e.mu.Lock()
		e.mu.away = err
		e.mu.Unlock()
	}
}

// reach returns nil when a broker answers.
func (e *Engine) reach() error {
	ctx, cancel := context.WithTimeout(e.ctx, reachWithin)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{} // of none; nil is all
	if _, err := request.RequestWith(ctx, e.lookup.client); err != nil {
		return fmt.Errorf("no answer from Kafka: %w", err)
	}
	return nil
}
