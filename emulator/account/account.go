package account

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"datasurge/functions/window"
)

// Account says what became of everything that was sent.
type Account struct {
	// Topics are the events in each topic, without watermarks.
	Topics map[string]int64 `json:"topics"`
	// Transactions are those that were sent, told apart by id and user.
	Transactions int64 `json:"transactions"`
	// Hops in the order of the pipeline; the last is aggregate when windows were
	// compared.
	Hops        []Hop    `json:"hops"`
	Windows     *Windows `json:"windows,omitempty"`
	DeadLetters Reasons  `json:"deadLetters"`
	Late        Reasons  `json:"late"`
	// Named are some of the transactions that are lost or there twice.
	Named []string `json:"named,omitempty"`

	// Deliveries is what the sources say. They are not compared with anything.
	Deliveries []Delivery `json:"deliveries,omitempty"`
	// Faults are what was done to the pipeline meanwhile, by kind.
	Faults map[string]int64 `json:"faults,omitempty"`
	// Unfinished says why the account was made before everything was through; ""
	// when it was.
	Unfinished string        `json:"unfinished,omitempty"`
	Took       time.Duration `json:"tookNanoseconds"` // to wait for everything and read it
}

// Delivery is what one source has done.
type Delivery struct {
	Source      string `json:"source"`
	Delivered   int64  `json:"delivered"`   // events that were taken
	Failed      int64  `json:"failed"`      // attempts that were not
	DeadLetters int64  `json:"deadLetters"` // events given up
	Lost        int64  `json:"lost"`        // events given up with nowhere to put them
}

// Reasons counts by reason.
type Reasons map[string]int64

// Account compares what was added so far.
func (l *ledger) Account() Account {
	a := l.account
	a.Topics, a.DeadLetters, a.Late = maps.Clone(a.Topics), maps.Clone(a.DeadLetters), maps.Clone(a.Late)
	a.Hops = newHops()
	for _, n := range l.entries {
		if n.sent > 0 {
			a.Transactions++
		}
		n.compare(a.Hops, l.options.Whole)
	}
	if l.first() && l.windows != nil {
		w, hop := l.windows.compare()
		a.Windows, a.Hops = &w, append(a.Hops, hop)
	}
	return a
}

// add adds the account of another share of the hashes, which is not the first.
func (a *Account) add(other Account) {
	a.Transactions += other.Transactions
	for i := range other.Hops {
		a.Hops[i].add(other.Hops[i])
	}
}

// wrong returns the hashes of at most n transactions with which something is
// wrong.
func (l *ledger) wrong(n int) map[uint64]string {
	found := make(map[uint64]string)
	for hash, e := range l.entries {
		if len(found) == n {
			break
		}
		if e.wrong(l.options.Whole) {
			found[hash] = ""
		}
	}
	return found
}

// Missing is how many transactions are lost, each counted at the hop that lost
// it and where it is missing in windows.
func (a *Account) Missing() (n int64) {
	for i := range a.Hops {
		n += a.Hops[i].Missing
	}
	return n
}

// Doubled is how many results there are beyond those that there should be.
func (a *Account) Doubled() (n int64) {
	for i := range a.Hops {
		n += a.Hops[i].Doubled
	}
	return n
}

// Err is nil when nothing is lost and nothing is there twice.
func (a *Account) Err() error {
	missing, doubled := a.Missing(), a.Doubled()
	if a.Unfinished != "" {
		return fmt.Errorf("the account could not be finished, because nothing moved any more: %s; %d missing, %d doubled so far", a.Unfinished, missing, doubled)
	}
	if missing == 0 && doubled == 0 {
		return nil
	}
	err := fmt.Errorf("the account does not balance: %d lost, %d doubled; the table of hops says where", missing, doubled)
	if len(a.Named) > 0 {
		err = fmt.Errorf("%w; emulator explain %s shows the first", err, a.Named[0])
	}
	return err
}

