package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/step"
)

// Options configure an Engine. Zero values take the documented default.
type Options struct {
	Definition step.Definition

	// Kafka connects clients: seed brokers, TLS, SASL, dialer. Required.
	Kafka []kgo.Opt
	// Consume says that tasks read their input partitions from Kafka themselves
	// (transport kafka). Otherwise events come through Deliver (transport http).
	Consume bool
	// Owner decides which tasks this process runs. Required.
	Owner Ownership
	// Address is host:port at which other instances reach this one, written to
	// the changelog for them; "" when nobody may forward to it.
	Address string

	// CommitInterval is the longest time that processed events wait for their
	// commit under transport kafka. Default 100 ms.
	CommitInterval time.Duration
	// CommitEvents bounds the events in one commit. Default 4,000: enough to
	// spread the cost of a commit, and what is on its way stays in the CPU's
	// caches.
	CommitEvents int
	// Waiting bounds the events that wait at one task under transport http;
	// beyond, Deliver fails with ErrBusy. Default 1,000.
	Waiting int
	// Compression of what is produced. Default is none: brokers and functions are
	// near each other, and the CPU is better spent on events.
	Compression []kgo.CompressionCodec
	// ResumeTruncated lets a task go on at the start of its input when records
	// below it were deleted before they were processed. Otherwise the task fails
	// with an error that says how many are missing.
	ResumeTruncated bool

	Limits Limits
	Logger *slog.Logger
	// Observer is told what happens; it must not block. Default none.
	Observer Observer
	// Tracer makes spans of what happens to events. Default none; the trace
	// context of an event goes into what is emitted for it in any case.
	Tracer Tracer

	// fault lets tests end a task at a chosen point of its commit, as kill -9
	// would: with what was sent, sent, and nothing cleaned up.
	fault func(task int, at faultPoint) error
}

func (o *Options) fill() error {
	var problems []error
	if o.Definition.Name == "" || o.Definition.New == nil {
		problems = append(problems, errors.New("a definition with a name and New is required"))
	}
	if len(o.Kafka) == 0 {
		problems = append(problems, errors.New("the options that connect to Kafka are required"))
	}
	if o.Owner == nil {
		problems = append(problems, errors.New("an ownership is required"))
	}
	for kind := range o.Definition.Codecs {
		if kind < step.FirstKind {
			problems = append(problems, fmt.Errorf("the key kind %#x belongs to the engine", kind))
		}
	}
	setDefault(&o.CommitInterval, 100*time.Millisecond)
	setDefault(&o.CommitEvents, 4_000)
	setDefault(&o.Waiting, 1_000)
	setDefault(&o.Definition.CommitPause, 60*time.Millisecond)
	setDefault(&o.Definition.TickEvery, time.Second)
	setDefault(&o.Definition.TickWithin, 10*time.Second)
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Compression == nil {
		o.Compression = []kgo.CompressionCodec{kgo.NoCompression()}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = nopObserver{}
	}
	return errors.Join(problems...)
}

// linger is how long a record waits for others that go to the broker with it: each
// batch costs the broker memory and every reader time. Whoever takes pushed events
// or none sends all of a commit at once. Who reads events itself works on more of
// them meanwhile, so what it makes of a part of them may be on its way.
func (o *Options) linger() time.Duration {
	if len(o.Definition.Inputs) == 0 || !o.Consume {
		return o.CommitInterval
	}
	return o.CommitInterval / 2
}

// clientOptions connect a client beside those of the tasks.
func (o *Options) clientOptions(role string) []kgo.Opt {
	name := "datasurge-" + o.Definition.Name + "-" + role
	return append(slices.Clone(o.Kafka), kgo.ClientID(name), kgo.WithHooks(o.Observer.Client(name)...))
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// faultPoint names a moment of a commit at which a process may die.
type faultPoint string

const (
	faultBegin    faultPoint = "before begin"
	faultProduced faultPoint = "after some produces"
	faultFlushed  faultPoint = "after flush before end"
	faultEnded    faultPoint = "after end before the answer"
	faultRestore  faultPoint = "while restoring"
)
