package metrics

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/axiomhq/hyperloglog"
	"github.com/prometheus/client_golang/prometheus"
)

// active estimates how many users and merchants had a transaction in the last
// five minutes and the last hour: a HyperLogLog for each minute, merged when
// asked. The standard error is 1.6 %.
//
// Processes see disjoint users, because users are spread over partitions, so
// their numbers may be added up. Merchants are not disjoint: of several processes
// the largest number is a lower bound.
type active struct {
	users, merchants *prometheus.Desc

	mu      sync.Mutex
	minutes []activeMinute // the oldest first
}

type activeMinute struct {
	minute           int64
	users, merchants *hyperloglog.Sketch
}

// activeWindows are the windows, in minutes.
var activeWindows = [...]struct {
	label   string
	minutes int64
}{{"5m", 5}, {"1h", 60}}

const (
	activeKept      = 60
	activePrecision = 12
)

func newActive() *active {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, []string{"window"}, nil)
	}
	return &active{
		users:     desc("active_users", "Different users with a transaction in the window, about. Since the process started."),
		merchants: desc("active_merchants", "Different merchants with a transaction in the window, about. Since the process started; processes may have the same merchants."),
	}
}

func newSketch() *hyperloglog.Sketch {
	s, err := hyperloglog.NewSketch(activePrecision, false) // sparse ones are slow to add to
	if err != nil {
		panic(err) // the precision is a constant that is allowed
	}
	return s
}

// add counts hashes of users and the merchants that they bought from.
func (a *active) add(now time.Time, users []uint64, merchants []merchantCount) {
	if len(users) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	minute := now.Unix() / 60
	if n := len(a.minutes); n == 0 || a.minutes[n-1].minute != minute {
		a.minutes = append(a.minutes, activeMinute{minute, newSketch(), newSketch()})
		a.minutes = slices.DeleteFunc(a.minutes, func(m activeMinute) bool { return m.minute <= minute-activeKept })
	}
	m := &a.minutes[len(a.minutes)-1]
	for _, h := range users {
		m.users.InsertHash(h)
	}
	for i := range merchants {
		m.merchants.InsertHash(merchants[i].hash)
	}
}

// Describe implements prometheus.Collector.
func (a *active) Describe(ch chan<- *prometheus.Desc) { ch <- a.users; ch <- a.merchants }

// Collect implements prometheus.Collector.
func (a *active) Collect(ch chan<- prometheus.Metric) {
	now := time.Now().Unix() / 60
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range activeWindows {
		users, merchants := newSketch(), newSketch()
		for _, m := range a.minutes {
			if m.minute > now-w.minutes {
				// Merge fails only for another precision.
				_ = users.Merge(m.users)
				_ = merchants.Merge(m.merchants)
			}
		}
		ch <- prometheus.MustNewConstMetric(a.users, prometheus.GaugeValue, float64(users.Estimate()), w.label)
		ch <- prometheus.MustNewConstMetric(a.merchants, prometheus.GaugeValue, float64(merchants.Estimate()), w.label)
	}
}

// top knows the merchants with the most transactions of the last minute. A
// merchant without any of late has no series.
type top struct {
	desc *prometheus.Desc

	mu    sync.Mutex
	slots []topSlot // the oldest first
}

// topSlot is ten seconds.
type topSlot struct {
	slot int64
	merchantCounts
}

// merchantCounts counts transactions by merchant. Merchants are told apart by a
// hash of 64 bits, which is quicker than by their ids.
type merchantCounts struct {
	index map[uint64]int // in list, by hash
	list  []merchantCount
}

type merchantCount struct {
	hash     uint64
	merchant string
	n        uint32
}

func newMerchantCounts() merchantCounts { return merchantCounts{index: map[uint64]int{}} }

// of returns the count of a merchant, 0 when it is new.
func (c *merchantCounts) of(hash uint64, merchant string) *merchantCount {
	i, ok := c.index[hash]
	if !ok {
		i = len(c.list)
		c.index[hash] = i
		c.list = append(c.list, merchantCount{hash: hash, merchant: merchant})
	}
	return &c.list[i]
}

func (c *merchantCounts) clear() {
	clear(c.index)
	clear(c.list) // their ids are pieces of records
	c.list = c.list[:0]
}

const (
	topMerchants = 20 // series
	topSlots     = 6  // that are averaged over
	slotSeconds  = 10
	// topTracked bounds the merchants of a slot: beyond, new ones are passed over
	// until the next.
	topTracked = 10_000
)

func newTop() *top {
	return &top{desc: prometheus.NewDesc(namespace+"_top_merchant_transactions_per_second",
		"Transactions per second of the 20 busiest merchants of this process, over the last minute.", []string{"merchant"}, nil)}
}

func (t *top) add(now time.Time, merchants []merchantCount) {
	if len(merchants) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := now.Unix() / slotSeconds
	if n := len(t.slots); n == 0 || t.slots[n-1].slot != slot {
		t.slots = append(t.slots, topSlot{slot, newMerchantCounts()})
		t.slots = slices.DeleteFunc(t.slots, func(s topSlot) bool { return s.slot < slot-topSlots })
	}
	into := &t.slots[len(t.slots)-1]
	for i := range merchants {
		m := &merchants[i]
		if at, ok := into.index[m.hash]; ok {
			into.list[at].n += m.n
		} else if len(into.list) < topTracked {
			into.of(m.hash, strings.Clone(m.merchant)).n = m.n // which is a piece of a record
		}
	}
}

// Describe implements prometheus.Collector.
func (t *top) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

// Collect implements prometheus.Collector.
func (t *top) Collect(ch chan<- prometheus.Metric) {
	for _, m := range t.busiest(time.Now()) {
		ch <- prometheus.MustNewConstMetric(t.desc, prometheus.GaugeValue, m.perSecond, m.merchant)
	}
}

type busyMerchant struct {
	merchant  string
	perSecond float64
}

// busiest returns the merchants with the most transactions in the six slots
// before the one under way.
func (t *top) busiest(now time.Time) []busyMerchant {
	slot := now.Unix() / slotSeconds
	counts := map[string]uint32{}
	t.mu.Lock()
	for _, s := range t.slots {
		if s.slot >= slot-topSlots && s.slot < slot {
			for i := range s.list {
				counts[s.list[i].merchant] += s.list[i].n
			}
		}
	}
	t.mu.Unlock()
	list := make([]busyMerchant, 0, len(counts))
	for _, merchant := range sortedKeys(counts) {
		list = append(list, busyMerchant{merchant, float64(counts[merchant]) / (topSlots * slotSeconds)})
	}
	slices.SortStableFunc(list, func(a, b busyMerchant) int { return cmp.Compare(b.perSecond, a.perSecond) })
	return list[:min(len(list), topMerchants)]
}
