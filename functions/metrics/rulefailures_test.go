package metrics

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"datasurge/functions/stream"
)

// Why a rule fails is in the log when it is committed: at once, then once a minute,
// and at once again when other rules are in force.
func TestRuleFailuresAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := New("detect", "test", slog.New(slog.NewTextHandler(&out, nil)))
		set := ruleSet(t, 1)
		m.Detect().RulesChanged(set)
		task := m.Detect().Task(0)
		fail := func(n int, id, why string) {
			for range n {
				task.RuleFailed(id, errors.New(why))
			}
			m.Committed("detect", &stream.Commit{At: time.Now()})
		}
		said := func(want ...string) {
			t.Helper()
			var got []string
			for line := range strings.Lines(out.String()) {
				if _, line, ok := strings.Cut(line, "a rule fails and counts as not fired\" "); ok {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if g, w := strings.Join(got, "; "), strings.Join(want, "; "); g != w {
				t.Errorf("said %q, want %q", g, w)
			}
			out.Reset()
		}
		task.RuleFailed("rule-0", errors.New("by zero"))
		said() // nothing is committed
		fail(2, "rule-0", "by zero")
		said(`failures=3 error="by zero"`)
		fail(5, "rule-0", "by zero")
		fail(1, "rule-1", "too dear")
		said(`failures=1 error="too dear"`)
		time.Sleep(failuresEvery)
		fail(1, "rule-0", "at last")
		said(`failures=6 error="at last"`)
		m.Detect().RulesChanged(set)
		fail(1, "rule-0", "still")
		said(`failures=1 error=still`)
	})
}
