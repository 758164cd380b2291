package detect

import (
	"math"

	"datasurge/events"
)

// countryMemory is how long the country of a purchase is remembered, in ms.
const countryMemory = 60 * 60 * oneSecond

// maxPlaces is how many countries a profile remembers; of more, the ones used
// longest ago are forgotten.
const maxPlaces = 4

// profile is what is known of one customer. It depends only on the transactions
// that were added and their order; a transaction out of order goes into the
// pane of its own time.
//
// Refunds count in the windows of a minute and ten minutes only: they are
// activity, but neither spending nor a visit to a country.
type profile struct {
	currency   [3]byte // of every amount here; a zero byte first: nothing was added yet
	first      int64   // smallest and largest time of any transaction, ms since the epoch
	last       int64
	lastAmount int64 // amount of the purchase added last, minor units, 0 before the first
	past       moments
	habit      habit
	places     [maxPlaces]place // the one used last first
	placeCount int
	windows    [windowCount]panes
}

// place is a country and when the customer last bought something there.
type place struct {
	country [2]byte
	time    int64
}

// empty says that nothing was added yet.
func (p *profile) empty() bool { return p.currency[0] == 0 }

// begin prepares the profile for a transaction in base currency: amounts in
// another currency mean nothing, so a changed base currency starts it anew.
func (p *profile) begin(currency string) {
	var code [3]byte
	copy(code[:], currency)
	if p.currency != code {
		*p = profile{}
	}
}

// add counts t, after begin.
func (p *profile) add(t *events.Enriched) {
	if p.empty() {
		copy(p.currency[:], t.BaseCurrency)
		p.first, p.last = t.Time, t.Time
	}
	p.first = min(p.first, t.Time)
	if t.Time > p.last {
		for i := range p.windows {
			p.windows[i].advance(&windowSpecs[i], p.last, t.Time)
		}
		p.habit.advance(p.last, t.Time)
		p.last = t.Time
		p.forgetPlaces()
	}
	refund := isRefund(t)
	for i := range p.windows {
		if !refund || i == minuteWindow || i == tenMinuteWindow {
			p.windows[i].add(&windowSpecs[i], p.last, t.Time, t.BaseAmount)
		}
	}
	if refund {
		return
	}
	p.lastAmount = t.BaseAmount
	p.past.add(float64(t.BaseAmount))
	p.habit.add(p.last, t.Time, t.BaseAmount)
	if country, ok := countryCode(t.Country); ok {
		p.visit(country, t.Time)
	}
}

// visit remembers a purchase in country at time.
func (p *profile) visit(country [2]byte, time int64) {
	if time <= p.last-countryMemory {
		return
	}
	found := p.placeCount
	for i := range p.placeCount {
		if p.places[i].country == country {
			found = i
			time = max(time, p.places[i].time)
		}
	}
	if found == p.placeCount {
		if p.placeCount == maxPlaces {
			if p.places[maxPlaces-1].time > time {
				return
			}
			found--
		} else {
			p.placeCount++
		}
	}
	// Shift the ones that were used earlier to keep the order by time.
	for found > 0 && p.places[found-1].time <= time {
		p.places[found] = p.places[found-1]
		found--
	}
	p.places[found] = place{country, time}
}

// forgetPlaces drops the countries that were not used for countryMemory.
func (p *profile) forgetPlaces() {
	for p.placeCount > 0 && p.places[p.placeCount-1].time <= p.last-countryMemory {
		p.placeCount--
		p.places[p.placeCount] = place{}
	}
}

// placesBefore looks at the countries used within countryMemory before a
// purchase at t, not after it: how many others than country there are, the one
// of them used last, and whether country itself is among them.
func (p *profile) placesBefore(country [2]byte, t int64) (others int, latest [2]byte, same bool) {
	for _, place := range p.places[:p.placeCount] {
		if place.time > t || place.time <= t-countryMemory {
			continue
		}
		if place.country == country {
			same = true
			continue
		}
		if others == 0 {
			latest = place.country
		}
		others++
	}
	return others, latest, same
}

// moments are count, mean and sum of squared deviations of a series, kept by
// Welford's method.
type moments struct {
	n        uint64
	mean, m2 float64
}

func (m *moments) add(x float64) {
	m.n++
	delta := x - m.mean
	m.mean += delta / float64(m.n)
	m.m2 += delta * (x - m.mean)
}

// deviation is the sample standard deviation, 0 for fewer than two values.
func (m *moments) deviation() float64 {
	if m.n < 2 {
		return 0
	}
	return math.Sqrt(m.m2 / float64(m.n-1))
}

func isRefund(t *events.Enriched) bool { return t.Type == "refund" }

func countryCode(s string) (code [2]byte, ok bool) {
	if len(s) != len(code) {
		return code, false
	}
	copy(code[:], s)
	return code, true
}
