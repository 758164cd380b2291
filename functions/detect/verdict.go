package detect

import (
	"bytes"
	"strconv"
	"time"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
)

// decide makes the verdict from the features, the model's score, the outcome of
// the rules and the lists.
func (f *function) decide(tx step.Tx, set *rules.Set, lists *rules.Lists) {
	d, t := &f.decision, &f.subject.transaction
	d.Enriched = *t
	d.RuleSet, d.ListSet, d.ModelVersion = set.Version(), lists.Version(), f.modelVersion()
	d.Rules, d.Shadow, d.Suppressed, f.weights = d.Rules[:0], d.Shadow[:0], d.Suppressed[:0], f.weights[:0]
	severity := ""
	f.flagging = f.flagging[:0]
	for _, r := range f.outcome.Active {
		fired := f.fired(tx, r)
		if lists.Suppressed(r.ID, t.Time, t.UserID, t.MerchantID) {
			d.Suppressed = append(d.Suppressed, fired)
			continue
		}
		f.flagging = append(f.flagging, r)
		f.weights = append(f.weights, r.Weight)
		d.Rules = append(d.Rules, fired)
		severity = moreSevere(severity, r.Severity)
	}
	for _, r := range f.outcome.Shadow {
		d.Shadow = append(d.Shadow, f.fired(tx, r))
	}
	d.Score = combine(f.subject.modelScore, f.weights...)
	f.denied = onList(lists.Denied, t)
	allowed := !f.denied && onList(lists.Allowed, t)
	d.Flagged = !allowed && (f.denied || len(d.Rules) > 0 || f.flaggedByScore())
	d.Decision, d.Severity = f.config.decision(d.Score, d.Flagged), ""
	if d.Flagged {
		d.Severity = moreSevere(severity, f.config.severityOf(d.Score))
	}
	switch {
	case f.denied:
		d.Decision, d.Severity = events.Decline, rules.Critical
	case allowed:
		d.Decision = events.Approve
	}
	for i, x := range f.subject.features {
		d.Features[i].Value = x
	}
}

// onList reports whether a list has the customer or the merchant of t.
func onList(has func(value string, now int64) bool, t *events.Enriched) bool {
	return has(t.UserID, t.Time) || has(t.MerchantID, t.Time)
}

func (f *function) fired(tx step.Tx, r *rules.Compiled) events.FiredRule {
	return events.FiredRule{ID: r.ID, Version: r.Version, ExactFrom: f.keeper.exactFrom(tx, r, f.subject.transaction.Time)}
}

func (f *function) flaggedByScore() bool { return f.subject.modelScore >= f.config.FlagScore }

func moreSevere(a, b string) string {
	if rules.SeverityRank(a) >= rules.SeverityRank(b) {
		return a
	}
	return b
}

// explain gives a reason when a list denies the transaction, one for each rule
// that flags it, by id, and one for the score when it alone would have.
func (f *function) explain(lists *rules.Lists) {
	d, t := &f.decision, &f.subject.transaction
	d.Reasons = d.Reasons[:0]
	if f.denied {
		text := "merchant " + t.MerchantID + " is on the deny list"
		if lists.Denied(t.UserID, t.Time) {
			text = "customer " + t.UserID + " is on the deny list"
		}
		d.Reasons = append(d.Reasons, events.Reason{Rule: rules.DenyReason, Text: text})
	}
	for i, r := range f.flagging {
		d.Reasons = append(d.Reasons, events.Reason{Rule: r.ID, Text: f.reason(r, d.Rules[i].ExactFrom)})
	}
	if f.flaggedByScore() {
		f.text = append(f.text[:0], "score "...)
		f.text = strconv.AppendFloat(f.text, f.subject.modelScore, 'f', 3, 64)
		f.text = append(f.text, " is "...)
		f.text = strconv.AppendFloat(f.text, f.config.FlagScore, 'g', -1, 64)
		f.text = append(f.text, " or more: "...)
		f.text = f.appendExplanation(f.text)
		d.Reasons = append(d.Reasons, events.Reason{Rule: rules.ScoreReason, Text: string(f.text)})
	}
}

// reason is the reason of r, and its id. A reason that has become too long by
// the values in it is cut; one whose values happen to look like a card number,
// which no event may hold, gives way to the description.
func (f *function) reason(r *rules.Compiled, exactFrom int64) string {
	const most = 900 // with the id below what an anomaly may have
	f.text = r.AppendReason(f.text[:0], f.input)
	if len(f.text) > most {
		f.text = append(bytes.ToValidUTF8(f.text[:most], nil), "..."...)
	}
	if exactFrom != 0 {
		f.text = append(f.text, ", counted only in part before "...)
		f.text = time.UnixMilli(exactFrom).UTC().AppendFormat(f.text, time.RFC3339)
	}
	end := len(f.text)
	f.text = append(f.text, " ("...)
	f.text = append(f.text, r.ID...)
	text := string(append(f.text, ')'))
	if events.HasCardNumber(text[:end]) {
		return r.Description + text[end:]
	}
	return text
}

func (f *function) report(set *rules.Set) {
	observer := f.observer
	if f.denied {
		observer.RuleFired(rules.DenyReason, rules.Critical, false)
	}
	for _, r := range f.flagging {
		if f.decision.Flagged {
			observer.RuleFired(r.ID, r.Severity, false)
		} else {
			observer.RuleSuppressed(r.ID)
		}
	}
	for i := range f.decision.Suppressed {
		observer.RuleSuppressed(f.decision.Suppressed[i].ID)
	}
	for _, r := range f.outcome.Shadow {
		observer.RuleFired(r.ID, r.Severity, true)
	}
	for _, failure := range f.outcome.Failed {
		observer.RuleFailed(failure.Rule.ID, failure.Err)
	}
	for _, failure := range f.outcome.Uncounted {
		observer.RuleFailed(failure.Rule.ID, failure.Err)
	}
	observer.Scored(&f.decision.Scored, set)
}
