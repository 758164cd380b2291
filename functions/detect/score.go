package detect

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// baselineVersion names the model that scores until one has been learnt.
const baselineVersion = "baseline-1"

// The baseline model is a logistic function of seven terms with weights set by
// hand: it knows what is unusual, not what is fraud. Its priors:
//
//   - Nothing unusual at all: logit -6, a score of 0.0025.
//   - Amount against the 30-day mean r, from the mean up to 20 times it:
//     1.6 ln r. Five times the mean adds 2.6.
//   - Amount against all earlier purchases in deviations z, from 1 up to 9:
//     0.25 (z-1), at most 2. It confirms the first term for customers whose
//     amounts vary little.
//   - Share of frauds at the merchant m, up to 0.6: 8 m. A merchant with half
//     of its payments known as frauds adds 4.
//   - Transactions within ten minutes n beyond the usual number u:
//     ln(n-u), when that is above 1. Ten where one is usual add 2.2.
//   - A new country within an hour of another: 1.5.
//   - Distance from home d: 0.4 ln(1 + d/500 km). The other side of the world
//     adds 1.5.
//   - Abroad 0.3, at night 0.4.
//
// So no single term flags at 0.9 (logit 2.2); two strong ones or three do.
const (
	priorLogit = -6

	ratioWeight, mostRatio   = 1.6, 20
	zWeight, firstZ, lastZ   = 0.25, 1, 9
	riskWeight, mostRisk     = 8, 0.6
	velocityWeight           = 1
	newCountryWeight         = 1.5
	distanceWeight, distance = 0.4, 500
	abroadWeight             = 0.3
	nightWeight              = 0.4
)

// term is one summand of the logit and the feature that stands for it in words.
type term struct {
	feature feature
	logit   float64
}

const termCount = 8

// terms computes the summands of the logit besides the prior.
func terms(v *vector) [termCount]term {
	return [termCount]term{
		{amountRatio, ratioWeight * math.Log(max(1, min(v[amountRatio], mostRatio)))},
		{amountZ, zWeight * (max(firstZ, min(v[amountZ], lastZ)) - firstZ)},
		{merchantRisk, riskWeight * min(v[merchantRisk], mostRisk)},
		{count10m, velocityWeight * math.Log(max(1, v[count10m]-v[usual10m]))},
		{newCountry1h, newCountryWeight * v[newCountry1h]},
		{distanceKm, distanceWeight * math.Log1p(max(0, v[distanceKm])/distance)},
		{international, abroadWeight * v[international]},
		{night, nightWeight * v[night]},
	}
}

// baseline is the model's score of a transaction, in (0, 1), to six decimals.
func baseline(v *vector) float64 {
	logit := float64(priorLogit)
	for _, t := range terms(v) {
		logit += t.logit
	}
	return roundScore(1 / (1 + math.Exp(-logit)))
}

func roundScore(x float64) float64 { return math.Round(x*1e6) / 1e6 }

// combine adds what the rules that fired say to the model's score: each of
// weight w leaves 1-w of the doubt. So the score of a transaction is never below
// the model's nor below the weight of any of its rules.
func combine(score float64, weights ...float64) float64 {
	doubt := 1 - score
	for _, w := range weights {
		doubt *= 1 - w
	}
	return roundScore(1 - doubt)
}

// appendExplanation appends the largest summands of the score in words.
func appendExplanation(dst []byte, v *vector) []byte {
	summands := terms(v)
	return appendLargest(dst, summands[:], v)
}

// appendLargest sorts summands and appends the largest ones in words, at most
// three, and only what raised the score.
func appendLargest(dst []byte, summands []term, v *vector) []byte {
	slices.SortStableFunc(summands, func(a, b term) int { return cmp.Compare(b.logit, a.logit) })
	for i, t := range summands[:min(3, len(summands))] {
		if t.logit <= 0 {
			break
		}
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendTerm(dst, t.feature, v)
	}
	return dst
}

func appendTerm(dst []byte, f feature, v *vector) []byte {
	switch f {
	case amountRatio:
		dst = append(dst, "amount is "...)
		dst = strconv.AppendFloat(dst, v[amountRatio], 'f', 1, 64)
		return append(dst, " times the 30-day mean"...)
	case amountZ:
		dst = append(dst, "amount is "...)
		dst = strconv.AppendFloat(dst, v[amountZ], 'f', 1, 64)
		return append(dst, " deviations above earlier purchases"...)
	case merchantRisk:
		dst = append(dst, "share of frauds at the merchant is "...)
		dst = strconv.AppendFloat(dst, 100*v[merchantRisk], 'f', 1, 64)
		return append(dst, '%')
	case count10m:
		dst = strconv.AppendFloat(dst, v[count10m], 'f', 0, 64)
		dst = append(dst, " transactions within ten minutes, usually "...)
		return strconv.AppendFloat(dst, v[usual10m], 'f', 1, 64)
	case newCountry1h:
		return append(dst, "another country within an hour"...)
	case distanceKm:
		dst = strconv.AppendFloat(dst, v[distanceKm], 'f', 0, 64)
		return append(dst, " km from home"...)
	case international:
		return append(dst, "abroad"...)
	case night:
		return append(dst, "at night"...)
	case usualRatio:
		dst = append(dst, "amount is "...)
		dst = strconv.AppendFloat(dst, v[f], 'f', 1, 64)
		return append(dst, " times what the customer usually pays"...)
	case unusual14d:
		dst = strconv.AppendFloat(dst, v[f], 'f', 0, 64)
		return append(dst, " unusual amounts in the last 14 days"...)
	case merchantFraudShare, merchantFraudRun, merchantFraudDays, merchantCleanDays, merchantAbuse:
		return appendMerchantTerm(dst, f, v)
	case baseAmount:
		dst = append(dst, "amount is "...)
		return strconv.AppendFloat(dst, v[f], 'f', 2, 64)
	default:
		dst = append(append(dst, featureNames[f]...), " is "...)
		return appendNumber(dst, v[f])
	}
}
