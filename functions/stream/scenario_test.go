package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/step"
	"datasurge/functions/stream/kafkatest"
)

var errKilled = errors.New("killed by the test")

// everywhere runs a scenario under fake time on the embedded broker, and again
// in real time on the Kafka that KAFKA_BROKERS names, if it does.
func everywhere(t *testing.T, scenario func(t *testing.T, b kafkatest.Backend)) {
	t.Run("fake time", func(t *testing.T) {
		fakeTime(t, scenario)
	})
	t.Run("real time", func(t *testing.T) {
		scenario(t, kafkatest.Brokers(t))
	})
}

func fakeTime(t *testing.T, scenario func(t *testing.T, b kafkatest.Backend)) {
	t.Helper()
	kafkatest.FakeTime(t, scenario)
}

func TestEverythingArrivesOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 4)
		tb.produce(1000, 50, start)
		tb.start(nil)
		tb.produce(1000, 50, start)
		tb.check()
	})
}

func TestScenario01KillOfTheFunction(t *testing.T) {
	for _, point := range []faultPoint{faultBegin, faultProduced, faultFlushed, faultEnded} {
		t.Run(string(point), func(t *testing.T) {
			everywhere(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 2)
				tb.produce(500, 20, start)
				killed := make(chan struct{})
				e := tb.start(func(o *Options) {
					o.CommitEvents = 100
					o.fault = once(point, 3, func() { close(killed) })
				})
				<-killed
				e.kill()
				tb.produce(500, 20, start)
				tb.start(nil)
				tb.check()
			})
		})
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 4)
		for range 5 {
			tb.produce(200, 10, start)
			e := tb.start(nil)
			tb.check()
			stop(t, e)
		}
	})
}

// pauseAt returns a fault that stops the first task that reaches at for the n-th
// time until resume is closed, as SIGSTOP does; reached is closed when it stands.
func pauseAt(at faultPoint, n int) (fault func(int, faultPoint) error, reached, resume chan struct{}) {
	reached, resume = make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	return func(_ int, point faultPoint) error {
		mu.Lock()
		if point == at {
			n--
		}
		stands := point == at && n == 0
		mu.Unlock()
		if stands {
			close(reached)
			<-resume
		}
		return nil
	}, reached, resume
}

func TestScenario03AZombieWritesNothing(t *testing.T) {
	for _, point := range []faultPoint{faultBegin, faultProduced, faultFlushed} {
		t.Run(string(point), func(t *testing.T) {
			everywhere(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 1)
				tb.produce(300, 20, start)
				fault, reached, resume := pauseAt(point, 2)
				zombie := tb.start(func(o *Options) {
					o.CommitEvents = 50
					o.fault = fault
					o.Owner = Static{0}
				})
				<-reached
				successor := tb.start(nil)
				tb.check()
				before := zombie.takeovers(0)
				close(resume)
				// The zombie's commit must fail; only then does it take over again.
				zombie.awaitTakeover(t, before)
				stop(t, successor)
				tb.check()
				stop(t, zombie)
				tb.compare(tb.reference(), true)
			})
		})
	}
}

func TestScenario04AZombieTriesATimerOnlyCommit(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.def.New = func(step.Task) step.Function { return &timer{sums{out: tb.out}} }
		var asleep atomic.Bool
		fault, reached, resume := pauseAt(faultBegin, 1)
		zombie := tb.start(func(o *Options) {
			o.fault = func(task int, at faultPoint) error {
				if asleep.Load() {
					return fault(task, at)
				}
				return nil
			}
		})
		tb.produce(10, 3, start)
		tb.check()
		// The zombie sleeps on a commit that a tick made, not an event.
		asleep.Store(true)
		<-reached
		successor := tb.start(nil)
		tb.ready(successor)
		time.Sleep(3 * time.Second)
		before := zombie.takeovers(0)
		close(resume)
		zombie.awaitTakeover(t, before)
		// Ticks are numbered in the state: were the zombie's committed, a number
		// would be there twice.
		stop(t, zombie)
		stop(t, successor)
		seen := map[string]bool{}
		for _, rec := range tb.ReadCommitted(t, tb.out) {
			if value := string(rec.Value); isTick(rec) {
				if seen[value] {
					t.Fatalf("tick %s was committed twice", value)
				}
				seen[value] = true
			}
		}
		if len(seen) < 3 {
			t.Fatalf("%d ticks were committed, want at least 3", len(seen))
		}
	})
}

