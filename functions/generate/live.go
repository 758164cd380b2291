package generate

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
)

// live is the profile live: the transactions of one segment, whose event time is
// the wall clock at which they are due.
type live struct {
	segment
	task   uint64
	world  *world
	card   episode
	travel episode
	phase  uint64 // transactions for which one merchant is compromised
	round  round  // that of the transaction planned last
	random source
}

func newLive(seg segment, task int, w *world) *live {
	return &live{
		segment: seg,
		task:    uint64(task),
		world:   w,
		card:    newEpisode(card, seg, uint64(task), 10, 3, cardShare),
		travel:  newEpisode(travel, seg, uint64(task), 3, 20, travelShare),
		phase:   max(1, 600*seg.rate/1000),
		random:  newSource(),
	}
}

// plan is what a transaction's label depends on. It is made of whole numbers only,
// so that a label derived later, perhaps on another machine, is the same.
type plan struct {
	scenario scenario
	fraud    bool
	customer uint32
	merchant uint32
	city     uint32 // where it happens
}

// plan decides transaction n. It leaves l.random where the draws of the details
// begin.
func (l *live) plan(n uint64) plan {
	r, w := l.random, l.world
	r.pcg.Seed(mix(l.model.seed, drawTransaction, l.task, n), n)
	customers := uint64(len(w.customers))

	if id, _, ok := l.card.at(n); ok {
		p := plan{scenario: card, fraud: true, customer: uint32(id % customers)}
		p.city = w.customers[p.customer].home
		p.merchant = w.online[r.pick(len(w.online))]
		return p
	}
	if id, place, ok := l.travel.at(n); ok {
		p := plan{scenario: travel, fraud: place > 0, customer: uint32(id % customers)}
		p.city = w.customers[p.customer].home
		if p.fraud {
			p.city = w.abroad(p.city, id)
		} else {
			p.scenario = genuine // the owner pays at home before the clone is used
		}
		p.merchant = w.shop(r, p.city)
		return p
	}

	p := plan{customer: l.whose(n)}
	p.city = w.customers[p.customer].home
	p.scenario, p.fraud = l.single(n)
	switch {
	case p.scenario == breach:
		p.merchant = w.weak[mix(l.model.seed, drawPhase, n/l.phase)%uint64(len(w.weak))]
		return p
	case p.scenario == genuine:
		p.city = l.whereabouts(p.customer, n)
	}
	if r.IntN(8) == 0 {
		p.merchant = w.online[r.pick(len(w.online))]
	} else {
		p.merchant = w.shop(r, p.city)
	}
	return p
}

// round is as many transactions as there are customers. Each customer has one of
// them, if it is not part of an episode: the i-th is that of customer
// (factor*i + offset) mod customers, with a factor that has no divisor in common
// with customers.
type round struct {
	number, factor, offset uint64
}

