// Package chaos injects faults into a running emulator: deliveries are repeated,
// slowed and answered with errors, functions are killed, the broker is
// restarted. What of it is done is decided by a seed.
//
// Whether a delivery is struck follows from the seed, the event's type and id and
// the number of the attempt, not from when it happens: the same events suffer the
// same faults in every run. The times of kills and restarts, and who is killed,
// are drawn from the seed in their order.
package chaos

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan says which faults there are. The zero plan has none.
type Plan struct {
	// Redeliver is the share of the deliveries that are made again: half of them
	// while the first is under way, the others up to two seconds after it.
	Redeliver float64
	// Kill is the mean time between two kills of one function's process (SIGKILL).
	Kill time.Duration
	// Latency is the most that a delivery is held up before it is made; the mean is
	// half of it.
	Latency time.Duration
	// Status are the errors that deliveries are answered with: half of them
	// before the function has seen the event, half after it has processed it.
	Status []Status
	// Broker is the mean time between two restarts of the embedded broker.
	Broker time.Duration
	// Seed of all that is random. Default is 1.
	Seed uint64
}

// Status is one answer that is given in place of the function's.
type Status struct {
	Code  int
	Share float64 // of the attempts
}

// Bounds of a plan.
const (
	maxStatusShare = 0.9 // some attempts have to succeed
	minEvery       = 100 * time.Millisecond
	maxLatency     = time.Minute
)

const faults = "redeliver=SHARE, kill=TIME, latency=TIME, status=CODE:SHARE, broker=TIME, seed=N"

// Parse reads a plan such as
//
//	redeliver=0.05,kill=30s,latency=200ms,status=503:0.02,broker=60s,seed=7
//
// in any order; status may be there for several codes, the others once. An error
// names the part that is wrong.
func Parse(text string) (Plan, error) {
	p := Plan{Seed: 1}
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		name, value, _ := strings.Cut(part, "=")
		err := p.set(name, value)
		if err == nil && seen[name] && name != "status" {
			err = errors.New("is there twice")
		}
		if err != nil {
			return Plan{}, fmt.Errorf("%q: %w", part, err)
		}
		seen[name] = true
	}
	return p, nil
}

func (p *Plan) set(name, value string) (err error) {
	switch name {
	case "redeliver":
		p.Redeliver, err = parseShare(value, 1)
	case "kill":
		p.Kill, err = parseTime(value, minEvery, math.MaxInt64)
	case "latency":
		p.Latency, err = parseTime(value, 0, maxLatency)
	case "status":
		err = p.addStatus(value)
	case "broker":
		p.Broker, err = parseTime(value, minEvery, math.MaxInt64)
	case "seed":
		if p.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			err = fmt.Errorf("want a whole number from 0, have %q", value)
		}
	default:
		err = fmt.Errorf("there is no fault %q; there are %s", name, faults)
	}
	return err
}

func (p *Plan) addStatus(value string) error {
	code, share, ok := strings.Cut(value, ":")
	if !ok {
		return errors.New("want a code and a share, such as 503:0.02")
	}
	n, err := strconv.Atoi(code)
	if err != nil || n < 300 || n > 599 {
		return fmt.Errorf("want a code from 300 to 599, have %q", code)
	}
	if slices.ContainsFunc(p.Status, func(s Status) bool { return s.Code == n }) {
		return fmt.Errorf("%d is there twice", n)
	}
	s := Status{Code: n}
	if s.Share, err = parseShare(share, maxStatusShare); err != nil {
		return err
	}
	p.Status = append(p.Status, s)
	var sum float64
	for _, s := range p.Status {
		sum += s.Share
	}
	if sum > maxStatusShare {
		return fmt.Errorf("the shares of all codes are %v together, want at most %v: some attempts have to succeed", sum, maxStatusShare)
	}
	return nil
}

func parseShare(text string, most float64) (float64, error) {
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || !(share >= 0 && share <= most) {
		return 0, fmt.Errorf("want a share from 0 to %v, have %q", most, text)
	}
	return share, nil
}

func parseTime(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a time such as 30s, have %q", text)
	}
	if d < least {
		return 0, fmt.Errorf("%v is less than %v", d, least)
	}
	if d > most {
		return 0, fmt.Errorf("%v is more than %v", d, most)
	}
	return d, nil
}

// String returns the plan as [Parse] reads it.
func (p Plan) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if p.Redeliver > 0 {
		add("redeliver=%v", p.Redeliver)
	}
	if p.Kill > 0 {
		add("kill=%v", p.Kill)
	}
	if p.Latency > 0 {
		add("latency=%v", p.Latency)
	}
	for _, s := range p.Status {
		add("status=%d:%v", s.Code, s.Share)
	}
	if p.Broker > 0 {
		add("broker=%v", p.Broker)
	}
	add("seed=%d", p.Seed)
	return strings.Join(parts, ",")
}