// timer numbers its ticks in its state and emits each.
type timer struct{ sums }

func (f *timer) Tick(tx step.Tx, now time.Time) error {
	key := []byte{kindSum, 't', 'i', 'c', 'k'}
	v, _ := tx.Get(key).(*sum)
	if v == nil {
		v = &sum{}
	}
	v.count++
	tx.Put(key, v)
	n := strconv.FormatInt(v.count, 10)
	tx.Emit(f.out, &events.Event{ID: "tick" + n, Source: "/test", Type: "test.tick.v1", Time: now, Data: []byte(n)})
	return nil
}

func isTick(rec *kgo.Record) bool {
	return slices.ContainsFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_type" && string(h.Value) == "test.tick.v1" })
}

func TestScenario05TheAnswerOfEndTxnIsLost(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		tb.produce(500, 20, start)
		w := &wire{lose: map[kmsg.Key]int{kmsg.EndTxn: 3}}
		tb.start(func(o *Options) {
			o.CommitEvents = 100
			o.Kafka = tb.Opts(w.opt(b.Dial()))
		})
		tb.check()
		tb.produce(500, 20, start)
		tb.check()
		if w.lost == 0 {
			t.Fatal("no answer was lost")
		}
	})
}

func TestScenario06AProduceErrorOnOneOfTwoTopicsCommitsNothing(t *testing.T) {
	for _, failing := range []string{"output", "changelog"} {
		t.Run(failing, func(t *testing.T) {
			fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 1)
				tb.ready(tb.start(nil))
				topic := map[string]string{"output": tb.out, "changelog": ChangelogTopic(tb.def.Name)}[failing]
				fault := b.Fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.InvalidRecord, Count: 3,
				})
				tb.produce(100, 5, start)
				tb.check()
				if fault.Hits() == 0 {
					t.Fatalf("no produce to the %s failed", failing)
				}
			})
		})
	}
}

func TestScenario07WorkersJoinAndLeaveEverySecond(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 6)
		rounds := 10
		if b.Dial() != nil {
			rounds = 60 // of fake time
		}
		var workers []*Engine
		for round := range rounds {
			tb.produce(50, 20, start)
			if len(workers) < 2 || (len(workers) < 5 && round%2 == 0) {
				workers = append(workers, tb.start(func(o *Options) { o.Owner = Group{SessionTimeout: 6 * time.Second} }))
			} else {
				stop(t, workers[0])
				workers = workers[1:]
			}
			time.Sleep(time.Second) // the scenario's rhythm, not a wait for something
		}
		tb.check()
	})
}

func TestScenario08RestoreWhileInputFlows(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		first := tb.start(nil)
		tb.produce(2000, 2000, start)
		tb.check()
		stop(t, first)
		// Each poll of the restore takes longer than the rebalance timeout.
		slow := func(_ int, at faultPoint) error {
			if at == faultRestore {
				time.Sleep(40 * time.Second)
			}
			return nil
		}
		group := Group{SessionTimeout: 6 * time.Second}
		a := tb.start(func(o *Options) { o.Owner, o.fault = group, slow })
		tb.produce(500, 100, start)
		// Partitions are revoked in the middle of the restore.
		bb := tb.start(func(o *Options) { o.Owner, o.fault = group, slow })
		tb.produce(500, 100, start)
		time.Sleep(10 * time.Second)
		stop(t, a)
		tb.produce(500, 100, start)
		_ = bb
		tb.checkWithin(10 * time.Minute)
	})
}

func TestScenario09Compaction(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		for range 4 {
			e := tb.start(nil)
			tb.produce(500, 10, start)
			tb.check()
			stop(t, e)
			b.Fake.Compact() // no task runs, as the embedded broker does it
			time.Sleep(time.Minute)
		}
		kept := len(tb.ReadCommitted(t, ChangelogTopic(tb.def.Name)))
		if kept > 200 {
			t.Fatalf("the changelog of 10 keys holds %d records after compaction", kept)
		}
	})
}

func TestScenario09TombstonesStayGone(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.def.New = func(step.Task) step.Function { return &forgetful{sums{out: tb.out}} }
		e := tb.start(nil)
		tb.produce(9, 3, start)
		tb.await(tb.out, 9, isSum)
		stop(t, e)
		b.Fake.Compact()
		time.Sleep(time.Hour) // past delete.retention.ms
		b.Fake.Compact()
		var restored int
		tb.def.New = func(task step.Task) step.Function {
			for range task.State {
				restored++
			}
			return &sums{out: tb.out}
		}
		tb.ready(tb.start(nil))
		if restored != 0 {
			t.Fatalf("%d keys came back after their tombstones", restored)
		}
	})
}