// whose returns the customer of a transaction that is part of no episode.
func (l *live) whose(n uint64) uint32 {
	customers := uint64(len(l.world.customers))
	number := n / customers
	if l.round.factor == 0 || l.round.number != number {
		seed := mix(l.model.seed, drawRound, l.task, number)
		l.round = round{number: number, factor: 1 + seed%customers, offset: seed >> 32 % customers}
		for gcd(l.round.factor, customers) != 1 {
			l.round.factor++
		}
	}
	return uint32((l.round.factor*(n%customers) + l.round.offset) % customers)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// single draws the scenario of a transaction that is part of no episode.
func (l *live) single(n uint64) (s scenario, fraud bool) {
	u := l.random.Uint64N(1_000_000 * 1000)
	in := func(share uint64) bool {
		share *= uint64(l.model.intensity)
		if u < share {
			return true
		}
		u -= share
		return false
	}
	switch {
	case in(amountShare):
		return amount, true
	case in(breachShare):
		return breach, true
	case in(largeShare):
		return large, n%2 == 0
	}
	return genuine, false
}

// whereabouts returns the city that a customer is in: in two of a hundred half
// days in another country.
func (l *live) whereabouts(customer uint32, n uint64) uint32 {
	const halfDay = 12 * 3600 * 1e9
	home := l.world.customers[customer].home
	trip := mix(l.model.seed, drawTrip, uint64(customer), uint64(l.time(n)/halfDay))
	if trip%100 < 2 {
		return l.world.abroad(home, trip>>8)
	}
	return home
}

// abroad returns a city in another country than that of home.
func (w *world) abroad(home uint32, random uint64) uint32 {
	count := uint64(len(w.cities))
	for i := range count {
		at := uint32((random + i*7) % count)
		if w.cities[at].Country != w.cities[home].Country {
			return at
		}
	}
	return home
}

// shop returns a merchant in the country of a city.
func (w *world) shop(r source, city uint32) uint32 {
	at := w.merchantsAt(w.cities[city].Country)
	return at[r.pick(len(at))]
}

// transaction implements profile.
func (l *live) transaction(n uint64, t *events.Transaction) {
	p := l.plan(n)
	r, w := l.random, l.world
	who, shop, place := &w.customers[p.customer], &w.merchants[p.merchant], &w.cities[p.city]

	*t = events.Transaction{
		TransactionID: l.id(n),
		UserID:        who.id,
		Currency:      place.currency.code,
		Time:          l.time(n) / 1e6,
		MerchantID:    shop.ID,
		Type:          "purchase",
		Location:      place.text[0],
		PaymentMethod: "credit_card",
		International: place.Country != w.cities[who.home].Country,
	}
	habit := float64(who.mean) * math.Exp(float64(who.spread)*r.NormFloat64())
	var dollars float64
	switch p.scenario {
	case card:
		dollars = r.between(0.5, 15)
	case travel:
		dollars = habit * r.between(1, 4)
	case amount:
		dollars = float64(who.mean) * r.between(10, 25)
	case breach:
		dollars = habit * r.between(0.8, 3)
	case genuine, large:
		dollars = habit * float64(shop.price)
	}
	t.Amount = max(1, int64(dollars*place.currency.dollar))
	if p.scenario == large {
		t.Amount = int64(place.currency.major * r.between(100_001, 150_000))
	}
	switch u := r.IntN(100); {
	case u < 10:
		t.PaymentMethod = "paypal"
	case u < 45:
		t.PaymentMethod = "debit_card"
	}
	switch u := r.IntN(100); {
	case u < 15:
		t.Location = place.text[1]
	case u < 20:
		t.Location = place.text[2]
	}
	if p.scenario == genuine && r.IntN(100) < 3 {
		t.Type = "refund"
	}
}

// label implements profile.
func (l *live) label(n uint64, label *events.Label) {
	p := l.plan(n)
	*label = events.Label{
		TransactionID:   l.id(n),
		UserID:          l.world.customers[p.customer].id,
		MerchantID:      l.world.merchants[p.merchant].ID,
		TransactionTime: l.time(n) / 1e6,
		Fraud:           p.fraud,
		Scenario:        p.scenario.String(),
	}
}

// id returns transaction n's id: a UUID of version 8 (made by other means), whose
// lower 62 bits are n, scrambled, and whose others are drawn for seed and task. So
// a task never gives an id twice, and two tasks or seeds practically never the
// same.
func (l *live) id(n uint64) string {
	high := mix(l.model.seed, drawID, l.task, n)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], high&^0xf000|0x8000)
	low := (n*0x9e3779b97f4a7c15 ^ mix(l.model.seed, drawID, l.task)) & (1<<62 - 1)
	binary.BigEndian.PutUint64(id[8:], low|1<<63)

	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// merchants implements profile.
func (l *live) merchants() []reference.Merchant {
	all := make([]reference.Merchant, len(l.world.merchants))
	for i := range all {
		all[i] = l.world.merchants[i].Merchant
	}
	return all
}
