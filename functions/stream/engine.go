package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// Errors of Deliver. An *events.InvalidError says that the event is wrong for
// ever; with each of these the event may be sent again.
var (
	// ErrUnavailable: the partition is being taken over or given up, or Kafka is
	// away.
	ErrUnavailable = errors.New("the partition is being taken over; try again")
	// ErrBusy: too many events wait at the partition.
	ErrBusy = errors.New("too many events are waiting; try again later")
	// ErrNotOwner: another instance works on the partition.
	ErrNotOwner = errors.New("another instance works on this partition")
)

// Engine runs those tasks of a function that this process owns.
//
// Goroutines: one for each task, which owns everything of that task; one that
// follows the tables; one for the ownership; one that asks whether Kafka is there.
// The mutex guards only the table of tasks and what they are not ready for.
type Engine struct {
	options Options
	mapping kafkarecord.Mapping
	tables  *tables
	lookup  *ownerLookup

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		tasks  map[int]*task
		count  int // of all tasks of the function; 0 until known
		loaded bool
		closed bool
		away   error         // why Kafka could not be asked last; nil when it answered
		notify chan struct{} // closed and replaced when a task's state changes
	}
}

// Open starts the engine. It owns nothing until Options.Owner says so. Close it.
func Open(ctx context.Context, options Options) (*Engine, error) {
	if err := options.fill(); err != nil {
		return nil, fmt.Errorf("engine options: %w", err)
	}
	e := &Engine{options: options, mapping: kafkarecord.Mapping{}}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	e.tables = newTables(options.Definition.Tables, options.Logger)
	e.mu.tasks = map[int]*task{}
	e.mu.notify = make(chan struct{})
	var err error
	if e.lookup, err = newOwnerLookup(&e.options); err != nil {
		return nil, err
	}
	count, err := e.countTasks(ctx)
	if err != nil {
		e.lookup.close()
		return nil, err
	}
	e.mu.count = count
	e.wg.Go(e.watchReach)
	loaded := make(chan struct{})
	e.wg.Go(func() {
		if err := e.tables.follow(e.ctx, e.options.clientOptions("tables"), loaded); err != nil {
			e.fail(err)
		}
	})
	e.wg.Go(func() {
		// A task must not decide by half a table.
		select {
		case <-loaded:
		case <-e.ctx.Done():
			return
		}
		e.mu.Lock()
		e.mu.loaded = true
		e.mu.Unlock()
		e.changed()
		if err := options.Owner.run(e.ctx, e); err != nil && e.ctx.Err() == nil {
			e.fail(fmt.Errorf("ownership of %s: %w", options.Definition.Name, err))
		}
	})
	return e, nil
}

// Failed is closed when the engine cannot go on; Err says why.
func (e *Engine) Failed() <-chan struct{} { return e.ctx.Done() }

// Err is why the engine failed, nil while it runs or after Close.
func (e *Engine) Err() error {
	if err := context.Cause(e.ctx); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

func (e *Engine) fail(err error) { e.cancel(err) }

// Close ends all tasks after their commit, waiting for it no longer than ctx
// lives, and returns when everything has ended. It may be called twice.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	closed := e.mu.closed
	e.mu.closed = true
	tasks := slices.Collect(maps.Values(e.mu.tasks))
	e.mu.Unlock()
	var err error
	if !closed {
		err = stopTasks(ctx, tasks)
		e.cancel(errStopped)
		e.lookup.close()
	}
	e.wg.Wait()
	return err
}

// kill ends everything at once, as kill -9 would.
func (e *Engine) kill() {
	e.mu.Lock()
	e.mu.closed = true
	e.mu.Unlock()
	e.cancel(errStopped)
	e.wg.Wait()
	e.lookup.close()
}

// stopTasks asks tasks to end after their commit and cancels those that have not
// when ctx ends.
func stopTasks(ctx context.Context, tasks []*task) error {
	for _, t := range tasks {
		t.end()
	}
	var err error
	for _, t := range tasks {
		select {
		case <-t.ended:
		case <-ctx.Done():
			err = fmt.Errorf("partition %d was given up before its commit: %w", t.number, ctx.Err())
			t.cancel()
			<-t.ended
		}
		t.cancel()
	}
	return err
}

// assign makes tasks run for exactly these partitions and returns when those
// given up have ended.
func (e *Engine) assign(numbers []int) {
	var given []int
	for _, n := range e.owned() {
		if !slices.Contains(numbers, n) {
			given = append(given, n)
		}
	}
	e.revoke(given, false)
	e.grant(numbers)
}