// forgetful deletes each third key again when it sees its third event.
type forgetful struct{ sums }

func (f *forgetful) Step(tx step.Tx, e *events.Event) error {
	err := f.sums.Step(tx, e)
	key := append([]byte{kindSum}, e.Key...)
	if v, ok := tx.Get(key).(*sum); ok && v.count == 3 {
		tx.Delete(key)
	}
	return err
}

func TestScenario10EmptyChangelog(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.ready(tb.start(nil))
	})
}

func TestScenario10MetaOnlyChangelog(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.def.New = func(step.Task) step.Function { return &refuser{} }
		e := tb.start(nil)
		tb.produce(1, 1, start)
		tb.await(events.TopicDeadLetters, 1, func(rec *kgo.Record) bool { return strings.Contains(string(rec.Value), tb.in) })
		stop(t, e)
		tb.ready(tb.start(nil))
	})
}

func TestScenario10AbortedTail(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		e := tb.start(nil)
		tb.produce(50, 5, start)
		tb.check()
		stop(t, e)
		cl := tb.Client(t, kgo.TransactionalID(tb.def.Name+"-stranger"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			bad := &kgo.Record{Topic: ChangelogTopic(tb.def.Name), Key: []byte{kindSum, byte(i)}, Value: []byte("damaged")}
			if err := cl.ProduceSync(t.Context(), bad).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		tb.start(nil)
		tb.produce(50, 5, start)
		tb.check()
	})
}

// refuser refuses every event.
type refuser struct{}

func (refuser) Step(step.Tx, *events.Event) error {
	return &events.InvalidError{Path: "$", Reason: "is refused"}
}
func (refuser) Tick(step.Tx, time.Time) error { return nil }

func TestScenario11TheSameOffsetTwice(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		tb.produce(500, 20, start)
		e := tb.start(func(o *Options) { o.Consume = false })
		tb.ready(e)
		// Every event twice, in any order, and once more after a restart.
		tb.push(rand.New(rand.NewPCG(5, 6)), 2, e)
		tb.compare(tb.reference(), false)
		stop(t, e)
		e = tb.start(func(o *Options) { o.Consume = false })
		tb.ready(e)
		tb.push(rand.New(rand.NewPCG(7, 8)), 1, e)
		tb.compare(tb.reference(), false)
	})
}

func TestScenario11TheSameIDWithoutAnOffset(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		send := func(e *Engine, id, source string) {
			t.Helper()
			n := numbered{id: id, key: "k", n: 1, at: time.Now()}
			ev := n.event()
			ev.Source = source
			if err := e.Deliver(t.Context(), e.Place(ev), ev); err != nil {
				t.Fatal(err)
			}
		}
		outputs := func() int {
			n := 0
			for _, rec := range tb.ReadCommitted(t, tb.out) {
				if isSum(rec) {
					n++
				}
			}
			return n
		}
		e := tb.start(nil)
		tb.ready(e)
		for i, step := range []struct {
			id, source string
			wait       time.Duration
			restart    bool
			want       int
		}{
			{"a", "/x", 0, false, 1},
			{"a", "/x", time.Minute, false, 1}, // the same
			{"a", "/y", 0, false, 2},           // from another source
			{"a", "/x", 0, true, 2},            // across a restart
			{"a", "/x", 2 * time.Hour, false, 3},
		} {
			time.Sleep(step.wait)
			if step.restart {
				stop(t, e)
				e = tb.start(nil)
				tb.ready(e)
			}
			send(e, step.id, step.source)
			if got := outputs(); got != step.want {
				t.Fatalf("after event %d there are %d outputs, want %d", i, got, step.want)
			}
		}
	})
}

