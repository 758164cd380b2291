package events

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Events of an arena are those of the constructors, and none touches another,
// whatever their sizes are and whoever appends to their data.
func TestArena(t *testing.T) {
	var arena Arena
	arena.NewScored(new(Scored)) // of an event before, whose memory is used again
	arena.Reset()
	var want, got []Event
	for i := range 500 {
		scored := testScored()
		scored.Location = strings.Repeat("x", i*i%3000)
		if i%100 == 7 {
			scored.Location = strings.Repeat("y", 2*arenaSize)
		}
		want = append(want, NewEnriched(&scored.Enriched), NewScored(&scored))
		got = append(got, arena.NewEnriched(&scored.Enriched), arena.NewScored(&scored))
		reasons := []Reason{{"a", scored.Location}}
		want = append(want, NewAnomaly(&Anomaly{Scored: scored, Reasons: reasons}))
		got = append(got, arena.AnomalyOf(&got[len(got)-1], reasons))
	}
	for i := range got {
		_ = append(got[i].Data, "overwritten"...)
	}
	for i := range got {
		if !bytes.Equal(want[i].Data, got[i].Data) {
			t.Fatalf("data of event %d is\n%.300s, want\n%.300s", i, got[i].Data, want[i].Data)
		}
		want[i].Data, got[i].Data = nil, nil
		if diff := cmp.Diff(want[i], got[i]); diff != "" {
			t.Fatalf("event %d (-constructors +arena):\n%s", i, diff)
		}
	}
}