// grant starts tasks for these partitions, as far as they exist and do not run.
func (e *Engine) grant(numbers []int) {
	e.options.Observer.Rebalanced(e.options.Definition.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range numbers {
		if e.mu.closed || e.mu.tasks[n] != nil || n >= e.mu.count {
			continue
		}
		t := newTask(e, n)
		e.mu.tasks[n] = t
		e.wg.Go(t.run)
	}
	e.changedLocked()
}

// revoke ends the tasks of these partitions. After lost, another instance may
// own them already, and nothing more is committed.
func (e *Engine) revoke(numbers []int, lost bool) {
	e.mu.Lock()
	var given []*task
	for _, n := range numbers {
		if t := e.mu.tasks[n]; t != nil {
			given = append(given, t)
			delete(e.mu.tasks, n)
		}
	}
	e.mu.Unlock()
	if lost {
		for _, t := range given {
			t.cancel()
		}
	}
	e.changed()
	if len(given) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, revokeWithin)
	defer cancel()
	if err := stopTasks(ctx, given); err != nil {
		e.options.Logger.Warn("gave up a partition", slog.Any("error", err))
	}
}

// revokeWithin bounds the last commit of a partition that is being given up.
const revokeWithin = 5 * time.Second

// owned returns the partitions that this process runs, sorted.
func (e *Engine) owned() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.mu.tasks))
}

// Ready returns nil when Kafka answers, the tables have been read and every task of
// this process has been restored, or else what is missing. An instance that has no
// task is ready.
func (e *Engine) Ready() error {
	if err := e.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.mu.closed:
		return errors.New("stopping")
	case !e.mu.loaded:
		return errors.New("tables are being read")
	case e.mu.away != nil:
		return e.mu.away
	}
	for n, t := range e.mu.tasks {
		if !t.ready.Load() {
			return fmt.Errorf("partition %d is being restored", n)
		}
	}
	return nil
}

// changed wakes those who wait for the state of a task.
func (e *Engine) changed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changedLocked()
}

func (e *Engine) changedLocked() {
	close(e.mu.notify)
	e.mu.notify = make(chan struct{})
}

// WaitReady waits until this process runs all of the partitions and they are
// restored.
func (e *Engine) WaitReady(ctx context.Context, partitions ...int) error {
	for {
		e.mu.Lock()
		notify := e.mu.notify
		ready := !slices.ContainsFunc(partitions, func(n int) bool {
			t := e.mu.tasks[n]
			return t == nil || !t.ready.Load()
		})
		e.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-notify:
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Tasks is the number of tasks of the function, over all instances.
func (e *Engine) Tasks() int { return e.mu.count }

// Positions returns, for each task of this process that has committed, the next
// offset to process of each input topic.
func (e *Engine) Positions() map[int]map[string]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	positions := map[int]map[string]int64{}
	for n, t := range e.mu.tasks {
		if p := t.position.Load(); p != nil {
			positions[n] = *p
		}
	}
	return positions
}

// topicPartitions returns the partition count of every topic of the function.
func (e *Engine) topicPartitions(ctx context.Context, client *kgo.Client) (map[string]int, error) {
	def := &e.options.Definition
	topics := []string{ChangelogTopic(def.Name), events.TopicLate, events.TopicDeadLetters}
	for _, in := range def.Inputs {
		topics = append(topics, in.Topic)
	}
	for _, out := range def.Outputs {
		topics = append(topics, out.Topic)
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	listed, err := kadm.NewClient(client).ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	counts := map[string]int{}
	for _, topic := range topics {
		detail, ok := listed[topic]
		if !ok || detail.Err != nil || len(detail.Partitions) == 0 {
			return nil, fmt.Errorf("topic %q is needed by %s and %w; create it (knative/topics-*.yaml) or start with the emulator", topic, def.Name, errNoTopic)
		}
		counts[topic] = len(detail.Partitions)
	}
	tasks := e.taskCount(counts)
	if n := counts[ChangelogTopic(def.Name)]; n < tasks {
		return nil, fmt.Errorf("%w: the changelog %s has %d partitions and %s has %d tasks, one for each partition of its input",
			ErrRefused, ChangelogTopic(def.Name), n, def.Name, tasks)
	}
	return counts, nil
}

func (e *Engine) taskCount(partitions map[string]int) int {
	def := &e.options.Definition
	if len(def.Inputs) == 0 {
		return max(def.Tasks, 1)
	}
	n := 0
	for _, in := range def.Inputs {
		n = max(n, partitions[in.Topic])
	}
	return n
}

// errNoTopic: a topic is not there, or not every broker knows of it yet.
var errNoTopic = errors.New("does not exist")

// topicsWithin is how long Open waits for topics that are just being created.
const topicsWithin = 20 * time.Second

func (e *Engine) countTasks(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, topicsWithin)
	defer cancel()
	var missing error
	for {
		counts, err := e.topicPartitions(ctx, e.lookup.client)
		switch {
		case err == nil:
			return e.taskCount(counts), nil
		case ctx.Err() != nil:
			return 0, cmp.Or(missing, err)
		case !errors.Is(err, errNoTopic):
			return 0, err
		}
		if missing == nil {
			e.options.Logger.Warn("waiting for a topic", slog.Any("error", err))
		}
		missing = err
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
