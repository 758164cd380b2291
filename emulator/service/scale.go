package service

import (
	"cmp"
	"math"
	"time"

	"datasurge/knative"
)

// The autoscaler's settings, the defaults of Serving's config-autoscaler.
const (
	tick               = 2 * time.Second  // between two decisions
	stableWindow       = 60 * time.Second // over which the load is averaged
	panicWindow        = 10               // percent of it
	panicThreshold     = 200              // percent of the instances there are
	maxScaleUpRate     = 1000.0
	maxScaleDownRate   = 2.0
	defaultConcurrency = 100 // requests at a time
	defaultRPS         = 200 // requests a second
	utilization        = 70  // percent of the target, or of containerConcurrency
	burstCapacity      = 211
	// zeroGrace is how long the last instance stays when it is not wanted.
	zeroGrace = 30 * time.Second
)

// maxPods bounds the instances of a service that names no bound: so many pods run
// on one node of Kubernetes, if nobody says otherwise.
const maxPods = 110

// scaler decides on the number of instances of a revision, and whether the
// activator stands before them, as Knative's autoscaler does (serving
// pkg/autoscaler/scaling/autoscaler.go): the average of the metric in the stable
// window over the target. When the panic window asks for twice the instances there
// are, it panics: for a stable window it follows the larger of the two and never
// goes down.
type scaler struct {
	// initial is the number to begin with.
	initial int
	min     int // 0 only when it may scale to zero
	max     int
	// active is the least number when there is any load.
	active int

	rps       bool    // the metric is requests a second, else requests at a time
	total     float64 // what an instance takes of the metric
	target    float64 // what is aimed at
	burst     float64
	stable    int // ticks of the stable window
	panicking int // and of the panic window
	threshold float64
	delay     time.Duration // of a way down
	grace     time.Duration // of the last instance

	loads    []float64 // average of the metric in each tick of the stable window, the newest last
	panicked time.Time // when it was last over the threshold; zero: it does not panic
	peak     int       // most instances wanted since it panics
	decided  []decided // in the last delay, the oldest first
	unwanted time.Time // since when none is wanted; zero: some are
	// excess is the room for requests beyond the present ones and those of a burst;
	// below 0 the activator is in the path.
	excess float64
}

// decided is a number of instances that was wanted.
type decided struct {
	at time.Time
	n  int
}

// newScaler returns the scaler of a revision that is made now.
func newScaler(svc *knative.Service, toZero bool, now time.Time) scaler {
	a := &svc.Autoscaling
	s := scaler{
		min: max(1, svc.MinScale), max: maxPods, active: a.ActivationScale,
		rps: a.Metric == knative.MetricRPS, total: defaultConcurrency, burst: burstCapacity,
		delay: a.ScaleDownDelay, grace: max(zeroGrace, a.ZeroRetention),
		threshold: cmp.Or(a.PanicThreshold, panicThreshold) / 100,
	}
	switch {
	case s.rps:
		s.total = cmp.Or(a.Target, defaultRPS)
	case svc.Concurrency > 0:
		s.total = min(cmp.Or(a.Target, float64(svc.Concurrency)), float64(svc.Concurrency))
	case a.Target > 0:
		s.total = a.Target
	}
	s.target = max(1, s.total*cmp.Or(a.Utilization, utilization)/100)
	if a.BurstCapacity != nil {
		s.burst = *a.BurstCapacity
	}
	window := cmp.Or(a.Window, stableWindow)
	s.stable = ticks(window)
	s.panicking = ticks(time.Duration(float64(window) * cmp.Or(a.PanicWindow, panicWindow) / 100))
	s.initial = max(s.min, svc.InitialScale)
	if svc.MaxScale > 0 {
		s.max = max(svc.MaxScale, s.initial)
	}
	if toZero && svc.MinScale == 0 {
		s.min = 0
	}
	if s.initial > 1 {
		// What it begins with stays until enough is known.
		s.panicked, s.peak = now, s.initial
	}
	s.measureExcess(s.initial, 0)
	return s
}

// ticks is how many ticks make a window, at least one.
func ticks(window time.Duration) int { return max(1, int(math.Round(float64(window)/float64(tick)))) }

