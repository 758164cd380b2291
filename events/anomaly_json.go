package events

import "datasurge/events/internal/strictjson"

// ParseAnomaly reads the data of a TypeAnomaly event into t, as
// [ParseTransaction] does.
func ParseAnomaly(data []byte, t *Anomaly) error {
	*t = Anomaly{}
	var d decoder
	d.openTransaction(data)
	var amount, base string
	for name := range d.names {
		switch {
		case name == "reasons":
			t.Reasons = d.reasons()
		case !d.scored(name, &t.Scored, &amount, &base):
			d.other(name)
		}
	}
	d.enrichedAmounts(&t.Enriched, amount, base)
	return d.close(anomalyFields)
}

func (d *decoder) reasons() []Reason {
	var reasons []Reason
	d.once(fieldReasons)
	d.json.Array()
	for d.more(fieldReasons, len(reasons), maxRules) {
		var reason Reason
		d.seen &^= reasonFields
		var names strictjson.Names
		d.json.Object()
		for name := range d.names {
			switch name {
			case "rule":
				reason.Rule = d.id(fieldReasonRule)
			case "text":
				reason.Text = d.text(fieldReasonText, maxReasonBytes)
			default:
				d.unknown(&names, name, "$.reasons")
			}
		}
		d.require(reasonFields)
		reasons = append(reasons, reason)
	}
	return reasons
}

// maxReasonBytes is the most that the sentence of a reason may have.
const maxReasonBytes = 1024

// AppendAnomaly appends t as ParseAnomaly reads it.
func AppendAnomaly(dst []byte, t *Anomaly) []byte {
	dst = append(dst, '{')
	dst = appendScoredFields(dst, &t.Scored)
	dst = appendReasons(dst, t.Reasons)
	return append(dst, '}')
}

func appendReasons(dst []byte, reasons []Reason) []byte {
	dst = append(appendName(dst, "reasons"), '[')
	for i := range reasons {
		dst = append(appendComma(dst), '{')
		dst = appendStringField(dst, "rule", reasons[i].Rule)
		dst = appendStringField(dst, "text", reasons[i].Text)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
