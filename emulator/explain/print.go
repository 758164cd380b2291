package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"datasurge/events"
)

// Lines returns the story as text.
func (s *Story) Lines() []string {
	b := []string{"Transaction " + s.TransactionID, ""}
	for i := range s.Hops {
		h := &s.Hops[i]
		after := ""
		if i > 0 {
			after = "+" + short(h.After)
		}
		line := fmt.Sprintf("  %s %9s  %-24s %d/%d", h.Written.Format("2006-01-02 15:04:05.000"), after, h.Topic, h.Partition, h.Offset)
		if h.Note != "" {
			line += "  " + h.Note
		}
		b = append(b, line)
		if h.Topic == events.TopicTransactions || h.Topic == events.TopicEnriched {
			b = append(b, describe(h)...)
		}
	}
	if v := s.Verdict; v != nil {
		b = append(b, "", fmt.Sprintf("  score %.3f, %s, by rule set %s and model %s", v.Score, flagged(v), v.RuleSet, v.ModelVersion))
		if v.Decision != "" {
			b = append(b, "    decision: "+v.Decision)
		}
		b = append(b, rules(v.Rules, "fired")...)
		b = append(b, rules(v.Shadow, "fired, and is only tried")...)
		b = append(b, rules(v.Suppressed, "fired, and is suppressed")...)
		for _, r := range v.Reasons {
			b = append(b, "    because "+r.Text)
		}
		b = append(b, "", "  features")
		for _, f := range v.Features {
			b = append(b, fmt.Sprintf("    %-24s %s", f.Name, strconv.FormatFloat(f.Value, 'f', -1, 64)))
		}
	}
	if len(s.Windows) > 0 {
		b = append(b, "", "  counted in")
		for _, w := range s.Windows {
			state := "so far"
			if w.Final {
				state = "final"
			}
			b = append(b, fmt.Sprintf("    %-10s %-20s %-8s from %s  %d transactions, %d anomalies, %s",
				w.Dimension, w.Value, w.Window, w.Start.Format("15:04:05"), w.Count, w.Anomalies, state))
		}
	}
	return append(b, s.missing()...)
}

func rules(list []Rule, did string) []string {
	var b []string
	for _, r := range list {
		line := fmt.Sprintf("    rule %s version %d %s", r.ID, r.Version, did)
		if !r.ExactFrom.IsZero() {
			line += ", with windows that are complete from " + r.ExactFrom.Format(time.RFC3339) + " on"
		}
		b = append(b, line)
	}
	return b
}

func flagged(v *Verdict) string {
	if v.Flagged {
		return "flagged as " + v.Severity
	}
	return "not flagged"
}

// describe says what a transaction is.
func describe(h *Hop) []string {
	var t events.Enriched
	if h.Topic == events.TopicTransactions {
		if events.ParseTransaction(h.Data, &t.Transaction) != nil {
			return nil
		}
	} else if events.ParseEnriched(h.Data, &t) != nil {
		return nil
	}
	amount := func(minor int64, currency string) string {
		digits, _ := events.CurrencyDigits(currency)
		return string(events.FormatAmount(nil, minor, digits)) + " " + currency
	}
	if h.Topic == events.TopicTransactions {
		return []string{fmt.Sprintf("      %s of %s by %s at %s in %s, %s, at %s", t.Type, amount(t.Amount, t.Currency), t.UserID, t.MerchantID,
			t.Location, t.PaymentMethod, time.UnixMilli(t.Time).UTC().Format(time.RFC3339Nano))}
	}
	return []string{fmt.Sprintf("      %s, %s, %s, %d o'clock there, %.1f km from home, merchant risk %g",
		amount(t.BaseAmount, t.BaseCurrency), t.Category, t.Country, t.LocalHour, t.DistanceKm, t.MerchantRisk)}
}

// missing says where the story ends before it should.
func (s *Story) missing() []string {
	seen := make(map[string]int)
	for i := range s.Hops {
		seen[s.Hops[i].Topic]++
	}
	var b []string
	refused := seen[events.TopicLate]+seen[events.TopicDeadLetters] > 0
	switch {
	case len(s.Hops) == 0:
		return []string{"  nothing is known of it: it is in none of " + strings.Join(Topics(), ", ")}
	case seen[events.TopicEnriched] == 0 && !refused:
		b = append(b, "  it has not been enriched (yet)")
	case seen[events.TopicEnriched] > 0 && seen[events.TopicScored] == 0 && !refused:
		b = append(b, "  it has not been scored (yet)")
	case s.Verdict != nil && s.Verdict.Flagged && seen[events.TopicAnomalies] == 0:
		b = append(b, "  it is flagged, and there is no anomaly of it")
	}
	for _, topic := range Topics() {
		// A producer may send a transaction twice; nothing else may be there twice.
		if n := seen[topic]; n > 1 {
			b = append(b, fmt.Sprintf("  it is %d times in %s", n, topic))
		}
	}
	if len(b) > 0 {
		b = append([]string{""}, b...)
	}
	return b
}

// short is a time with as many digits as matter.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
