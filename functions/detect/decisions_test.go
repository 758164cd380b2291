package detect

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"datasurge/events"
	"datasurge/functions/step"
)

// TestDecisions runs the scenarios of testdata/decisions. Rewrite the expected
// decisions with: go test ./functions/detect -run TestDecisions -rewrite
//
// Commands:
//
//	rule id=ID            the input is a document for the rules table
//	delete id=ID          deletes a record of the rules table
//	restart               goes on with what was committed
//	step                  one transaction a line: time since the start,
//	                      customer, amount, and fields that differ from those of
//	                      an ordinary purchase, as name=value
//	features              as step, and prints the features of the last one
func TestDecisions(t *testing.T) {
	datadriven.Walk(t, "testdata/decisions", func(t *testing.T, path string) {
		f := newFixture(t)
		f.observer.take()
		count := 0
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "rule", "delete":
				var id string
				d.ScanArgs(t, "id", &id)
				change := step.Change{Key: id}
				if d.Cmd == "rule" {
					change.Value = []byte(d.Input)
				}
				f.table(t, change)
				return strings.Join(f.observer.take(), "\n") + "\nset " + f.set().Version()
			case "restart":
				f.restart()
				return "ok"
			case "step", "features":
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					count++
					next := parseTransaction(t, d, line)
					next.TransactionID = "t" + strconv.Itoa(count)
					f.step(t, next)
				}
				anomalies := f.anomalies(t)
				scored := f.scored(t)
				for _, s := range scored {
					fmt.Fprintf(&out, "%s %s score=%.4f", s.TransactionID, s.UserID, s.Score)
					if s.Flagged {
						fmt.Fprintf(&out, " %s", s.Severity)
					}
					out.WriteByte('\n')
					for len(anomalies) > 0 && anomalies[0].TransactionID == s.TransactionID {
						for _, r := range anomalies[0].Reasons {
							fmt.Fprintf(&out, "   %s: %s\n", r.Rule, r.Text)
						}
						anomalies = anomalies[1:]
					}
				}
				if len(anomalies) > 0 {
					d.Fatalf(t, "an anomaly without its scored transaction: %+v", anomalies[0])
				}
				if d.Cmd == "features" {
					for _, feature := range scored[len(scored)-1].Features {
						fmt.Fprintf(&out, "   %-13s %v\n", feature.Name, feature.Value)
					}
				}
				f.EndCommit()
				f.observer.take()
				return out.String()
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func parseTransaction(t *testing.T, d *datadriven.TestData, line string) events.Enriched {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 3 {
		d.Fatalf(t, "want time, customer and amount: %s", line)
	}
	since, err := time.ParseDuration(words[0])
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	amount, err := strconv.ParseFloat(words[2], 64)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	next := bought(day0+since.Milliseconds(), int64(amount*100+0.5))
	next.UserID = words[1]
	for _, word := range words[3:] {
		name, value, _ := strings.Cut(word, "=")
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "type":
			next.Type = value
		case "country":
			next.Country = value
		case "currency":
			next.Currency = value
		case "base":
			next.BaseAmount = int64(number*100 + 0.5)
		case "risk":
			next.MerchantRisk = number
		case "km":
			next.DistanceKm = number
		case "night":
			next.Night = value == "true"
		case "weekend":
			next.Weekend = value == "true"
		case "international":
			next.International = value == "true"
		default:
			d.Fatalf(t, "unknown field %s", name)
		}
	}
	return next
}
