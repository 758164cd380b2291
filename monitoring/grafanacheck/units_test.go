package grafanacheck

import (
	"regexp"
	"slices"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// known are the units that the dashboards use, by Grafana's names for them. One
// that Grafana does not know is shown as text behind each number.
var known = []string{
	units.NoUnit, units.Short, units.PercentUnit, units.Seconds, units.Dollars,
	units.BytesIEC, units.BytesPerSecondSI, units.PacketsPerSecond,
	units.CountsPerSecond, units.EventsPerSecond, units.MessagesPerSecond, units.OpsPerSecond, units.RecordsPerSecond,
}

var unit = regexp.MustCompile(`[.]unit$`)

// TestUnits: every unit is one of Grafana's.
func TestUnits(t *testing.T) {
	for name, text := range read(t) {
		n := 0
		for path, id := range leaves(t, text) {
			if unit.MatchString(path) {
				n++
				if !slices.Contains(known, id) {
					t.Errorf("%s: %s is %q, which is not among Grafana's units", name, path, id)
				}
			}
		}
		if n < 15 {
			t.Errorf("%s has only %d units", name, n)
		}
	}
}
