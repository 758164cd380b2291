package aggregate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"datasurge/events"
	"datasurge/functions/window"
)

// Config is what aggregate can be told. Start from DefaultConfig.
type Config struct {
	// Windows to keep, at least one; see window.ParseSpecs.
	Windows []window.Spec
	// Lateness is how long after its end, in event time, a window still takes
	// events. It becomes final that much later. 0 or more.
	Lateness time.Duration
	// BaseCurrency is the ISO 4217 code of the currency that enrich converts to.
	// Transactions with another base currency are refused.
	BaseCurrency string
	// LabelDelay is how long after a transaction its label comes. Merchant risk
	// is of the 1, 7 and 30 days that end so long before the watermark: complete
	// days when it is a day or more; with less, the day under way is the last.
	LabelDelay time.Duration
	// Observer is told what else only the results say. nil: nobody is.
	Observer Observer
}

// Observer is told about results that are wrong. Its methods are called by
// several tasks at a time and must not block.
type Observer interface {
	// SumOverflow: the sum of a final result did not fit into 64 bits.
	SumOverflow(dimension string)
}

type nobody struct{}

func (nobody) SumOverflow(string) {}

// DefaultConfig is: windows of a minute, of five minutes every minute and of an
// hour, a minute of lateness, US dollars, labels after 7 days, no observer.
func DefaultConfig() Config {
	const minute = int64(time.Minute / time.Millisecond)
	return Config{
		Windows: []window.Spec{
			{Size: minute, Slide: minute},
			{Size: 5 * minute, Slide: minute},
			{Size: 60 * minute, Slide: 60 * minute},
		},
		Lateness:     time.Minute,
		BaseCurrency: "USD",
		LabelDelay:   7 * 24 * time.Hour,
	}
}

// maxLateness bounds Lateness and LabelDelay, and with them what is remembered.
const maxLateness = 90 * 24 * time.Hour

func (c Config) validate() error {
	if len(c.Windows) == 0 {
		return errors.New("aggregate: there must be at least one window, such as 1m")
	}
	if len(c.Windows) > window.MaxSpecs {
		return fmt.Errorf("aggregate: %d windows, at most %d are allowed", len(c.Windows), window.MaxSpecs)
	}
	for _, spec := range c.Windows {
		if err := spec.Validate(); err != nil {
			return fmt.Errorf("aggregate: window %v: %w", spec, err)
		}
	}
	if c.Lateness < 0 || c.Lateness > maxLateness || c.Lateness%time.Millisecond != 0 {
		return fmt.Errorf("aggregate: the lateness is %v, it must be whole milliseconds from 0 to %v", c.Lateness, maxLateness)
	}
	if c.LabelDelay < 0 || c.LabelDelay > maxLateness {
		return fmt.Errorf("aggregate: the label delay is %v, it must be from 0 to %v", c.LabelDelay, maxLateness)
	}
	if _, ok := events.CurrencyDigits(c.BaseCurrency); !ok {
		return fmt.Errorf("aggregate: the base currency %q is no ISO 4217 code in use, such as USD", c.BaseCurrency)
	}
	return nil
}

// settings is what gives stored state its meaning.
func (c Config) settings() string {
	var text strings.Builder
	text.WriteString("windows=")
	for i, spec := range c.Windows {
		if i > 0 {
			text.WriteString(",")
		}
		text.WriteString(spec.String())
	}
	return text.String() + " lateness=" + c.Lateness.String() + " base=" + c.BaseCurrency
}

// plan is Config worked out.
type plan struct {
	specs    []window.Spec
	grains   []window.Grain
	lateness int64 // ms
	base     string
	delay    int64 // label delay, ms
	retain   int32 // days for which counts by day are kept

	// updateEvery is the least wall clock time between two updates of a window,
	// by spec; publishEvery between two partials of a part, by grain. ms.
	updateEvery  []int64
	publishEvery []int64
	names        []string // of specs
	observer     Observer
}

const (
	second = int64(1000)
	day    = 24 * 3600 * second
)

func newPlan(c Config) *plan {
	p := &plan{
		specs:    c.Windows,
		grains:   window.Grains(c.Windows),
		lateness: c.Lateness.Milliseconds(),
		base:     c.BaseCurrency,
		delay:    c.LabelDelay.Milliseconds(),
		observer: c.Observer,
	}
	if p.observer == nil {
		p.observer = nobody{}
	}
	// The longest risk window, the days until its labels are there, and some for
	// days that are not over and labels that come later than they should.
	p.retain = int32(events.RiskDays(events.RiskMonth)) + int32(p.delay/day) + 3
	for _, spec := range p.specs {
		p.updateEvery = append(p.updateEvery, max(second, spec.Size/60))
		p.names = append(p.names, spec.String())
	}
	for _, grain := range p.grains {
		every := p.updateEvery[grain.Index[0]]
		for _, i := range grain.Index[1:] {
			every = min(every, p.updateEvery[i])
		}
		p.publishEvery = append(p.publishEvery, every)
	}
	return p
}

// dayOf returns the number of the day, UTC, since the epoch.
func dayOf(ms int64) int32 { return int32(window.Floor(ms, day, 0) / day) }
