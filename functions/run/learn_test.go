package run

import (
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/model"
	"datasurge/functions/outcome"
	"datasurge/functions/stream/kafkatest"
)

// Labels of some minutes before midnight become a model an hour after it, although
// everything is stopped in between; it scores what comes then, and merchants'
// outcomes are known at once.
func TestWhatIsLearntIsFollowed(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		midnight := time.Now().Truncate(24 * time.Hour).Add(24 * time.Hour)
		time.Sleep(time.Until(midnight.Add(-3 * time.Minute)))
		p := newPipeline(t, b, nil)
		p.start("generate", "enrich", "detect", "learn")
		time.Sleep(200 * time.Second)
		p.stop()
		time.Sleep(time.Until(midnight.Add(time.Hour + time.Minute)))
		p.start("generate", "enrich", "detect", "learn")
		time.Sleep(30 * time.Second)
		p.stop()

		models := map[string]*model.Model{}
		for _, e := range p.read(events.TopicModels) {
			m, err := model.Parse(e.Data)
			if err != nil {
				t.Fatal(err)
			}
			if m.Since != midnight.Add(time.Hour).UnixMilli() || m.Frauds < 20 {
				t.Errorf("model %s of %d frauds from %d on", m.Version, m.Frauds, m.Since)
			}
			models[m.Version] = m
		}
		if len(models) != 1 {
			t.Errorf("%d models, want one", len(models))
		}
		learnt := 0
		for _, e := range p.read(events.TopicScored) {
			var s events.Scored
			if err := events.ParseScored(e.Data, &s); err != nil {
				t.Fatal(err)
			}
			if m := models[s.ModelVersion]; m != nil {
				learnt++
				if s.Time < m.Since {
					t.Errorf("the transaction of %d was scored by the model from %d on", s.Time, m.Since)
				}
			}
		}
		if learnt == 0 {
			t.Error("the model scored nothing")
		}
		known := 0
		for _, e := range p.read(events.TopicOutcomes) {
			h, err := outcome.Parse(e.Data)
			if err != nil {
				t.Fatal(err)
			}
			known = max(known, len(h.Outcomes))
		}
		if known == 0 {
			t.Error("no merchant has outcomes")
		}
		for _, topic := range []string{events.TopicLate, events.TopicDeadLetters} {
			if list := p.read(topic); len(list) > 0 {
				t.Errorf("%d events in %s, the first is %s", len(list), topic, list[0].Data)
			}
		}
	})
}
