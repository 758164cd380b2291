package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/step"
)

// announcement is what one partition downstream was last told about this task.
type announcement struct {
	topic     string
	partition int32
	watermark int64
	idle      bool
	at        time.Time
}

const (
	announceEvery = time.Second      // how often a moved watermark is announced where nothing was written
	repeatEvery   = 30 * time.Second // how often an unchanged one is, for readers that lost the last
)

// announceWatermark writes a watermark event to each downstream partition that
// has not heard of the present watermark, or believes that this task is idle, or
// busy, when it is not; at once if now is set, else when it is time.
func (s *session) announceWatermark(ctx context.Context, now bool) {
	for i := range s.announces {
		a := &s.announces[i]
		since := s.core.now.Sub(a.at)
		moved := s.core.announced > a.watermark && (now || since >= announceEvery)
		repeat := since >= repeatEvery && (s.idle || s.core.announced > step.MinWatermark)
		if !moved && !repeat && a.idle == s.idle {
			continue
		}
		e := watermarkEvent(s.core, a)
		if s.idle {
			e.Extensions = append(e.Extensions, events.Extension{Name: events.ExtIdle, Value: "true"})
		}
		rec := s.records.next()
		kafkarecord.Write(&e, rec)
		rec.Topic, rec.Partition = a.topic, a.partition
		s.stamp(rec, a)
		a.idle = s.idle
		if err := s.begin(); err != nil {
			s.core.err = err
			return
		}
		s.produce(ctx, rec)
	}
}

// watermarkEvent is an event without data: what it says stands in its extensions.
func watermarkEvent(c *core, a *announcement) events.Event {
	return events.Event{
		ID:     fmt.Sprintf("%d/%d/%s/%d", c.task, c.commit, a.topic, a.partition),
		Source: "/datasurge/" + c.def.Name,
		Type:   events.TypeWatermark,
		Time:   c.now.UTC(),
	}
}

// stamp puts the task's name and watermark on rec, which goes to another function,
// and remembers that its partition has been told.
func (s *session) stamp(rec *kgo.Record, a *announcement) {
	a.watermark, a.at = s.core.announced, s.core.now
	if !s.idle {
		a.idle = false
	}
	rec.Headers = append(rec.Headers, s.records.stampHeaders(s.core)...)
}
