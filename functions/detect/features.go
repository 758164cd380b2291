package detect

import (
	"math"

	"datasurge/events"
	"datasurge/functions/outcome"
)

// feature is the place of a feature in a vector. The order is that of the
// decisions on the wire and, like the names, part of the contract: new ones go
// to the end.
type feature int

const (
	baseAmount feature = iota
	weekend
	night
	international
	count1m
	count10m
	count1d
	mean1d
	count7d
	mean7d
	count30d
	mean30d
	amountRatio
	amountZ
	usual10m
	sinceLast
	lastAmount
	distanceKm
	countries1h
	newCountry1h
	merchantRisk
	usualRatio
	unusual14d
	merchantFraudShare
	merchantFraudRun
	merchantFraudDays
	merchantCleanDays
	merchantAbuse
	featureCount
)

// featureNames are the names of features on the wire and in rules.
//
//nolint:gochecknoglobals // a constant table
var featureNames = [featureCount]string{
	baseAmount: "baseAmount", weekend: "weekend", night: "night", international: "international",
	count1m: "count1m", count10m: "count10m",
	count1d: "count1d", mean1d: "mean1d", count7d: "count7d", mean7d: "mean7d", count30d: "count30d", mean30d: "mean30d",
	amountRatio: "amountRatio", amountZ: "amountZ", usual10m: "usual10m",
	sinceLast: "sinceLast", lastAmount: "lastAmount", distanceKm: "distanceKm",
	countries1h: "countries1h", newCountry1h: "newCountry1h", merchantRisk: "merchantRisk",
	usualRatio: "usualRatio", unusual14d: "unusual14d",
	merchantFraudShare: "merchantFraudShare", merchantFraudRun: "merchantFraudRun",
	merchantFraudDays: "merchantFraudDays", merchantCleanDays: "merchantCleanDays",
	merchantAbuse: "merchantAbuse",
}

// vector holds the features of one transaction.
type vector [featureCount]float64

const (
	// neverSeen is sinceLast, in seconds, of a customer's first transaction
	// and the most that it can be.
	neverSeen = 30 * 24 * 60 * 60
	// minPast is how many purchases amountZ needs before it says anything.
	minPast = 5
	// leastSpread is the smallest deviation that amountZ assumes, as a share of
	// the mean: someone who pays the same every time may pay a little more.
	leastSpread = 0.1
	// mostZ bounds amountZ on both sides.
	mostZ = 100
	// unknownRate is for how long, in ms, a customer is taken to have been inactive
	// before the first transaction: a burst at once is unusual, one after hours
	// at the same rate is not.
	unknownRate = 60 * 60 * oneSecond
)

// observe computes the features of t and adds it to the profile. It returns the
// country that newCountry1h is measured against, "" when there is none.
func (p *profile) observe(t *events.Enriched, v *vector) (previousCountry string) {
	p.begin(t.BaseCurrency)
	scale := minorUnits(t.BaseCurrency)
	refund := isRefund(t)

	v[baseAmount] = float64(t.BaseAmount) / scale
	v[weekend] = one(t.Weekend)
	v[night] = one(t.Night)
	v[international] = one(t.International)
	v[distanceKm] = round(t.DistanceKm)
	v[merchantRisk] = round(t.MerchantRisk)

	// What came before.
	v[lastAmount] = float64(p.lastAmount) / scale
	v[sinceLast] = neverSeen
	if !p.empty() {
		v[sinceLast] = min(max(0, float64(t.Time-p.last)/1000), neverSeen)
	}
	v[amountZ] = p.z(float64(t.BaseAmount))
	v[usualRatio] = p.habit.ratio(t.BaseAmount)
	v[unusual14d] = 0
	if !p.empty() {
		v[unusual14d] = p.habit.unusualBefore(p.last, t.Time)
	}
	v[countries1h], v[newCountry1h] = 0, 0
	if country, ok := countryCode(t.Country); ok && !refund {
		others, latest, same := p.placesBefore(country, t.Time)
		v[countries1h] = float64(others + 1)
		v[newCountry1h] = one(others > 0 && !same)
		if others > 0 {
			previousCountry = string(latest[:])
		}
	}

	p.add(t)

	// What includes the transaction itself.
	v[count1m] = p.count(minuteWindow, t.Time)
	v[count10m] = p.count(tenMinuteWindow, t.Time)
	v[count1d], v[mean1d] = p.countAndMean(dayWindow, t, scale)
	v[count7d], v[mean7d] = p.countAndMean(weekWindow, t, scale)
	v[count30d], v[mean30d] = p.countAndMean(monthWindow, t, scale)
	v[amountRatio] = 1
	if v[mean30d] > 0 {
		v[amountRatio] = round(v[baseAmount] / v[mean30d])
	}
	v[usual10m] = p.usual(v[count1d], v[count10m], t.Time)
	return previousCountry
}

// observeMerchant fills in what is known of the merchant's other transactions.
func (v *vector) observeMerchant(f outcome.Features) {
	v[merchantFraudShare] = round(f.Share)
	v[merchantFraudRun] = f.Run
	v[merchantFraudDays] = round(f.RunDays)
	v[merchantCleanDays] = round(f.CleanDays)
	v[merchantAbuse] = roundScore(f.Abused)
}

// count is the number of transactions in a window. One that is too late for the
// window counts itself alone.
func (p *profile) count(window int, t int64) float64 {
	count, _ := p.windows[window].total(&windowSpecs[window], p.last, t)
	return max(1, count)
}

// countAndMean is the number of purchases in a window and their mean in major
// units. A purchase that is too late for the window counts itself alone.
func (p *profile) countAndMean(window int, t *events.Enriched, scale float64) (count, mean float64) {
	count, sum := p.windows[window].total(&windowSpecs[window], p.last, t.Time)
	if count == 0 {
		if isRefund(t) {
			return 0, 0
		}
		count, sum = 1, float64(t.BaseAmount)
	}
	return count, round(sum / count / scale)
}

// z is how many standard deviations amount lies above the mean of all earlier
// purchases.
func (p *profile) z(amount float64) float64 {
	if p.past.n < minPast {
		return 0
	}
	spread := max(p.past.deviation(), leastSpread*p.past.mean)
	return round(max(-mostZ, min((amount-p.past.mean)/spread, mostZ)))
}

// usual is the customer's usual number of transactions in ten minutes: those of
// the last day without the last ten minutes, over the time that the customer has
// been known, at most a day, plus unknownRate.
func (p *profile) usual(day, tenMinutes float64, t int64) float64 {
	const window = 600 * oneSecond
	known := min(t-p.first, oneDay)
	earlier := max(0, day-tenMinutes)
	return round(earlier * float64(window) / float64(max(0, known-window)+unknownRate))
}

// round keeps four decimals: more say nothing and cost bytes in every decision.
// It is applied before rules and score see a value, so that the features in a
// decision are those that decided.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// minorUnits is how many minor units make one major unit of currency.
func minorUnits(currency string) float64 {
	digits, _ := events.CurrencyDigits(currency)
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return scale
}