func TestScenario12TenThousandPoisonEvents(t *testing.T) {
	everywhere(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		const bad = 10_000
		tb.produce(100, 10, start)
		var records []*kgo.Record
		for i := range bad {
			poison := [][]byte{nil, []byte("{"), []byte("NaN"), {0xff, 0xfe}, bytes.Repeat([]byte("["), 1000)}
			records = append(records, &kgo.Record{Key: []byte("k" + strconv.Itoa(i%10)), Value: poison[i%len(poison)], Headers: []kgo.RecordHeader{{Key: "x", Value: []byte("y")}}})
		}
		tb.Produce(t, tb.in, records...)
		tb.produce(100, 10, start)
		tb.start(nil)
		tb.check()
		letters := 0
		for _, rec := range tb.ReadCommitted(t, events.TopicDeadLetters) {
			var e events.Event
			var letter events.DeadLetter
			if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{}); err != nil {
				t.Fatal(err)
			}
			if err := events.ParseDeadLetter(e.Data, &letter); err != nil {
				t.Fatal(err)
			}
			if letter.Topic == tb.in {
				letters++
				if letter.Reason == "" || len(letter.Headers) != 1 {
					t.Fatalf("dead letter %+v", letter)
				}
			}
		}
		if letters != bad {
			t.Fatalf("%d dead letters, want %d", letters, bad)
		}
	})
}

func TestScenario12AFunctionThatPanics(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		tb.def.New = func(step.Task) step.Function { return &panicker{sums{out: tb.out}} }
		tb.produce(50, 5, start)
		boom := &kgo.Record{}
		kafkarecord.Write((&numbered{id: "boom", key: "k1", n: 13_000, at: start}).event(), boom)
		tb.Produce(t, tb.in, boom)
		tb.produce(50, 5, start)
		tb.start(nil)
		tb.check()
		if n := len(tb.ReadCommitted(t, events.TopicDeadLetters)); n != 1 {
			t.Fatalf("%d dead letters for one event that makes the function panic", n)
		}
	})
}

type panicker struct{ sums }

func (p *panicker) Step(tx step.Tx, e *events.Event) error {
	if string(e.Data) == "13000" {
		tx.Put([]byte{kindSum, 'x'}, &sum{1, 1}) // half done
		panic("unlucky")
	}
	return p.sums.Step(tx, e)
}

func TestScenario13InputTruncatedBelowTheCheckpoint(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		e := tb.start(nil)
		tb.produce(100, 10, start)
		tb.check()
		stop(t, e)
		tb.produce(100, 10, start)
		if err := b.Fake.DeleteRecords(tb.in, 0, 150); err != nil {
			t.Fatal(err)
		}
		failed := tb.start(nil)
		<-failed.Failed()
		if err := failed.Err(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "50 records were deleted unprocessed") {
			t.Fatalf("the engine ended with %v", err)
		}
		tb.start(func(o *Options) { o.ResumeTruncated = true })
		tb.await(tb.out, 150, isSum)
	})
}

func TestScenario14PartitionCountChanged(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 2)
		e := tb.start(nil)
		tb.produce(100, 10, start)
		tb.check()
		stop(t, e)
		admin := kadm.NewClient(b.Client(t))
		for _, topic := range []string{tb.in, ChangelogTopic(tb.def.Name)} {
			if _, err := admin.UpdatePartitions(t.Context(), 4, topic); err != nil {
				t.Fatal(err)
			}
		}
		failed := tb.start(nil)
		<-failed.Failed()
		if err := failed.Err(); !errors.Is(err, ErrRefused) {
			t.Fatalf("the engine ended with %v", err)
		}
	})
}

func TestScenario15ValueOfANewerVersion(t *testing.T) {
	for name, record := range map[string]*kgo.Record{
		"engine's":   {Key: []byte{kindMeta}, Value: []byte{metaVersion + 1}},
		"function's": {Key: []byte{kindSum, 'x'}, Value: []byte{0x80}},
		"kind":       {Key: []byte{0x7f}, Value: []byte{1}},
	} {
		t.Run(name, func(t *testing.T) {
			fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
				tb := newTestbed(t, b, 1)
				tb.Produce(t, ChangelogTopic(tb.def.Name), record)
				failed := tb.start(nil)
				<-failed.Failed()
				if err := failed.Err(); !errors.Is(err, ErrRefused) {
					t.Fatalf("the engine ended with %v", err)
				}
			})
		})
	}
}

