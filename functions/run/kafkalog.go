package run

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// KafkaLogger returns the logger of Kafka clients. At level debug it lets all
// through. Else it lets through warnings and errors, for the lines below speak of
// every transaction; and each of them once in a while, for a client warns many
// times a second while no broker can be reached.
func KafkaLogger(log *slog.Logger) kgo.Logger {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return kslog.New(log)
	}
	return kslog.New(slog.New(warnings{log.Handler(), &repeats{heard: make(map[string]*repeat)}}))
}

// repeatAfter is the pause between two lines with the same message.
const repeatAfter = 5 * time.Second

// warnings lets through what is at least a warning, and of the same message one in
// each pause, with how many were left out.
type warnings struct {
	slog.Handler
	*repeats
}

// repeats counts messages, for all handlers of a logger.
type repeats struct {
	mu    sync.Mutex
	heard map[string]*repeat // the messages are constants of the client's
}

// repeat is a message.
type repeat struct {
	said    time.Time
	leftOut int
}

// due reports whether a message of that time is to be said, and how many were left
// out since it was.
func (r *repeats) due(message string, at time.Time) (leftOut int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.heard[message]
	switch {
	case m == nil:
		r.heard[message] = &repeat{said: at}
		return 0, true
	case at.Sub(m.said) < repeatAfter:
		m.leftOut++
		return 0, false
	}
	leftOut = m.leftOut
	*m = repeat{said: at}
	return leftOut, true
}

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	leftOut, ok := h.due(r.Message, r.Time)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return h.Handler.Handle(ctx, r)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs), h.repeats}
}

func (h warnings) WithGroup(name string) slog.Handler {
	return warnings{h.Handler.WithGroup(name), h.repeats}
}
