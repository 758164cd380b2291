// Package step is the contract between a function and the engine that runs it.
//
// A function is deterministic: it has no I/O, no clock and no goroutine. It is
// handed events and the time, reads and writes keyed state and emits events,
// all through [Tx]. The engine (package stream) runs one instance of a function
// for each partition of its input, a task, and commits outputs, changed state
// and the position in the input as one Kafka transaction.
//
// What the engine guarantees to a function:
//
//   - Step and Tick of one task never run at the same time.
//   - Everything done through tx between two commits becomes visible together
//     or not at all. After a failed commit the instance is thrown away and a new
//     one is built from the last committed state, and the events come again.
//   - An event that was committed is not stepped again.
//
// What a function owes the engine:
//
//   - Same state, same tables, same events in the same order: same outputs.
//   - A Step that returns an error has changed no state and emitted nothing.
//   - Values given to Put may be mutated later only if Put is called again
//     before the next commit.
package step

import (
	"encoding/binary"
	"errors"
	"iter"
	"time"

	"datasurge/events"
)

// Function is one task's instance of a function.
type Function interface {
	// Step handles one event. Errors: [*events.InvalidError] when the event is
	// wrong for ever, [ErrFuture] as Observe returned it, [*LateError].
	Step(tx Tx, e *events.Event) error
	// Tick is called about every Definition.TickEvery of wall clock time, and
	// once before a stop. now is the wall clock.
	Tick(tx Tx, now time.Time) error
}

// Tx is what a function may touch: state, outputs, tables and the time.
type Tx interface {
	// Get returns the value at key, nil when there is none. The key's first
	// byte is its kind and selects the codec.
	Get(key []byte) any
	// Put sets the value at key and marks it to be written with the commit.
	// The key is copied.
	Put(key []byte, value any)
	// Delete removes key; its tombstone is written with the commit.
	Delete(key []byte)
	// All walks the state in no particular order. Values may be deleted meanwhile.
	All() iter.Seq2[[]byte, any]
	// Emit sends e to topic with the commit. The record key is e.Key. e is copied
	// with its data and may be used again; its extensions may not.
	Emit(topic string, e *events.Event)
	// Observe tells the engine the event time (ms since the epoch) of the event
	// being stepped; it moves the watermark unless the event came from an
	// upstream task, which sends its own. It returns ErrFuture when the time is
	// further ahead of the wall clock than allowed: return it from Step.
	Observe(eventTime int64) error
	// Watermark is the task's watermark in ms since the epoch: no event before
	// it is expected. MinWatermark before the first event.
	Watermark() int64
	// InputWatermark is the watermark of one of the task's inputs alone: the
	// smallest over the upstream tasks that write to topic. No event of that
	// input before it is expected. MinWatermark before its first event.
	InputWatermark(topic string) int64
	// Now is the wall clock, fixed for the batch of events under way.
	Now() time.Time
	// Commit is the number of the commit under way; it only grows.
	Commit() uint64
	// Table returns the current view of the table read from topic: what
	// Table.Apply returned last, fixed for the whole commit.
	Table(topic string) any
}

// MinWatermark is the watermark before any event was seen.
const MinWatermark = int64(-1 << 63)

// ErrFuture: the event is further ahead of the wall clock than allowed. The
// engine writes it to late_events with the reason "future".
var ErrFuture = errors.New("event time is too far in the future")

// LateError: the event came after everything it belongs to was closed. The
// engine writes it to late_events with the reason.
type LateError struct{ Reason string }

func (e *LateError) Error() string { return "late event: " + e.Reason }

// Definition declares a function to the engine.
type Definition struct {
	Name    string // also consumer group, and prefix of the changelog topic
	Inputs  []Input
	Outputs []Output
	Tables  []Table
	// Tasks is the number of tasks of a function without inputs (generate);
	// with inputs it is their partition count and Tasks is 0.
	Tasks int
	// Settings is everything that gives stored state its meaning (windows,
	// lateness, formats). A task refuses state written under other settings.
	Settings string
	// Codecs encode the values of each kind of key. Kinds below
	// FirstKind belong to the engine.
	Codecs map[byte]Codec
	// CommitPause is the shortest time between two commits under transport http; 0
	// means 60 ms. A function whose results nobody waits for takes longer: each
	// commit costs the broker memory and every reader of its outputs time.
	CommitPause time.Duration
	// TickEvery is the interval of Tick; 0 means a second.
	TickEvery time.Duration
	// TickWithin is how long a Tick may take, wall clock, on the slowest machine:
	// a transaction is aborted that is open for longer. 0 means 10 seconds.
	TickWithin time.Duration
	// New builds the instance of one task from its restored state.
	New func(Task) Function
}

// FirstKind is the first key kind that functions may use.
const FirstKind byte = 0x10

// Input is a topic that a function consumes and the event types it accepts
// there (how an event delivered over HTTP is attributed to its topic).
type Input struct {
	Topic string
	Types []string
	// Upstream says that the topic is written by tasks of another function (or
	// this one), whose watermarks travel with the events.
	Upstream bool
}

// Output is a topic that a function emits to. Watermarks says that another
// function reads it, so that watermarks have to be written there too.
type Output struct {
	Topic      string
	Watermarks bool
}

// Codec converts the values of one kind of key. Every encoding starts with a
// version byte; Parse refuses a version that it does not know with
// ErrNewerVersion.
type Codec struct {
	Append func(dst []byte, v any) []byte
	Parse  func(data []byte) (any, error)
}

// ErrNewerVersion: stored state was written by a newer binary.
var ErrNewerVersion = errors.New("value was written by a newer version")

// Table declares a compacted topic that every instance follows into memory.
type Table struct {
	Topic string
	// Initial is the view before the first record.
	Initial any
	// Apply returns the view after changes; it never modifies old, which tasks
	// may be reading. An error is counted and logged and the old view kept.
	Apply func(old any, changes []Change) (any, error)
}

// Change is one record of a table topic; Value is nil for a deletion.
type Change struct {
	Key   string
	Value []byte
}

// Task is what the instance of a task is built from.
type Task struct {
	Function   string
	Partition  int
	Partitions int // number of tasks of the function
	// Inputs gives the partition count of each input topic.
	Inputs map[string]int
	// State walks the restored state, in no particular order.
	State iter.Seq2[[]byte, any]
}

// AppendTime appends ms to a key so that byte order is time order: big-endian
// with the sign flipped.
func AppendTime(key []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(ms)^(1<<63))
}

// KeyTime reads what AppendTime wrote at the end of key.
func KeyTime(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key[len(key)-8:]) ^ (1 << 63))
}
