package stream

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// core is one instance of a function with its state and its place in the input:
// everything about a task but I/O. It is the step.Tx that the function sees.
//
// A core is used by one goroutine.
type core struct {
	def    *step.Definition
	limits Limits
	task   int // number of this task
	tasks  int

	fn     step.Function
	state  state
	inputs []input
	commit uint64    // number of the commit under way
	now    time.Time // wall clock of the work under way
	tables map[string]any

	// out takes what is emitted. With stamped, the event is for another function
	// and carries the task's name and announced watermark.
	out func(topic string, e *events.Event) error
	err error // first error of out: the commit under way must not end well

	// announced is the watermark that emitted events carry: that of the end of
	// the last Tick, when everything that belongs to it had been emitted.
	announced int64

	observed     bool // Observe was called for the event being stepped
	observedTime int64

	// timed and time are what Observe told of the last event that was handled.
	timed bool
	time  int64
}

// input is this task's partition of one input topic.
type input struct {
	step.Input
	own      bool // written by this function too: its watermark must not wait for itself
	done     doneOffsets
	mark     *inputWatermark
	frontier frontier
	last     time.Time // event time of the last event, or when it was stepped
	high     int64     // transport http: after the largest offset that was pushed in this life
}

// Limits are the engine's bounds in event time and wall clock.
type Limits struct {
	// OutOfOrderness is how far behind the largest event time an event of a
	// first-hop input may be and still count for its windows.
	OutOfOrderness time.Duration
	// MaxAhead is how far ahead of the wall clock an event may be; beyond, it
	// goes to late_events with the reason "future". 0 is off (replays).
	MaxAhead time.Duration
	// IdleAfter is how long a caught-up task without events waits until it says
	// that it is idle and no longer holds the others back.
	IdleAfter time.Duration
	// GapPatience is how long a watermark waits for an event of a smaller offset
	// that has not been pushed yet.
	GapPatience time.Duration
	// DeliveryHorizon is how long a source may go on retrying one event. Offsets
	// and ids older than that are forgotten.
	DeliveryHorizon time.Duration
}

// DefaultLimits are the limits of the profile live.
func DefaultLimits() Limits {
	return Limits{
		OutOfOrderness:  2 * time.Second,
		MaxAhead:        time.Minute,
		IdleAfter:       5 * time.Second,
		GapPatience:     2 * time.Second,
		DeliveryHorizon: time.Hour,
	}
}

func newCore(def *step.Definition, limits Limits, task, tasks int) *core {
	c := &core{
		def: def, limits: limits, task: task, tasks: tasks,
		state: newState(), announced: step.MinWatermark, commit: 1, tables: map[string]any{},
	}
	for _, in := range def.Inputs {
		own := slices.ContainsFunc(def.Outputs, func(o step.Output) bool { return o.Topic == in.Topic })
		c.inputs = append(c.inputs, input{Input: in, own: own, mark: newInputWatermark()})
	}
	for _, table := range def.Tables {
		c.tables[table.Topic] = table.Initial
	}
	return c
}

// start builds the function's instance from the state.
//
// Nothing is announced before the first Tick: the restored watermark may be ahead
// of what had been emitted for it.
func (c *core) start(partitions map[string]int) {
	c.fn = c.def.New(step.Task{
		Function: c.def.Name, Partition: c.task, Partitions: c.tasks,
		Inputs: partitions, State: c.All(),
	})
}

// outcome is what became of one event.
type outcome int

const (
	outcomeDone      outcome = iota // stepped; its effects are part of the commit
	outcomeDuplicate                // had been done before
	outcomeLate                     // went to late_events with the commit
	outcomeInvalid                  // wrong for ever; changed nothing
	outcomeFuture                   // went to late_events, as too far ahead
)

// noOffset marks an event that no topic holds (curl, a Broker).
const noOffset = -1

// handle steps one event. An error that is an *events.InvalidError comes with
// outcomeInvalid and has changed nothing; any other error ends the commit under
// way.
func (c *core) handle(in *input, offset int64, e *events.Event, ordered bool) (outcome, error) {
	if offset != noOffset && in.done.isDone(offset) {
		return outcomeDuplicate, nil
	}
	var key []byte
	if offset == noOffset {
		key = appendSeenKey(nil, e.Source, e.ID)
		if c.state.get(key) != nil {
			return outcomeDuplicate, nil
		}
	}
	times := pendingTime{offset: offset, arrived: c.now}
	times.stamp, times.stamped = readStamp(e)

	result, err := outcomeDone, error(nil)
	if e.Type != events.TypeWatermark {
		result, err = c.step(in, e)
	}
	times.observed, times.eventTime = c.observed, c.observedTime
	c.timed, c.time = c.observed, c.observedTime
	c.observed = false
	if err != nil && result != outcomeInvalid {
		return result, err
	}
	// An event in order or without an offset speaks now; one that was pushed
	// waits for those before it.
	if ordered || offset == noOffset {
		times.applyTo(in.mark, c.limits.OutOfOrderness)
	} else {
		in.frontier.add(times)
	}
	if err != nil {
		return result, err
	}
	if offset == noOffset {
		c.state.put(key, seenAt(c.now.UnixMilli()))
	} else if !ordered {
		in.done.mark(offset, c.now)
		in.high = max(in.high, offset+1)
	}
	return result, nil
}