func TestScenario17ClockJumpsBackwards(t *testing.T) {
	def := sumDefinition("sum", "in", "out")
	c := newCore(&def, DefaultLimits(), 0, 1)
	c.out = func(string, *events.Event) error { return nil }
	c.start(map[string]int{"in": 1})
	c.now = start
	var last int64
	for i := range 100 {
		if i == 50 {
			c.now = c.now.Add(-24 * time.Hour)
		}
		c.now = c.now.Add(time.Second)
		n := numbered{id: strconv.Itoa(i), key: "k", n: 1, at: start.Add(time.Duration(i) * time.Second)}
		result, err := c.handle(&c.inputs[0], int64(i), n.event(), false)
		if err != nil || (i < 50 && result != outcomeDone) {
			t.Fatalf("event %d: %v, %v", i, result, err)
		}
		if i >= 50 && result != outcomeFuture {
			t.Fatalf("event %d is a day ahead of the clock and was taken as %v", i, result)
		}
		if err := c.tick(0); err != nil {
			t.Fatal(err)
		}
		c.forgetOld()
		if w := c.Watermark(); w < last {
			t.Fatalf("the watermark went back from %d to %d", last, w)
		} else {
			last = w
		}
	}
	if !c.inputs[0].done.isDone(0) || !c.inputs[0].done.isDone(99) {
		t.Fatal("an offset that was done is not")
	}
}

// TestScenario18RandomSchedules runs random events, kills, restarts and second
// owners, and compares with a single thread. TEST_SEED repeats one schedule,
// TEST_SCHEDULES sets how many there are.
func TestScenario18RandomSchedules(t *testing.T) {
	schedules, first := 25, uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SCHEDULES"); text != "" {
		schedules, _ = strconv.Atoi(text)
	}
	if text := os.Getenv("TEST_SEED"); text != "" {
		first, _ = strconv.ParseUint(text, 10, 64)
		schedules = 1
	}
	for i := range uint64(schedules) {
		seed := first + i
		ok := t.Run("", func(t *testing.T) {
			fakeTime(t, func(t *testing.T, b kafkatest.Backend) { randomSchedule(t, b, seed) })
		})
		if !ok {
			t.Fatalf("schedule failed; repeat with TEST_SEED=%d go test -tags synctests -run %s ./functions/stream", seed, t.Name())
		}
	}
	t.Logf("%d schedules from seed %d", schedules, first)
}

func randomSchedule(t *testing.T, b kafkatest.Backend, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	tb := newTestbed(t, b, 1+rng.IntN(3))
	points := []faultPoint{faultBegin, faultProduced, faultFlushed, faultEnded}
	var running []*Engine
	end := func(i int, kill bool) {
		if kill {
			running[i].kill()
		} else {
			stop(t, running[i])
		}
		running = slices.Delete(running, i, i+1)
	}
	for range 6 + rng.IntN(10) {
		switch n := rng.IntN(10); {
		case n < 4:
			tb.produce(1+rng.IntN(200), 1+rng.IntN(20), start)
		case n < 7 && len(running) < 3:
			fault := once(points[rng.IntN(len(points))], 1+rng.IntN(8), func() {})
			if rng.IntN(3) == 0 {
				fault = nil
			}
			running = append(running, tb.start(func(o *Options) {
				o.CommitEvents, o.fault = 10+rng.IntN(100), fault
			}))
		case len(running) > 0:
			end(rng.IntN(len(running)), n < 9)
		}
		time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
	}
	for len(running) > 0 {
		end(0, rng.IntN(2) == 0)
	}
	tb.start(nil)
	tb.check()
}

// A transaction that somebody leaves open in the changelog hides all that follows
// from readers. A restore does not wait for it for ever without a word.
func TestScenario10AnOpenTransactionInTheChangelog(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		stranger := tb.Client(t, kgo.TransactionalID("stranger"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := stranger.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		left := &kgo.Record{Topic: ChangelogTopic(tb.def.Name), Key: []byte{kindSum, 'x'}, Value: []byte{2, 2}}
		if err := stranger.ProduceSync(t.Context(), left).FirstErr(); err != nil {
			t.Fatal(err)
		}
		e := tb.start(nil)
		tb.produce(100, 5, start)
		e.awaitTakeover(t, 1) // the first gave up
		if err := stranger.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		tb.check()
	})
}

func TestAMissingTopicIsNamed(t *testing.T) {
	fakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		tb := newTestbed(t, b, 1)
		o := Options{Definition: tb.def, Kafka: tb.Opts(), Owner: Static{}}
		o.Definition.Outputs = append(o.Definition.Outputs, step.Output{Topic: "later"}, step.Output{Topic: "never"})
		time.AfterFunc(5*time.Second, func() { tb.CreateTopic(t, "later", 1, nil) })
		_, err := Open(t.Context(), o)
		if !errors.Is(err, errNoTopic) || !strings.Contains(err.Error(), `"never"`) {
			t.Fatalf("Open returned %v", err)
		}
	})
}
