package generate

import (
	"fmt"
	"math"
	"strconv"

	"datasurge/events"
	"datasurge/functions/enrich/reference"
)

// world is the customers, merchants and places that transactions are made of. It
// follows from a model and does not change.
type world struct {
	model     model
	cities    []city
	customers []customer
	merchants []merchant
	weak      []uint32            // merchants that get compromised, again and again
	online    []uint32            // merchants without a place
	local     map[string][]uint32 // merchants by country
}

// city is a place where transactions happen.
type city struct {
	reference.City
	currency currency
	text     [3]string // the ways to write it: "City, CC", "CC", "lat,lon"
}

// currency is what prices in a country are in.
type currency struct {
	code   string
	dollar float64 // minor units that are worth about a dollar
	major  float64 // minor units of one unit
}

type customer struct {
	id     string
	home   uint32  // city
	mean   float32 // median amount in dollars
	spread float32 // standard deviation of the amount's logarithm
}

type merchant struct {
	reference.Merchant
	price float32 // how dear it is, relative to others
}

// currencies gives those that are not the dollar, by country, and roughly how
// many units a dollar is worth. Customers elsewhere pay in dollars.
func currencies() map[string]currency {
	table := map[string]currency{
		"GB": {code: "GBP", dollar: 0.75}, "CA": {code: "CAD", dollar: 1.4},
		"AU": {code: "AUD", dollar: 1.5}, "CH": {code: "CHF", dollar: 0.8},
		"SE": {code: "SEK", dollar: 9.5}, "PL": {code: "PLN", dollar: 3.6},
		"SG": {code: "SGD", dollar: 1.3}, "JP": {code: "JPY", dollar: 145},
	}
	for _, country := range []string{"AT", "BE", "DE", "ES", "FI", "FR", "GR", "IE", "IT", "LU", "NL", "PT"} {
		table[country] = currency{code: "EUR", dollar: 0.85}
	}
	return table
}

// categoryPrice says how dear each of reference.Categories is.
func categoryPrice(category string) float32 {
	switch category {
	case "groceries", "restaurants", "fuel":
		return 0.8
	case "electronics", "travel", "luxury":
		return 1.5
	}
	return 1
}

// newWorld makes the world of a model.
func newWorld(m model) (*world, error) {
	gazetteer, err := reference.LoadGazetteer()
	if err != nil {
		return nil, err
	}
	w := &world{model: m, local: map[string][]uint32{}}
	byWeight := w.addCities(gazetteer)
	w.addMerchants(byWeight)
	w.addCustomers(byWeight)
	return w, nil
}

// addCities returns the cities, each as many times as its weight.
func (w *world) addCities(gazetteer *reference.Gazetteer) (byWeight []uint32) {
	table := currencies()
	for i, c := range gazetteer.Cities() {
		money, ok := table[c.Country]
		if !ok {
			money = currency{code: "USD", dollar: 1}
		}
		digits, _ := events.CurrencyDigits(money.code)
		money.major = math.Pow10(digits)
		money.dollar *= money.major
		w.cities = append(w.cities, city{
			City:     c,
			currency: money,
			text:     [3]string{c.Text(), c.Country, fmt.Sprintf("%.2f,%.2f", c.Lat, c.Lon)},
		})
		for range c.Weight {
			byWeight = append(byWeight, uint32(i))
		}
	}
	return byWeight
}

func (w *world) addMerchants(byWeight []uint32) {
	r := newSource()
	categories := reference.Categories()
	for i := range uint64(w.model.merchants) {
		r.pcg.Seed(mix(w.model.seed, drawMerchant, i), i)
		m := merchant{Merchant: reference.Merchant{
			ID:       fmt.Sprintf("merchant-%04d", i),
			Category: categories[r.IntN(len(categories))],
		}}
		m.price = categoryPrice(m.Category) * float32(r.between(0.8, 1.25))
		// The first ones are online, so that there is always one.
		if i < 3 || m.Category == "online" {
			w.online = append(w.online, uint32(i))
		} else {
			m.Country = w.cities[byWeight[r.IntN(len(byWeight))]].Country
			w.local[m.Country] = append(w.local[m.Country], uint32(i))
		}
		w.merchants = append(w.merchants, m)
	}
	r.pcg.Seed(mix(w.model.seed, drawPhase), 0)
	for range max(1, w.model.merchants/250) {
		w.weak = append(w.weak, uint32(r.IntN(len(w.merchants))))
	}
}

func (w *world) addCustomers(byWeight []uint32) {
	r := newSource()
	w.customers = make([]customer, w.model.customers)
	// All ids share one string.
	var ids []byte
	ends := make([]int, len(w.customers))
	for i := range w.customers {
		ids = append(ids, "user-"...)
		for limit := 100_000; limit > max(i, 1); limit /= 10 {
			ids = append(ids, '0')
		}
		ids = strconv.AppendInt(ids, int64(i), 10)
		ends[i] = len(ids)
	}
	text, start := string(ids), 0
	for i := range w.customers {
		r.pcg.Seed(mix(w.model.seed, drawCustomer, uint64(i)), uint64(i))
		w.customers[i] = customer{
			id:     text[start:ends[i]],
			home:   byWeight[r.IntN(len(byWeight))],
			mean:   float32(35 * math.Exp(0.6*r.NormFloat64())),
			spread: float32(r.between(0.2, 0.4)),
		}
		start = ends[i]
	}
}

// merchantsAt returns the merchants where somebody in a country may shop.
func (w *world) merchantsAt(country string) []uint32 {
	if local := w.local[country]; len(local) > 0 {
		return local
	}
	return w.online
}
