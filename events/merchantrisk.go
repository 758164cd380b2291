package events

import (
	"math"

	"datasurge/events/internal/strictjson"
)

// MerchantRisk is how often a merchant's transactions turned out to be frauds:
// the data of TypeRisk. The topic is compacted by merchant.
type MerchantRisk struct {
	MerchantID string
	AsOf       int64         // event time up to which labels are counted, ms since the epoch
	Windows    [3]RiskWindow // the last 1, 7 and 30 days before AsOf, in this order
}

// The places of the windows in MerchantRisk.Windows.
const (
	RiskDay = iota
	RiskWeek
	RiskMonth
)

// RiskDays returns the number of days of the window at place i of
// MerchantRisk.Windows.
func RiskDays(i int) int { return [...]int{1, 7, 30}[i] }

// RiskWindow is one window of MerchantRisk.
type RiskWindow struct {
	Count  int64   // transactions with a label
	Frauds int64   // how many of them were frauds
	Risk   float64 // share of frauds, 0 to 1; may be shrunk towards the overall share
}

const (
	riskMerchantID field = iota
	riskAsOf
	riskWindows

	riskWindowDays
	riskWindowCount
	riskWindowFrauds
	riskWindowRisk
)

const riskWindowFields = fieldSet(1)<<riskWindowDays | 1<<riskWindowCount | 1<<riskWindowFrauds | 1<<riskWindowRisk

var riskPaths = [...]string{
	riskMerchantID:   "merchantId",
	riskAsOf:         "asOf",
	riskWindows:      "windows",
	riskWindowDays:   "windows[].days",
	riskWindowCount:  "windows[].count",
	riskWindowFrauds: "windows[].frauds",
	riskWindowRisk:   "windows[].risk",
}

// ParseMerchantRisk reads the data of a TypeRisk event into r, as
// [ParseTransaction] does. The windows have to be there in their order.
func ParseMerchantRisk(data []byte, r *MerchantRisk) error {
	*r = MerchantRisk{}
	var d decoder
	d.open(data, riskPaths[:])
	for name := range d.names {
		switch name {
		case "merchantId":
			r.MerchantID = d.id(riskMerchantID)
		case "asOf":
			r.AsOf = d.millis(riskAsOf)
		case "windows":
			d.riskWindows(r)
		default:
			d.other(name)
		}
	}
	return d.close(fieldSet(1)<<riskWindowDays - 1)
}

func (d *decoder) riskWindows(r *MerchantRisk) {
	d.once(riskWindows)
	d.json.Array()
	n := 0
	for ; d.more(riskWindows, n, len(r.Windows)); n++ {
		w := &r.Windows[n]
		d.seen &^= riskWindowFields
		var names strictjson.Names
		d.json.Object()
		for name := range d.names {
			switch name {
			case "days":
				if d.integer(riskWindowDays) != int64(RiskDays(n)) {
					d.wrong(riskWindowDays, "is not the window's place: windows are those of 1, 7 and 30 days")
				}
			case "count":
				w.Count = d.integerIn(riskWindowCount, 0, math.MaxInt64)
			case "frauds":
				w.Frauds = d.integerIn(riskWindowFrauds, 0, math.MaxInt64)
			case "risk":
				w.Risk = d.share(riskWindowRisk)
			default:
				d.unknown(&names, name, "$.windows")
			}
		}
		d.require(riskWindowFields)
		if d.problem == nil && w.Frauds > w.Count {
			d.wrong(riskWindowFrauds, "is more than count")
		}
	}
	if n < len(r.Windows) {
		d.failed(riskWindows)
		d.wrong(riskWindows, "must have the windows of 1, 7 and 30 days")
	}
}

// AppendMerchantRisk appends r as ParseMerchantRisk reads it.
func AppendMerchantRisk(dst []byte, r *MerchantRisk) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "merchantId", r.MerchantID)
	dst = appendIntField(dst, "asOf", r.AsOf)
	dst = append(appendName(dst, "windows"), '[')
	for i := range r.Windows {
		w := &r.Windows[i]
		dst = append(appendComma(dst), '{')
		dst = appendIntField(dst, "days", int64(RiskDays(i)))
		dst = appendIntField(dst, "count", w.Count)
		dst = appendIntField(dst, "frauds", w.Frauds)
		dst = appendFloatField(dst, "risk", w.Risk)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}')
}
