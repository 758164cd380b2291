package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"datasurge/emulator/parity"
)

// runParity is the command parity.
func runParity(_ context.Context, args []string, out *os.File, _ io.Writer) error {
	flags := flag.NewFlagSet("parity", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "the rows as JSON")
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("emulator parity takes no arguments but --json")
	}
	rows, err := parity.Rows()
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(parityRows(rows))
	}
	_, err = io.WriteString(out, parityTable(rows))
	return err
}

// parityRow is a row as JSON.
type parityRow struct {
	Number       int      `json:"number"`
	Section      string   `json:"section"`
	Behaviour    string   `json:"behaviour"`
	Status       string   `json:"status"`
	Approximated string   `json:"approximated,omitempty"`
	Proofs       []string `json:"proofs"`
}

func parityRows(rows []parity.Row) []parityRow {
	list := make([]parityRow, len(rows))
	for i := range rows {
		r := &rows[i]
		list[i] = parityRow{r.Number, r.Section, r.Behaviour, r.Status(), r.Approximated, make([]string, len(r.Proofs))}
		for j, p := range r.Proofs {
			list[i].Proofs[j] = p.String()
		}
	}
	return list
}

// parityTable is the table for people: what a row says, how it stands, and its
// proofs below it.
func parityTable(rows []parity.Row) string {
	var b strings.Builder
	counts := make(map[string]int)
	section := ""
	for i := range rows {
		r := &rows[i]
		counts[r.Status()]++
		if r.Section != section {
			section = r.Section
			fmt.Fprintf(&b, "\n%s\n", section)
		}
		fmt.Fprintf(&b, "%4d  %-12s  %s\n", r.Number, r.Status(), r.Behaviour)
		if r.Approximated != "" {
			fmt.Fprintf(&b, "%20sapproximated: %s\n", "", r.Approximated)
		}
		for _, p := range r.Proofs {
			kind := "test"
			if p.Recording != "" {
				kind = "recording"
			}
			fmt.Fprintf(&b, "%20s%s %s\n", "", kind, p)
		}
	}
	return fmt.Sprintf(`What the emulator does as Knative does it: %d behaviours. A recording is one of Knative's own
data plane, which a test replays; a test stands where there is none.
%s
%d proven by recordings, %d by tests, %d approximated, %d not proven

Not emulated: %s.
`, len(rows), b.String(), counts["recorded"], counts["tested"], counts["approximated"], counts["not proven"], strings.Join(parity.NotEmulated(), ", "))
}
