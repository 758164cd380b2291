package metrics

import (
	"log/slog"
	"sync"
	"time"
)

// failuresEvery is the pause between two lines about the failures of one rule:
// they come with every transaction.
const failuresEvery = time.Minute

// ruleFailures says in the log why rules fail.
type ruleFailures struct {
	log   *slog.Logger
	mu    sync.Mutex
	rules map[string]*failingRule // by id, of the rule set that is in force
}

// failingRule is a rule that has failed.
type failingRule struct {
	said   time.Time // when it was said last
	failed int       // evaluations that failed since then
}

func newRuleFailures(log *slog.Logger) *ruleFailures {
	return &ruleFailures{log: log, rules: map[string]*failingRule{}}
}

// add notes that n evaluations of a rule failed, the last of them with err, and
// says so if it is time to.
func (f *ruleFailures) add(now time.Time, id string, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rules[id]
	if r == nil {
		r = &failingRule{}
		f.rules[id] = r
	}
	r.failed += n
	if now.Sub(r.said) < failuresEvery {
		return
	}
	f.log.Warn("a rule fails and counts as not fired", slog.Int("failures", r.failed), slog.Any("error", err))
	*r = failingRule{said: now}
}

// forget forgets all rules, since others are in force: what fails of them is said
// at once.
func (f *ruleFailures) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.rules)
}
