package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// pace is what --pace lifts of a cluster's bounds. The status says so for as long
// as anything is lifted.
type pace struct {
	times    int           // the bounds of a source; 1: a cluster's
	graceful bool          // sources end what is under way and commit it when the emulator stops
	drain    time.Duration // quiet after which an instance gets its SIGTERM; 0: a cluster's
}

const paceUsage = "lift bounds of a cluster, separated by commas: `times` the bounds of a KafkaSource (99 events under way, ordered 250 a second), " +
	"as if it had that many dispatchers; graceful: sources commit what is under way when the emulator stops; " +
	"drain=1s: how long an instance is kept without requests before it is stopped, 30 s on a cluster"

// set parses what is given with --pace.
func (p *pace) set(text string) error {
	for option := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case option == "graceful":
			p.graceful = true
		case name == "drain":
			d, err := time.ParseDuration(value)
			if err != nil || d <= 0 {
				return fmt.Errorf("%q: want drain and a time above 0, such as drain=1s", option)
			}
			p.drain = d
		default:
			n, err := strconv.Atoi(option)
			if err != nil {
				return fmt.Errorf("%q: want a number of times, graceful or drain=1s", option)
			}
			if n < 1 || n > 100 {
				return fmt.Errorf("%d times: want 1 to 100", n)
			}
			p.times = n
		}
	}
	return nil
}

// String is what is lifted, "" when nothing is.
func (p pace) String() string {
	var lifted []string
	if p.times > 1 {
		lifted = append(lifted, fmt.Sprintf("sources times %d", p.times))
	}
	if p.graceful {
		lifted = append(lifted, "sources stop gracefully")
	}
	if p.drain > 0 {
		lifted = append(lifted, fmt.Sprintf("instances drain for %v", p.drain))
	}
	return strings.Join(lifted, ", ")
}
