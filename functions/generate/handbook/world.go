package handbook

import "math"

// customer is one customer with the streams of random numbers that all of its
// transactions are drawn from.
type customer struct {
	mean, deviation float64 // of amounts
	quiet           float64 // exp(-rate): chance of a day without an attempt
	terminals       []int32 // in reach, ascending
	amounts         numpy
	choices         cpython
}

// newCustomers returns the customers in the order of their ids.
func newCustomers() []customer {
	type point struct{ x, y float64 }
	var r numpy
	r.seed(1)
	terminals := make([]point, Terminals)
	for i := range terminals {
		terminals[i] = point{r.uniform(0, 100), r.uniform(0, 100)}
	}
	r.seed(0)
	customers := make([]customer, Customers)
	for i := range customers {
		c := &customers[i]
		home := point{r.uniform(0, 100), r.uniform(0, 100)}
		c.mean = r.uniform(5, 100)
		c.deviation = c.mean / 2
		c.quiet = math.Exp(-r.uniform(0, 4))
		for id, at := range terminals {
			dx, dy := home.x-at.x, home.y-at.y
			if math.Sqrt(float64(dx*dx)+float64(dy*dy)) < reach {
				c.terminals = append(c.terminals, int32(id))
			}
		}
		c.amounts.seed(uint32(i))
		c.choices.seed(uint32(i))
	}
	return customers
}

// day appends the transactions of the customer's next day to dst; first is the
// second at which it begins.
func (c *customer) day(dst []draft, id, first int32) []draft {
	for range c.amounts.poisson(c.quiet) {
		second := int32(c.amounts.normal(daySeconds/2, 20_000)) // towards zero
		if second <= 0 || second >= daySeconds {
			continue
		}
		amount := c.amounts.normal(c.mean, c.deviation)
		if amount < 0 {
			amount = c.amounts.uniform(0, c.mean*2)
		}
		if len(c.terminals) == 0 {
			continue
		}
		dst = append(dst, draft{Transaction: Transaction{
			Second:   first + second,
			Customer: id,
			Terminal: c.terminals[c.choices.below(len(c.terminals))],
			Cents:    int64(math.RoundToEven(amount * 100)),
		}})
	}
	return dst
}
