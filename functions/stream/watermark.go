package stream

import (
	"container/heap"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"datasurge/events"
	"datasurge/functions/step"
)

// stamp is what an upstream task says about itself in the extensions of each
// event that it emits.
type stamp struct {
	task, tasks int   // number of the upstream task, and how many there are
	watermark   int64 // ms since the epoch
	idle        bool  // the task has nothing to read and holds nobody back
}

// stampValue is the extension datasurgetask: function/task/tasks.
func stampValue(function string, task, tasks int) string {
	return function + "/" + strconv.Itoa(task) + "/" + strconv.Itoa(tasks)
}

// readStamp returns the stamp of e; ok is false for an event from outside.
func readStamp(e *events.Event) (s stamp, ok bool) {
	var found int
	for i := range e.Extensions {
		x := &e.Extensions[i]
		switch x.Name {
		case events.ExtTask:
			_, rest, _ := strings.Cut(x.Value, "/")
			task, tasks, _ := strings.Cut(rest, "/")
			var err1, err2 error
			s.task, err1 = strconv.Atoi(task)
			s.tasks, err2 = strconv.Atoi(tasks)
			if err1 == nil && err2 == nil && s.task >= 0 && s.task < s.tasks && s.tasks <= maxTasks {
				found |= 1
			}
		case events.ExtWatermark:
			var err error
			if s.watermark, err = strconv.ParseInt(x.Value, 10, 64); err == nil {
				found |= 2
			}
		case events.ExtIdle:
			s.idle = x.Value == "true"
		}
	}
	return s, found == 3
}

// maxTasks bounds what an event from outside can make a task remember.
const maxTasks = 4096

// inputWatermark follows the watermark of one input partition.
//
// A topic behind another function holds what several upstream tasks wrote, each
// at its own pace, so its watermark is the smallest of theirs and cannot be
// guessed from the events. Events that carry no stamp come from outside: for them
// it is the largest event time less the out-of-orderness.
type inputWatermark struct {
	outside   int64 // from events without a stamp
	upstreams []upstream
	value     int64 // never goes back
}

type upstream struct {
	heard     bool
	idle      bool
	watermark int64
}

func newInputWatermark() *inputWatermark {
	return &inputWatermark{outside: step.MinWatermark, value: step.MinWatermark}
}

// observe takes the event time of an event from outside.
func (w *inputWatermark) observe(eventTime int64, outOfOrderness time.Duration) {
	w.outside = max(w.outside, eventTime-outOfOrderness.Milliseconds())
	if w.upstreams == nil {
		w.value = max(w.value, w.outside)
	}
}

// hear takes the stamp of an upstream task.
func (w *inputWatermark) hear(s stamp) {
	for len(w.upstreams) < s.tasks {
		w.upstreams = append(w.upstreams, upstream{watermark: step.MinWatermark})
	}
	u := &w.upstreams[s.task]
	u.heard, u.idle = true, s.idle
	u.watermark = max(u.watermark, s.watermark)
	w.advance()
}

// advance sets value to the smallest watermark of the upstream tasks that are
// not idle; when all are, nothing more is to come and it is the largest.
func (w *inputWatermark) advance() {
	low, high, active := int64(math.MaxInt64), step.MinWatermark, false
	for _, u := range w.upstreams {
		if !u.heard {
			return
		}
		high = max(high, u.watermark)
		if !u.idle {
			active = true
			low = min(low, u.watermark)
		}
	}
	if !active {
		low = high
	}
	w.value = max(w.value, low)
}

// append encodes w.
func (w *inputWatermark) append(dst []byte) []byte {
	dst = appendTime(appendTime(dst, w.outside), w.value)
	dst = binary.AppendUvarint(dst, uint64(len(w.upstreams)))
	for _, u := range w.upstreams {
		dst = appendBool(appendBool(dst, u.heard), u.idle)
		dst = appendTime(dst, u.watermark)
	}
	return dst
}

func (w *inputWatermark) parse(r *reader) {
	w.outside, w.value = readTime(r), readTime(r)
	w.upstreams = nil
	for range r.Items() {
		u := upstream{heard: r.bool(), idle: r.bool()}
		u.watermark = readTime(r)
		w.upstreams = append(w.upstreams, u)
	}
}

// frontier puts what events say about time back into the order of their offsets,
// for events that are pushed in any order: a watermark that stands in offset 100
// must not be believed while offset 90 is still being retried. Some offsets never
// come (commit markers, aborted records), so an entry waits at most patience.
type frontier struct {
	next    int64 // every offset below has been applied or given up
	pending pendingHeap
}

// pendingTime is what one event says about time.
type pendingTime struct {
	offset    int64
	arrived   time.Time
	stamped   bool
	stamp     stamp
	observed  bool // eventTime is set
	eventTime int64
}

// add takes what the event at p.offset says.
func (f *frontier) add(p pendingTime) { heap.Push(&f.pending, p) }

// apply hands entries to w in the order of offsets, as far as there is no gap or
// the gap is older than patience.
func (f *frontier) apply(w *inputWatermark, now time.Time, patience, outOfOrderness time.Duration) {
	for len(f.pending) > 0 {
		p := f.pending[0]
		if p.offset > f.next && now.Sub(p.arrived) < patience {
			return
		}
		heap.Pop(&f.pending)
		f.next = max(f.next, p.offset+1)
		p.applyTo(w, outOfOrderness)
	}
}

func (p *pendingTime) applyTo(w *inputWatermark, outOfOrderness time.Duration) {
	if p.stamped {
		w.hear(p.stamp)
	} else if p.observed {
		w.observe(p.eventTime, outOfOrderness)
	}
}

type pendingHeap []pendingTime

func (h pendingHeap) Len() int           { return len(h) }
func (h pendingHeap) Less(i, j int) bool { return h[i].offset < h[j].offset }
func (h pendingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pendingHeap) Push(x any)        { *h = append(*h, x.(pendingTime)) }
func (h *pendingHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
