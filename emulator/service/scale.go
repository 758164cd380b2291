package service

import (
	"math"
	"time"

	"datasurge/knative"
)

// The autoscaler's settings, the defaults of Serving's config-autoscaler.
const (
	tick             = 2 * time.Second  // between two decisions
	stableWindow     = 60 * time.Second // over which the load is averaged
	panicWindow      = 6 * time.Second  // 10 % of it
	panicThreshold   = 2.0              // times the instances there are
	maxScaleUpRate   = 1000.0
	maxScaleDownRate = 2.0
	defaultTarget    = 100 // requests at a time
	utilization      = 0.7 // of the target, or of containerConcurrency
	// zeroGrace is how long the last instance stays when it is not wanted.
	zeroGrace = 30 * time.Second
)

// scaler decides on the number of instances of a revision, as Knative's
// autoscaler does for the metric concurrency (serving
// pkg/autoscaler/scaling/autoscaler.go): the average number of requests in the
// stable window over the target. When the panic window asks for twice the
// instances there are, it panics: for a stable window it follows the larger of
// the two and never goes down.
type scaler struct {
	// initial is the number to begin with.
	initial int
	min     int // 0 only when it may scale to zero
	max     int
	target  float64

	loads    []float64 // average number of requests in each tick of the stable window, the newest last
	panicked time.Time // when it was last over the threshold; zero: it does not panic
	peak     int       // most instances wanted since it panics
	unwanted time.Time // since when none is wanted; zero: some are
}

// newScaler returns the scaler of a revision that is made now.
func newScaler(svc *knative.Service, toZero bool, now time.Time) scaler {
	s := scaler{min: max(1, svc.MinScale), target: defaultTarget * utilization}
	if svc.Target > 0 {
		s.target = svc.Target * utilization
	}
	if svc.Concurrency > 0 && (svc.Target == 0 || svc.Target > float64(svc.Concurrency)) {
		s.target = float64(svc.Concurrency) * utilization
	}
	s.initial = max(s.min, svc.InitialScale)
	// Without a bound there would be no end to the processes on one machine.
	s.max = s.initial
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
	return s
}

// fixed reports whether the number never changes.
func (s *scaler) fixed() bool { return s.min == s.max }

// decide returns how many instances there should be. load is the average number
// of requests since the last decision, a tick ago; ready is the number of
// instances that are ready.
func (s *scaler) decide(now time.Time, load float64, ready int) int {
	const keep = int(stableWindow / tick)
	s.loads = append(s.loads, load)
	if len(s.loads) > keep {
		s.loads = append(s.loads[:0], s.loads[1:]...)
	}
	there := math.Max(1, float64(ready))
	wanted := func(loads []float64) float64 { return math.Ceil(average(loads) / s.target) }
	bounded := func(n float64) int {
		return int(math.Min(math.Max(n, math.Floor(there/maxScaleDownRate)), math.Ceil(maxScaleUpRate*there)))
	}
	recent := s.loads[max(0, len(s.loads)-int(panicWindow/tick)):]
	stable, panicking := bounded(wanted(s.loads)), bounded(wanted(recent))

	switch over := wanted(recent)/there >= panicThreshold; {
	case over:
		s.panicked = now
	case !s.panicked.IsZero() && now.Sub(s.panicked) > stableWindow:
		s.panicked, s.peak = time.Time{}, 0
	}
	n := stable
	if !s.panicked.IsZero() {
		s.peak = max(s.peak, stable, panicking)
		n = s.peak
	}
	return s.last(now, min(max(n, s.min), s.max))
}

// last keeps the last instance for a while when none is wanted. As long as the
// window is not full it is not known that none is.
func (s *scaler) last(now time.Time, n int) int {
	switch {
	case n > 0:
		s.unwanted = time.Time{}
		return n
	case len(s.loads) < int(stableWindow/tick):
		return 1
	case s.unwanted.IsZero():
		s.unwanted = now
	}
	if now.Sub(s.unwanted) < zeroGrace {
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
	came     bool          // a request has, since then
}

// add adds to the number of requests.
func (m *meter) add(now time.Time, n int) {
	m.area += time.Duration(m.requests) * now.Sub(m.last)
	m.last = now
	m.requests += n
	m.came = m.came || n > 0
}

// least is the load of requests that took no time at all: it is not none.
const least = 1e-9

// take returns the average since it was last called.
func (m *meter) take(now time.Time) float64 {
	m.add(now, 0)
	elapsed := now.Sub(m.since)
	load := float64(m.requests)
	if elapsed > 0 {
		load = float64(m.area) / float64(elapsed)
	}
	if m.came {
		load = max(load, least)
	}
	m.area, m.since, m.came = 0, now, false
	return load
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
	load := s.mu.meter.take(now)
	r := s.mu.current
	if r.scaler.fixed() {
		return
	}
	n := r.scaler.decide(now, load, len(r.ready))
	if n == 0 && s.mu.meter.requests > 0 {
		n = 1 // one has come since
	}
	if n == len(r.slots) {
		return
	}
	r.cfg.Logger.Info("number of instances", "service", s.name, "from", len(r.slots), "to", n, "requests", math.Round(average(r.scaler.loads)*10)/10)
	r.scale(n)
}