// Lines returns the account as text.
func (a *Account) Lines() []string {
	b := []string{fmt.Sprintf("Account of %s transactions, made in %v:", thousands(a.Transactions), a.Took.Round(100*time.Millisecond)), ""}
	if a.Unfinished != "" {
		b = append(b, "  NOT EVERYTHING WAS THROUGH: "+a.Unfinished, "")
	}
	b = append(b, fmt.Sprintf("  %-11s %12s %12s %11s %9s %9s %9s %9s", "hop", "in", "out", "duplicates", "late", "dead", "missing", "doubled"))
	var notes []string
	for i := range a.Hops {
		h := &a.Hops[i]
		in := thousands(h.In)
		if i == atGenerate {
			in = "-"
		}
		b = append(b, fmt.Sprintf("  %-11s %12s %12s %11s %9s %9s %9s %9s", h.Name, in, thousands(h.Out), thousands(h.Duplicates),
			thousands(h.Late), thousands(h.Dead), thousands(h.Missing), thousands(h.Doubled)))
		if h.Outside > 0 {
			notes = append(notes, fmt.Sprintf("  %s: %s results are of events that came by HTTP or before this account", h.Name, thousands(h.Outside)))
		}
		if h.DeadAndDone > 0 {
			notes = append(notes, fmt.Sprintf("  %s: %s dead letters are of events that were processed all the same", h.Name, thousands(h.DeadAndDone)))
		}
	}
	if w := a.Windows; w != nil {
		b = append(b, "", fmt.Sprintf("  windows: %s final, %s open; too late for some of their windows: %s transactions",
			thousands(w.Final), thousands(w.Open), thousands(w.TooLate)))
		for _, name := range w.Wrong {
			b = append(b, "    WRONG: "+name)
		}
	}
	b = append(b, notes...)
	b = append(b, "", "  events by topic")
	for _, name := range sorted(a.Topics) {
		b = append(b, fmt.Sprintf("  %12s  %s", thousands(a.Topics[name]), name))
	}
	if len(a.Deliveries) > 0 {
		b = append(b, "", fmt.Sprintf("  %-30s %12s %16s %13s %9s", "source", "delivered", "failed attempts", "dead letters", "lost"))
		for _, d := range a.Deliveries {
			b = append(b, fmt.Sprintf("  %-30s %12s %16s %13s %9s", d.Source, thousands(d.Delivered), thousands(d.Failed), thousands(d.DeadLetters), thousands(d.Lost)))
		}
	}
	b = append(b, "")
	if len(a.Faults) > 0 {
		var faults []string
		for _, kind := range sorted(a.Faults) {
			faults = append(faults, kind+" "+thousands(a.Faults[kind]))
		}
		b = append(b, "  faults: "+strings.Join(faults, ", "))
	}
	b = append(b, a.DeadLetters.lines("dead letters")...)
	b = append(b, a.Late.lines("late events")...)
	for _, id := range a.Named {
		b = append(b, "  lost or doubled: "+id)
	}
	return append(b, fmt.Sprintf("  %s missing, %s doubled", thousands(a.Missing()), thousands(a.Doubled())))
}

// shownReasons is how many reasons are shown by name.
const shownReasons = 12

// lines shows the reasons, the most frequent first.
func (r Reasons) lines(what string) []string {
	if len(r) == 0 {
		return []string{"  " + what + ": none"}
	}
	b := []string{"  " + what + " by reason"}
	reasons := slices.SortedFunc(maps.Keys(r), func(x, y string) int { return cmp.Or(cmp.Compare(r[y], r[x]), strings.Compare(x, y)) })
	var others int64
	for i, reason := range reasons {
		if i < shownReasons {
			b = append(b, fmt.Sprintf("  %12s  %s", thousands(r[reason]), reason))
		} else {
			others += r[reason]
		}
	}
	if others > 0 {
		b = append(b, fmt.Sprintf("  %12s  %d other reasons", thousands(others), len(reasons)-shownReasons))
	}
	return b
}

func sliceName(dimension string, g *window.Grain, start, got, want int64) string {
	return fmt.Sprintf("the partial results of %s count %d transactions in the %v from %s, want %d",
		dimension, got, time.Duration(g.Width)*time.Millisecond, clock(start), want)
}

func windowName(dimension string, spec window.Spec, start, got, want int64) string {
	return fmt.Sprintf("%s, window %s from %s: counts %d, want %d", dimension, spec, clock(start), got, want)
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// thousands formats n with commas.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
