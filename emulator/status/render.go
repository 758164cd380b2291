// Package status shows what an emulator is doing: a block that is drawn anew on a
// terminal, lines elsewhere, and the account at the end.
//
// [Follower] counts what is in the topics, [Render], [Line] and [Account] make
// text of a [Snapshot], and [Screen] puts it on the terminal.
package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"datasurge/events"
)

// Snapshot is what is shown.
type Snapshot struct {
	Elapsed     time.Duration // since the start
	HTTP, Kafka string
	Pace        string // which bounds of a cluster are lifted, "" when none is
	Functions   []Function
	Topics      []Topic
	Anomalies   []Anomaly // the newest last
}

// Function is one function's line.
type Function struct {
	Name             string
	Ready, Instances int
	Restarts         int
	Source           bool    // whether events are delivered to it
	In, Out          float64 // events/s
	Lag              int64   // events that wait
	Failed           int64   // attempts that failed
	DeadLetters      int64
	Lost             int64
	P99              time.Duration // answer time; 0: none
}

// Topic is one topic's line.
type Topic struct {
	Name    string
	Records int64 // since the start
	Rate    float64
}

// Render returns the block.
func Render(s *Snapshot) []string {
	b := []string{
		"",
		fmt.Sprintf("DataSurge  %s  functions and sinks %s  Kafka %s  Ctrl-C stops%s", clock(s.Elapsed), s.HTTP, s.Kafka, pace(s.Pace)),
		"",
		fmt.Sprintf("  %-26s %6s %9s %9s %9s %8s %7s %9s", "function", "ready", "in/s", "out/s", "waiting", "errors", "dead", "p99"),
	}
	for _, f := range s.Functions {
		in, waiting, p99 := "-", "-", "-"
		if f.Source {
			in, waiting = rate(f.In), thousands(f.Lag)
		}
		if f.P99 > 0 {
			p99 = short(f.P99)
		}
		line := fmt.Sprintf("  %-26s %6s %9s %9s %9s %8s %7s %9s", f.Name, fmt.Sprintf("%d/%d", f.Ready, f.Instances),
			in, rate(f.Out), waiting, thousands(f.Failed), thousands(f.DeadLetters), p99)
		if f.Restarts > 0 {
			line += fmt.Sprintf("  restarted %d times", f.Restarts)
		}
		if f.Lost > 0 {
			line += fmt.Sprintf("  %s LOST", thousands(f.Lost))
		}
		b = append(b, line)
	}
	b = append(b, "", fmt.Sprintf("  %-26s %16s %9s", "topic", "events", "events/s"))
	for _, t := range s.Topics {
		b = append(b, fmt.Sprintf("  %-26s %16s %9s", t.Name, thousands(t.Records), rate(t.Rate)))
	}
	b = append(b, "", "  latest anomalies")
	if len(s.Anomalies) == 0 {
		b = append(b, "  none yet")
	}
	for _, a := range slices.Backward(s.Anomalies) {
		b = append(b, "  "+a.String())
	}
	return b
}

// Line returns the status in one line, for logs.
func Line(s *Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status after %s%s", clock(s.Elapsed), pace(s.Pace))
	for _, f := range s.Functions {
		fmt.Fprintf(&b, " | %s %d/%d", f.Name, f.Ready, f.Instances)
		if f.Source {
			fmt.Fprintf(&b, " in %s/s", rate(f.In))
		}
		fmt.Fprintf(&b, " out %s/s", rate(f.Out))
		if f.Source {
			fmt.Fprintf(&b, " waiting %d errors %d", f.Lag, f.Failed)
		}
		if f.P99 > 0 {
			fmt.Fprintf(&b, " p99 %s", short(f.P99))
		}
	}
	return b.String()
}

// Account returns what went through, when all is over.
func Account(s *Snapshot) []string {
	b := []string{fmt.Sprintf("In %s went through:", clock(s.Elapsed))}
	width := 0
	for _, t := range s.Topics {
		width = max(width, len(thousands(t.Records)))
	}
	for _, t := range s.Topics {
		b = append(b, fmt.Sprintf("  %*s  %s", width, thousands(t.Records), t.Name))
	}
	var lost, dead int64
	for _, f := range s.Functions {
		lost += f.Lost
		dead += f.DeadLetters
	}
	if dead > 0 {
		b = append(b, fmt.Sprintf("Not delivered, in the dead letter sink: %s", thousands(dead)))
	}
	if lost > 0 {
		b = append(b, fmt.Sprintf("LOST, as they would be on a cluster: %s", thousands(lost)))
	}
	return b
}

// String is an anomaly in one line: when, how bad, who, how much, why.
func (a *Anomaly) String() string {
	var why []string
	for _, r := range a.Reasons {
		why = append(why, r.Rule+": "+r.Text)
	}
	digits, ok := events.CurrencyDigits(a.Currency)
	if !ok {
		digits = 2
	}
	return fmt.Sprintf("%s  %-8s  %s  %s %s  %s", a.Seen.Format(time.TimeOnly), a.Severity, a.UserID,
		a.Currency, events.FormatAmount(nil, a.Amount, digits), strings.Join(why, "; "))
}

// pace says that bounds are lifted.
func pace(lifted string) string {
	if lifted == "" {
		return ""
	}
	return fmt.Sprintf("  (not as a cluster: %s)", lifted)
}

func clock(d time.Duration) string { return d.Round(time.Second).String() }

// short rounds to what is worth reading.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

func rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return thousands(int64(perSecond + 0.5))
}

// thousands writes n with a comma after every three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