// decide returns how many instances there should be. load is the average of the
// metric since the last decision, a tick ago; ready is the number of instances
// that are ready.
func (s *scaler) decide(now time.Time, load float64, ready int) int {
	s.loads = append(s.loads, load)
	if len(s.loads) > s.stable {
		s.loads = append(s.loads[:0], s.loads[1:]...)
	}
	there := math.Max(1, float64(ready))
	recent := average(s.loads[max(0, len(s.loads)-s.panicking):])
	wanted := func(load float64) float64 { return math.Ceil(load / s.target) }
	bounded := func(n float64) int {
		count := int(math.Min(math.Max(n, math.Floor(there/maxScaleDownRate)), math.Ceil(maxScaleUpRate*there)))
		if n > 0 {
			count = max(count, s.active)
		}
		return count
	}
	stable, panicking := bounded(wanted(average(s.loads))), bounded(wanted(recent))

	switch over := wanted(recent)/there >= s.threshold; {
	case over:
		s.panicked = now
	case !s.panicked.IsZero() && now.Sub(s.panicked) > time.Duration(s.stable)*tick:
		s.panicked, s.peak = time.Time{}, 0
	}
	n := stable
	if !s.panicked.IsZero() {
		s.peak = max(s.peak, stable, panicking)
		n = s.peak
	}
	s.measureExcess(ready, recent)
	return s.last(now, min(max(s.delayed(now, n), s.min), s.max))
}

// measureExcess sets the room beyond the load of a burst.
func (s *scaler) measureExcess(ready int, load float64) {
	switch s.burst {
	case 0, -1:
		s.excess = s.burst
	default:
		s.excess = math.Floor(float64(ready)*s.total - s.burst - load)
	}
}

// delayed is the most that was wanted in the time for which a way down is
// delayed.
func (s *scaler) delayed(now time.Time, n int) int {
	if s.delay == 0 {
		return n
	}
	s.decided = append(s.decided, decided{now, n})
	for now.Sub(s.decided[0].at) >= s.delay {
		s.decided = s.decided[1:] // never the last, which is of now
	}
	for _, d := range s.decided {
		n = max(n, d.n)
	}
	return n
}

// last keeps the last instance for a while when none is wanted. As long as the
// window is not full it is not known that none is.
func (s *scaler) last(now time.Time, n int) int {
	switch {
	case n > 0:
		s.unwanted = time.Time{}
		return n
	case len(s.loads) < s.stable:
		return 1
	case s.unwanted.IsZero():
		s.unwanted = now
	}
	if now.Sub(s.unwanted) < s.grace {
		return 1
	}
	return 0
}

func average(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// meter measures how many requests there are on average.
type meter struct {
	requests int
	last     time.Time     // when the area was last brought up to date
	since    time.Time     // when the average was last taken
	area     time.Duration // requests times time since then
	came     int           // requests since then
}

// add adds to the number of requests.
func (m *meter) add(now time.Time, n int) {
	m.area += time.Duration(m.requests) * now.Sub(m.last)
	m.last = now
	m.requests += n
	m.came += max(0, n)
}

// least is the load of requests that took no time at all: it is not none.
const least = 1e-9

// take returns how many requests there were on average since it was last called,
// and how many have come a second.
func (m *meter) take(now time.Time) (concurrency, rps float64) {
	m.add(now, 0)
	concurrency, rps = float64(m.requests), float64(m.came)
	if elapsed := now.Sub(m.since); elapsed > 0 {
		concurrency = float64(m.area) / float64(elapsed)
		rps /= elapsed.Seconds()
	}
	if m.came > 0 {
		concurrency = max(concurrency, least)
	}
	m.area, m.since, m.came = 0, now, 0
	return concurrency, rps
}

// autoscale follows the load until the service is closed.
func (s *Service) autoscale() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			s.rescale(now)
		}
	}
}

func (s *Service) rescale(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	load, rps := s.mu.meter.take(now)
	r := s.mu.current
	if r.scaler.rps {
		load = rps
	}
	n := r.scaler.decide(now, load, len(r.ready))
	if n == 0 && s.mu.meter.requests > 0 {
		n = 1 // one has come since
	}
	if n == len(r.slots) {
		return
	}
	r.cfg.Logger.Info("number of instances", "service", s.label, "from", len(r.slots), "to", n, "load", math.Round(average(r.scaler.loads)*10)/10)
	r.scale(n)
}
