package bench

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatProcessesTake(t *testing.T) {
	before := usage{cpu: map[string]float64{"enrich": 1, "emulator": 2}, transactions: 1000}
	after := usage{
		cpu: map[string]float64{"enrich": 1.5, "emulator": 4}, transactions: 11_000,
		rss: map[string]float64{"enrich": 60, "emulator": 80}, pss: map[string]float64{"enrich": 40, "emulator": 50},
	}
	taken := after.since(before)
	want := map[string]Process{"enrich": {50, 60, 40}, "emulator": {200, 80, 50}}
	if diff := cmp.Diff(want, taken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var text strings.Builder
	printProcesses(&text, taken)
	if lines := strings.Split(text.String(), "\n"); strings.Join(strings.Fields(lines[len(lines)-2]), " ") != "in all 250 140 90" {
		t.Errorf("printed:\n%s", &text)
	}
}

func TestProportionalMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("LEFT OUT: this system does not tell the proportional memory of a process")
	}
	if mb := proportional(os.Getpid()); mb < 1 || mb > 10_000 {
		t.Errorf("this process has %v MB", mb)
	}
}
