package run

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"datasurge/events"
	"datasurge/functions/metrics"
	"datasurge/functions/stream"
)

// Local is a function without Kafka: its state is in memory, and what it emits is
// the answer to an event.
type Local struct{ function *stream.Local }

// NewLocal returns the function called name, configured by the environment. It logs
// only warnings.
func NewLocal(name string, logs io.Writer) (*Local, error) {
	config, err := ReadConfig()
	if err != nil {
		return nil, err
	}
	config.Function, config.LogLevel = name, "warn"
	if !slices.Contains(names[:], name) {
		return nil, fmt.Errorf("there is no function %q; there are %s", name, strings.Join(names[:], ", "))
	}
	observer := metrics.New(name, version(), newLogger(&config, logs))
	definition, err := Definition(&config, observer)
	if err != nil {
		return nil, err
	}
	if len(definition.Inputs) == 0 {
		return nil, errors.New(name + " takes no events")
	}
	return &Local{stream.NewLocal(definition, limits(&config), observer)}, nil
}

// Deliver hands the function an event at the wall clock time now and returns what
// it emits. An error that is an *events.InvalidError says what is wrong with the
// event.
func (l *Local) Deliver(e *events.Event, now time.Time) ([]events.Event, error) {
	return l.function.Deliver(e, now)
}
