package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"datasurge/emulator/golden"
	"datasurge/events"
)

// TestStopUnderLoad: when the emulator stops, its sources commit nothing, as on a
// cluster. What came since their last commit comes again at the next start, and
// the functions recognise it: nothing is lost and nothing is there twice.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	golden.Row(t, 23, golden.OwnRule)
	dir, manifests := t.TempDir(), shortWindows(t)
	r := launch(t, dir, "-f", manifests, "--rate", "100")
	r.await("records in "+events.TopicScored, func() bool { return len(ids(t, r.info.Kafka, events.TopicScored)) > 300 })
	r.close()

	r = launch(t, dir, "-f", manifests, "--profile", "none", "--verify")
	r.await("events that the functions know", func() bool {
		again := 0.0
		for _, function := range []string{"enrich", "detect", "aggregate"} {
			again += r.duplicates(function)
		}
		return again > 0
	})
	r.stop()
	status, out, errs := r.ended()
	if status != 0 || !strings.Contains(out, "\n  0 missing, 0 doubled\n") {
		t.Errorf("exit status %d: %s", status, errs)
	}
}

// duplicates is how many events came to a function that it had processed before.
func (r *running) duplicates(function string) float64 {
	r.t.Helper()
	total := 0.0
	for line := range strings.Lines(request(r.t, http.MethodGet, r.info.Services[function].URL+"/metrics", nil, "", http.StatusOK)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "datasurge_duplicates_dropped_total{") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		total += n
	}
	return total
}
