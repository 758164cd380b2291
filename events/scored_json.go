package events

import (
	"math"
	"strconv"

	"datasurge/events/internal/strictjson"
)

// The most rules, reasons and features that a scored transaction may have.
const (
	maxRules    = 256
	maxFeatures = 256
)

// ParseScored reads the data of a TypeScored event into t, as
// [ParseTransaction] does.
func ParseScored(data []byte, t *Scored) error {
	var d decoder
	return d.parseScored(data, t)
}

// ParseVerdict is ParseScored without the features, which are most of the data:
// they have to be an object of numbers, but are read over, and t has none.
func ParseVerdict(data []byte, t *Scored) error {
	d := decoder{withoutFeatures: true}
	return d.parseScored(data, t)
}

func (d *decoder) parseScored(data []byte, t *Scored) error {
	*t = Scored{}
	d.openTransaction(data)
	var amount, base string
	for {
		name, ok := d.next()
		if !ok {
			break
		}
		if !d.scored(name, t, &amount, &base) {
			d.other(name)
		}
	}
	d.enrichedAmounts(&t.Enriched, amount, base)
	return d.close(scoredFields)
}

func (d *decoder) scored(name string, t *Scored, amount, base *string) bool {
	switch name {
	case "score":
		t.Score = d.share(fieldScore)
	case "flagged":
		t.Flagged = d.boolean(fieldFlagged)
	case "severity":
		t.Severity = d.code(fieldSeverity, "", "low", "medium", "high", "critical")
	case "decision":
		t.Decision = d.code(fieldDecision, Approve, Review, Decline)
	case "rules":
		t.Rules = d.rules(ruleList{fieldRules, fieldRuleID, fieldRuleVersion, fieldRuleExactFrom})
	case "shadow":
		t.Shadow = d.rules(ruleList{fieldShadow, fieldShadowID, fieldShadowVersion, fieldShadowExactFrom})
	case "suppressed":
		t.Suppressed = d.rules(ruleList{fieldSuppressed, fieldSuppressedID, fieldSuppressedVersion, fieldSuppressedExactFrom})
	case "listSet":
		t.ListSet = d.text(fieldListSet, MaxTextBytes)
	case "ruleSet":
		t.RuleSet = d.text(fieldRuleSet, MaxTextBytes)
	case "modelVersion":
		t.ModelVersion = d.text(fieldModelVersion, MaxTextBytes)
	case "features":
		if d.withoutFeatures {
			d.skipFeatures()
		} else {
			t.Features = d.features()
		}
	default:
		return d.enriched(name, &t.Enriched, amount, base)
	}
	return true
}

// ruleList is the fields of a list of fired rules.
type ruleList struct{ list, id, version, exactFrom field }

func (d *decoder) rules(f ruleList) []FiredRule {
	var rules []FiredRule
	d.once(f.list)
	d.json.Array()
	for d.more(f.list, len(rules), maxRules) {
		var rule FiredRule
		d.seen &^= 1<<f.id | 1<<f.version | 1<<f.exactFrom
		var names strictjson.Names
		d.json.Object()
		for name := range d.names {
			switch name {
			case "id":
				rule.ID = d.id(f.id)
			case "version":
				rule.Version = int(d.integerIn(f.version, 0, math.MaxInt32))
			case "exactFrom":
				rule.ExactFrom = d.millis(f.exactFrom)
			default:
				d.unknown(&names, name, "$."+d.paths[f.list])
			}
		}
		d.require(1<<f.id | 1<<f.version)
		rules = append(rules, rule)
	}
	return rules
}

func (d *decoder) features() []Feature {
	const usual = 24
	features := make([]Feature, 0, usual)
	d.once(fieldFeatures)
	d.json.Object()
	for name := range d.names {
		if len(features) == maxFeatures {
			d.wrong(fieldFeatures, "has more than "+strconv.Itoa(maxFeatures)+" members")
			break
		}
		if HasCardNumber(name) {
			d.wrong(fieldFeatures, "has a member whose name "+cardNumberReason)
			break
		}
		for i := range features {
			if features[i].Name == name {
				d.wrong(fieldFeatures, "has the member "+quote(name)+" twice")
			}
		}
		value, err := strconv.ParseFloat(d.json.Num(), 64)
		if d.failed(fieldFeatures) {
			break
		}
		if err != nil {
			d.wrong(fieldFeatures, "has too large a number in "+quote(name))
		}
		features = append(features, Feature{Name: name, Value: value})
	}
	d.failed(fieldFeatures)
	if len(features) == 0 {
		return nil
	}
	return features
}

func (d *decoder) skipFeatures() {
	d.once(fieldFeatures)
	d.json.SkipNumbers()
	d.failed(fieldFeatures)
}

// AppendScored appends t as ParseScored reads it.
func AppendScored(dst []byte, t *Scored) []byte {
	dst = append(dst, '{')
	dst = appendScoredFields(dst, t)
	return append(dst, '}')
}

func appendScoredFields(dst []byte, t *Scored) []byte {
	dst = appendEnrichedFields(dst, &t.Enriched)
	dst = appendFloatField(dst, "score", t.Score)
	dst = appendBoolField(dst, "flagged", t.Flagged)
	dst = appendStringField(dst, "severity", t.Severity)
	if t.Decision != "" {
		dst = appendStringField(dst, "decision", t.Decision)
	}
	dst = appendRules(dst, "rules", t.Rules)
	if len(t.Shadow) > 0 {
		dst = appendRules(dst, "shadow", t.Shadow)
	}
	if len(t.Suppressed) > 0 {
		dst = appendRules(dst, "suppressed", t.Suppressed)
	}
	dst = appendStringField(dst, "ruleSet", t.RuleSet)
	if t.ListSet != "" {
		dst = appendStringField(dst, "listSet", t.ListSet)
	}
	dst = appendStringField(dst, "modelVersion", t.ModelVersion)
	dst = append(appendName(dst, "features"), '{')
	for i := range t.Features {
		dst = appendString(appendComma(dst), t.Features[i].Name)
		dst = appendFloat(append(dst, ':'), t.Features[i].Value)
	}
	return append(dst, '}')
}

func appendRules(dst []byte, name string, rules []FiredRule) []byte {
	dst = append(appendName(dst, name), '[')
	for i := range rules {
		dst = append(appendComma(dst), '{')
		dst = appendStringField(dst, "id", rules[i].ID)
		dst = appendIntField(dst, "version", int64(rules[i].Version))
		if from := rules[i].ExactFrom; from != 0 {
			dst = appendIntField(dst, "exactFrom", from)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
