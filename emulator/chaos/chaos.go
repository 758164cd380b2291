package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is one thing that was done.
type Fault struct {
	Time   time.Time
	Kind   string // "redeliver", "kill", "latency", "status" or "broker"
	Where  string // the source or the function's instance; "" for the broker, of which there is one
	Event  string // type and id of the event, when it is about one
	Detail string
}

// String is the fault in one line, without its time.
func (f Fault) String() string {
	text := f.Kind
	if f.Where != "" {
		text += " " + f.Where
	}
	if f.Event != "" {
		text += " " + f.Event
	}
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	return text
}

// Victim is a process that may be killed.
type Victim struct {
	Name string // the same in every run
	Kill func() error
}

// Config is what chaos is made with.
type Config struct {
	Plan Plan
	// Victims returns the processes that run now.
	Victims func() []Victim
	// RestartBroker stops the broker, waits for down, and starts it again. nil:
	// there is no broker of ours, and Plan.Broker has to be 0.
	RestartBroker func(ctx context.Context, down time.Duration) error
	// Record is told of every fault, also by several goroutines at a time.
	Record func(Fault)
}

// Chaos does what a plan says, from Start until Stop.
type Chaos struct {
	cfg     Config
	stopped atomic.Bool
	cancel  context.CancelFunc
	loops   sync.WaitGroup
	ending  chan struct{} // closed by Stop

	mu struct {
		sync.Mutex
		counts map[string]int64
		copies int           // redeliveries under way
		fewer  chan struct{} // capacity 1; sent to when one has ended
	}
}

// maxCopies bounds the redeliveries that are under way. Beyond, there are none.
const maxCopies = 1000

// New makes chaos that has not started: its transports do nothing yet. It can be
// started once.
func New(cfg Config) *Chaos {
	c := &Chaos{cfg: cfg, cancel: func() {}, ending: make(chan struct{})}
	c.stopped.Store(true)
	c.mu.counts, c.mu.fewer = make(map[string]int64), make(chan struct{}, 1)
	return c
}

// Start begins. Don't forget to Stop.
func (c *Chaos) Start() {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.stopped.Store(false)
	c.loop(ctx, c.cfg.Plan.Kill, "kill", c.kill)
	c.loop(ctx, c.cfg.Plan.Broker, "broker", c.restart)
}

// Stop ends all faults. It returns when the broker is up and the last redelivery
// is over. It may be called more than once, and before Start, but not by several
// goroutines at a time.
func (c *Chaos) Stop() {
	c.mu.Lock()
	if !c.stopped.Swap(true) {
		close(c.ending)
	}
	c.mu.Unlock()
	c.cancel()
	c.loops.Wait()
	for c.copies() > 0 {
		<-c.mu.fewer
	}
}

// begin takes the right to redeliver. It is given back with end.
func (c *Chaos) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped.Load() || c.mu.copies == maxCopies {
		return false
	}
	c.mu.copies++
	return true
}

func (c *Chaos) end() {
	c.mu.Lock()
	c.mu.copies--
	c.mu.Unlock()
	select {
	case c.mu.fewer <- struct{}{}:
	default:
	}
}

func (c *Chaos) copies() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.copies
}

// Counts returns how many faults there were of each kind.
func (c *Chaos) Counts() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.mu.counts)
}

func (c *Chaos) record(f Fault) {
	f.Time = time.Now()
	c.mu.Lock()
	c.mu.counts[f.Kind]++
	c.mu.Unlock()
	if c.cfg.Record != nil {
		c.cfg.Record(f)
	}
}

// loop calls strike about every mean, from half to one and a half times it.
func (c *Chaos) loop(ctx context.Context, mean time.Duration, kind string, strike func(context.Context, *rand.Rand)) {
	if mean <= 0 {
		return
	}
	random := rand.New(rand.NewPCG(c.cfg.Plan.Seed, draw(0, kind)))
	c.loops.Go(func() {
		for {
			timer := time.NewTimer(time.Duration((0.5 + random.Float64()) * float64(mean)))
			select {
			case <-timer.C:
				strike(ctx, random)
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	})
}

// kill kills one of those that run.
func (c *Chaos) kill(_ context.Context, random *rand.Rand) {
	victims := c.cfg.Victims()
	at := random.Float64()
	if len(victims) == 0 {
		return
	}
	slices.SortFunc(victims, func(a, b Victim) int { return strings.Compare(a.Name, b.Name) })
	victim := victims[int(at*float64(len(victims)))]
	if err := victim.Kill(); err != nil {
		return // it has ended meanwhile
	}
	c.record(Fault{Kind: "kill", Where: victim.Name})
}

// longestDown is how long the broker stays away at most.
const longestDown = 3 * time.Second

func (c *Chaos) restart(ctx context.Context, random *rand.Rand) {
	down := time.Duration(random.Float64() * float64(longestDown)).Round(time.Millisecond)
	start := time.Now()
	// A restart that has begun is finished, also when all is to end.
	err := c.cfg.RestartBroker(context.WithoutCancel(ctx), down)
	f := Fault{Kind: "broker", Detail: fmt.Sprintf("restarted, away for %v", time.Since(start).Round(time.Millisecond))}
	if err != nil {
		f.Detail = "could not be started again: " + err.Error()
	}
	c.record(f)
}
