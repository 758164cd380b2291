package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"datasurge/events"
)

// task runs one partition of the function for as long as this process owns it.
// Each attempt is a session; when a session fails, everything it knew is dropped
// and the next one takes the partition over from the changelog.
type task struct {
	engine *Engine
	number int
	log    *slog.Logger

	inbox    chan *delivery
	sources  []source      // of deliveries: none of the inputs, and each of them
	enough   chan struct{} // of one of them enough wait
	settle   chan *settlement
	ready    atomic.Bool
	sessions atomic.Int64 // how often the partition was taken over

	// stop ends the running session after its commit, cancel at once.
	stop   chan struct{}
	once   sync.Once // closes stop
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	// poison holds the events on which the function panicked or failed without
	// a word about the event, with the error. They are dead-lettered when they
	// come again, because they would fail again.
	poison map[poisonKey]error

	position atomic.Pointer[map[string]int64] // committed position by input topic
	progress atomic.Pointer[[]progress]       // how far it has come; nil while it does not run
	stepped  atomic.Int64                     // events stepped and not committed
	lost     Lost                             // what the last session had not committed when it ended
}

type poisonKey struct {
	topic  string
	offset int64
	id     string
}

// delivery is one event that waits for the commit that it is part of.
type delivery struct {
	event   *events.Event
	topic   string // "" when the event does not say
	offset  int64  // noOffset when it has none
	source  *source
	answer  chan error // takes one without blocking
	replied bool
}

// taken is called for what was read from the inbox.
func (d *delivery) taken() *delivery {
	d.source.waiting.Add(-1)
	return d
}

// reply answers d, once; later calls do nothing.
func (d *delivery) reply(err error) {
	if !d.replied {
		d.replied = true
		d.answer <- err
	}
}

func newTask(e *Engine, number int) *task {
	t := &task{
		engine: e, number: number,
		log:     e.options.Logger.With(slog.String("function", e.options.Definition.Name), slog.Int("partition", number)),
		inbox:   make(chan *delivery, e.options.Waiting),
		sources: make([]source, 1+len(e.options.Definition.Inputs)),
		enough:  make(chan struct{}, 1),
		settle:  make(chan *settlement),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
		poison:  map[poisonKey]error{},
	}
	for i := range t.sources {
		t.sources[i].adapt()
	}
	t.ctx, t.cancel = context.WithCancel(e.ctx)
	return t
}

// end asks the task to end after its commit. It may be called twice.
func (t *task) end() { t.once.Do(func() { close(t.stop) }) }

// errStopped: the session ended because it was asked to.
var errStopped = errors.New("stopped")

// maxBackoff bounds the pause between two attempts to take a partition over.
const maxBackoff = 5 * time.Second

func (t *task) run() {
	defer close(t.ended)
	defer t.engine.options.Observer.Released(t.engine.options.Definition.Name, t.number)
	defer t.refuseWaiting()
	backoff := 50 * time.Millisecond
	for {
		started := time.Now()
		err := t.session()
		t.ready.Store(false)
		t.refuseWaiting()
		if errors.Is(err, errStopped) || t.ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrRefused) {
			t.engine.fail(err)
			return
		}
		t.engine.options.Observer.Failed(t.engine.options.Definition.Name, t.number, t.lost)
		t.log.Warn("taking the partition over again", slog.Any("error", err))
		if time.Since(started) > time.Minute {
			backoff = 50 * time.Millisecond
		}
		wait := time.NewTimer(backoff/2 + rand.N(backoff/2))
		backoff = min(2*backoff, maxBackoff)
		select {
		case <-wait.C:
		case <-t.stop:
			wait.Stop()
			return
		case <-t.ctx.Done():
			wait.Stop()
			return
		}
	}
}

// refuseWaiting answers every waiting event with ErrUnavailable.
func (t *task) refuseWaiting() {
	for {
		select {
		case d := <-t.inbox:
			d.taken().reply(ErrUnavailable)
		default:
			return
		}
	}
}

// session owns the partition from fencing its predecessor to its own end.
func (t *task) session() (err error) {
	t.sessions.Add(1)
	t.lost = Lost{}
	s, err := openSession(t)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer func() {
		t.lost = Lost{s.events, s.tally.messages(), s.committing}
		s.close(err)
	}()
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"fence the previous owner", s.fence},
		{"announce the new owner", s.announce},
		{"restore", s.restore},
		{"prepare the input", s.openInput},
	} {
		if err := stage.run(t.ctx); err != nil {
			return fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	t.ready.Store(true)
	t.engine.changed()
	return s.process(t.ctx)
}