// step calls the function and sorts out what its error means.
func (c *core) step(in *input, e *events.Event) (outcome, error) {
	if !slices.Contains(in.Types, e.Type) {
		return outcomeInvalid, unknownType(c.def.Name, e.Type)
	}
	err := c.protect(func() error { return c.fn.Step(c, e) })
	if err == nil {
		return outcomeDone, c.err
	}
	if _, ok := errors.AsType[*events.InvalidError](err); ok {
		return outcomeInvalid, err
	}
	reason, result := "", outcomeLate
	if late, ok := errors.AsType[*step.LateError](err); ok {
		reason = late.Reason
	} else if errors.Is(err, step.ErrFuture) {
		reason, result = "future", outcomeFuture
		c.observed = false
	} else {
		return outcomeDone, fmt.Errorf("step of %s failed on event %q: %w", c.def.Name, e.ID, err)
	}
	late := events.NewLate(c.def.Name, reason, e)
	c.Emit(events.TopicLate, &late)
	return result, c.err
}

func unknownType(function, eventType string) error {
	return &typeError{&events.InvalidError{Path: "type", Reason: fmt.Sprintf("%q is not taken by %s", eventType, function)}}
}

// typeError refuses an event of a type that the function does not take.
type typeError struct{ *events.InvalidError }

// Unwrap makes it an *events.InvalidError too.
func (e *typeError) Unwrap() error { return e.InvalidError }

// tick hands the function the time, then announces its watermark downstream.
func (c *core) tick(patience time.Duration) error {
	for i := range c.inputs {
		in := &c.inputs[i]
		in.frontier.apply(in.mark, c.now, patience, c.limits.OutOfOrderness)
	}
	if err := c.protect(func() error { return c.fn.Tick(c, c.now) }); err != nil {
		return fmt.Errorf("tick of %s: %w", c.def.Name, err)
	}
	c.announced = c.Watermark()
	return c.err
}

// panicError is a panic in a function.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func (c *core) protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

// forgetOld deletes what no source can deliver again, and returns the keys of
// blocks to delete from the changelog.
func (c *core) forgetOld() (blocks [][]byte) {
	for i := range c.inputs {
		for _, n := range c.inputs[i].done.forget(c.now, c.limits.DeliveryHorizon) {
			blocks = append(blocks, appendBlockKey(nil, i, n))
		}
	}
	return blocks
}

// forgetSeen deletes ids older than the horizon.
func (c *core) forgetSeen() {
	oldest := c.now.Add(-c.limits.DeliveryHorizon).UnixMilli()
	for key, e := range c.state.entries {
		if key[0] == kindSeen && e.value != nil && int64(e.value.(seenAt)) < oldest {
			c.state.delete([]byte(key))
		}
	}
}

// seenAt is the value of a kindSeen key: wall clock in ms.
type seenAt int64

// inputFor returns the input that an event belongs to: the topic it says it was
// delivered from, else the only one that takes its type.
func (c *core) inputFor(topic, eventType string) *input {
	for i := range c.inputs {
		if c.inputs[i].Topic == topic {
			return &c.inputs[i]
		}
	}
	for i := range c.inputs {
		if slices.Contains(c.inputs[i].Types, eventType) {
			return &c.inputs[i]
		}
	}
	return nil
}

// Get implements step.Tx.
func (c *core) Get(key []byte) any { return c.state.get(key) }

// Put implements step.Tx.
func (c *core) Put(key []byte, value any) { c.state.put(key, value) }

// Delete implements step.Tx.
func (c *core) Delete(key []byte) { c.state.delete(key) }

// Emit implements step.Tx.
func (c *core) Emit(topic string, e *events.Event) {
	if c.err == nil {
		c.err = c.out(topic, e)
	}
}

// Observe implements step.Tx.
func (c *core) Observe(eventTime int64) error {
	if c.limits.MaxAhead > 0 && eventTime > c.now.Add(c.limits.MaxAhead).UnixMilli() {
		return step.ErrFuture
	}
	c.observed, c.observedTime = true, eventTime
	return nil
}

// Watermark implements step.Tx: the smallest of the inputs that are behind
// another function, or of all inputs at the first hop.
func (c *core) Watermark() int64 {
	behind := slices.ContainsFunc(c.inputs, func(in input) bool { return in.Upstream && !in.own })
	low, found := step.MinWatermark, false
	for i := range c.inputs {
		in := &c.inputs[i]
		if in.own || in.Upstream != behind {
			continue
		}
		if !found || in.mark.value < low {
			low, found = in.mark.value, true
		}
	}
	return low
}

// All implements step.Tx.
func (c *core) All() iter.Seq2[[]byte, any] { return c.state.all() }

// InputWatermark implements step.Tx.
func (c *core) InputWatermark(topic string) int64 {
	for i := range c.inputs {
		if c.inputs[i].Topic == topic {
			return c.inputs[i].mark.value
		}
	}
	return step.MinWatermark
}

// Now implements step.Tx.
func (c *core) Now() time.Time { return c.now }

// Commit implements step.Tx.
func (c *core) Commit() uint64 { return c.commit }

// Table implements step.Tx.
func (c *core) Table(topic string) any { return c.tables[topic] }

var _ step.Tx = (*core)(nil)
