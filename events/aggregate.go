package events

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
)

// SourceAggregate is the CloudEvents source of what aggregate emits.
const SourceAggregate = "/datasurge/aggregate"

// Partial is what one input partition contributes to one slice of one series:
// the data of TypePartial. It is cumulative: the one with the largest Version
// replaces all before it. Partials are between tasks of aggregate; their fields
// may change with its version.
type Partial struct {
	Dimension string // "merchant"
	Value     string // "merchant-17"
	Width     int64  // length of the slice, ms
	Start     int64  // of the slice, ms since the epoch
	From      int64  // end of the first window that counts this part, ms since the epoch
	Partition int    // input partition
	Version   int64  // grows with every change of the content
	Count     int64  // transactions
	Frauds    int64  // of which labelled as frauds; only where they are counted
	State     []byte // encoded accumulator; nil where only Count and Frauds are kept
}

// maxStateBytes bounds Partial.State; aggregate's are under 16 KB.
const maxStateBytes = 128 << 10

const (
	partialDimension field = iota
	partialValue
	partialWidth
	partialStart
	partialFrom
	partialPartition
	partialVersion
	partialCount

	partialFrauds // optional
	partialState  // optional
)

var partialPaths = [...]string{
	partialDimension: "dimension",
	partialValue:     "value",
	partialWidth:     "width",
	partialStart:     "start",
	partialFrom:      "from",
	partialPartition: "partition",
	partialVersion:   "version",
	partialCount:     "count",
	partialFrauds:    "frauds",
	partialState:     "state",
}

// ParsePartial reads the data of a TypePartial event into p, as
// [ParseTransaction] does. State is read as bytes: what is in them is for
// aggregate to judge.
func ParsePartial(data []byte, p *Partial) error {
	*p = Partial{}
	var d decoder
	d.open(data, partialPaths[:])
	for name := range d.names {
		switch name {
		case "dimension":
			p.Dimension = d.text(partialDimension, MaxTextBytes)
		case "value":
			p.Value = d.text(partialValue, MaxTextBytes)
		case "width":
			p.Width = d.integerIn(partialWidth, 1, maxTime)
		case "start":
			p.Start = d.integerIn(partialStart, -maxTime, maxTime)
		case "from":
			p.From = d.integerIn(partialFrom, -maxTime, 2*maxTime)
		case "partition":
			p.Partition = int(d.integerIn(partialPartition, 0, math.MaxInt32))
		case "version":
			p.Version = d.integerIn(partialVersion, 0, math.MaxInt64)
		case "count":
			p.Count = d.integerIn(partialCount, 0, math.MaxInt64)
		case "frauds":
			p.Frauds = d.integerIn(partialFrauds, 0, math.MaxInt64)
		case "state":
			p.State = d.base64(partialState, maxStateBytes)
		default:
			d.other(name)
		}
	}
	return d.close(fieldSet(1)<<partialFrauds - 1)
}

// base64 reads bytes. They are not looked through for card numbers: among enough
// random letters some digits will pass for one.
func (d *decoder) base64(f field, limit int) []byte {
	d.once(f)
	text := d.json.Str()
	if d.failed(f) {
		return nil
	}
	if base64.StdEncoding.DecodedLen(len(text)) > limit {
		d.wrong(f, "is longer than "+strconv.Itoa(limit)+" bytes")
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		d.wrong(f, "must be base64")
	}
	return data
}

// AppendPartial appends p as ParsePartial reads it.
func AppendPartial(dst []byte, p *Partial) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "dimension", p.Dimension)
	dst = appendStringField(dst, "value", p.Value)
	dst = appendIntField(dst, "width", p.Width)
	dst = appendIntField(dst, "start", p.Start)
	dst = appendIntField(dst, "from", p.From)
	dst = appendIntField(dst, "partition", int64(p.Partition))
	dst = appendIntField(dst, "version", p.Version)
	dst = appendIntField(dst, "count", p.Count)
	if p.Frauds != 0 {
		dst = appendIntField(dst, "frauds", p.Frauds)
	}
	if p.State != nil {
		dst = append(appendName(dst, "state"), '"')
		dst = base64.StdEncoding.AppendEncode(dst, p.State)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// NewPartial returns the event for p. All partials of one series have the same
// key, "dimension|value", and so the same owner.
func NewPartial(p *Partial) Event {
	key := p.Dimension + "|" + p.Value
	id := make([]byte, 0, len(key)+80)
	id = append(id, key...)
	for _, n := range [...]int64{p.Width, p.Start, p.From, int64(p.Partition), p.Version} {
		id = strconv.AppendInt(append(id, '|'), n, 10)
	}
	return Event{
		ID:              string(id),
		Source:          SourceAggregate,
		Type:            TypePartial,
		Subject:         key,
		Time:            atMillis(p.Start),
		DataContentType: jsonType,
		Key:             key,
		Data:            AppendPartial(make([]byte, 0, 256+len(p.State)*4/3), p),
	}
}

// Aggregate is the result of one window of one series: the data of
// TypeAggregate. It is an upsert: of those with the same Dimension, Value,
// Window and Start the one with the largest Pane counts, and nothing follows one
// that is Final.
type Aggregate struct {
	Dimension string // "all", "currency", "merchant", "category", "country", "type", "payment", "rule"
	Value     string // "EUR"; "all" for the dimension all
	Window    string // size, slide and offset: "5m/1m"
	Start     int64  // ms since the epoch, inclusive
	End       int64  // ms since the epoch, exclusive
	Pane      int64  // 0 for the first result of the window, then growing
	Final     bool

	Currency  string // of all amounts: the base currency, or Value for the dimension currency
	Count     int64  // transactions
	Anomalies int64  // of which flagged
	Sum       int64  // minor units
	Overflow  bool   // the sum did not fit: Sum is the largest number there is
	Min, Max  int64  // minor units
	Mean      float64
	StdDev    float64 // of the amounts themselves, minor units, as Mean

	// Sketched says that there are quantiles and a number of customers; without,
	// they are 0 and not on the wire.
	Sketched           bool
	P50, P90, P95, P99 int64 // minor units, within 1%
	Customers          int64 // different customers, within about 5%
}

const (
	aggregateDimension field = iota
	aggregateValue
	aggregateWindow
	aggregateStart
	aggregateEnd
	aggregatePane
	aggregateFinal
	aggregateCurrency
	aggregateCount
	aggregateAnomalies
	aggregateSum
	aggregateMin
	aggregateMax
	aggregateMean
	aggregateStdDev

	aggregateOverflow // optional
	aggregateP50      // optional, as all that follow
	aggregateP90
	aggregateP95
	aggregateP99
	aggregateCustomers
)

var aggregatePaths = [...]string{
	aggregateDimension: "dimension",
	aggregateValue:     "value",
	aggregateWindow:    "window",
	aggregateStart:     "windowStart",
	aggregateEnd:       "windowEnd",
	aggregatePane:      "pane",
	aggregateFinal:     "final",
	aggregateCurrency:  "currency",
	aggregateCount:     "count",
	aggregateAnomalies: "anomalies",
	aggregateSum:       "sum",
	aggregateMin:       "min",
	aggregateMax:       "max",
	aggregateMean:      "mean",
	aggregateStdDev:    "stddev",
	aggregateOverflow:  "overflow",
	aggregateP50:       "p50",
	aggregateP90:       "p90",
	aggregateP95:       "p95",
	aggregateP99:       "p99",
	aggregateCustomers: "customers",
}

// ParseAggregate reads the data of a TypeAggregate event into a, as
// [ParseTransaction] does.
func ParseAggregate(data []byte, a *Aggregate) error {
	*a = Aggregate{}
	var d decoder
	d.open(data, aggregatePaths[:])
	var sum, low, high string
	var quantiles [4]string
	for name := range d.names {
		switch name {
		case "dimension":
			a.Dimension = d.text(aggregateDimension, MaxTextBytes)
		case "value":
			a.Value = d.text(aggregateValue, MaxTextBytes)
		case "window":
			a.Window = d.text(aggregateWindow, MaxTextBytes)
		case "windowStart":
			a.Start = d.integer(aggregateStart)
		case "windowEnd":
			a.End = d.integer(aggregateEnd)
		case "pane":
			a.Pane = d.integerIn(aggregatePane, 0, math.MaxInt64)
		case "final":
			a.Final = d.boolean(aggregateFinal)
		case "currency":
			a.Currency = d.currency(aggregateCurrency)
		case "count":
			a.Count = d.integerIn(aggregateCount, 0, math.MaxInt64)
		case "anomalies":
			a.Anomalies = d.integerIn(aggregateAnomalies, 0, math.MaxInt64)
		case "sum":
			sum = d.amount(aggregateSum)
		case "overflow":
			a.Overflow = d.boolean(aggregateOverflow)
		case "min":
			low = d.amount(aggregateMin)
		case "max":
			high = d.amount(aggregateMax)
		case "mean":
			a.Mean = d.number(aggregateMean)
		case "stddev":
			a.StdDev = d.number(aggregateStdDev)
		case "p50":
			quantiles[0] = d.amount(aggregateP50)
		case "p90":
			quantiles[1] = d.amount(aggregateP90)
		case "p95":
			quantiles[2] = d.amount(aggregateP95)
		case "p99":
			quantiles[3] = d.amount(aggregateP99)
		case "customers":
			a.Customers = d.integerIn(aggregateCustomers, 0, math.MaxInt64)
			a.Sketched = true
		default:
			d.other(name)
		}
	}
	digits, _ := CurrencyDigits(a.Currency)
	a.Sum = d.total(aggregateSum, sum, digits)
	a.Min = d.total(aggregateMin, low, digits)
	a.Max = d.total(aggregateMax, high, digits)
	if a.Sketched {
		for i, p := range []*int64{&a.P50, &a.P90, &a.P95, &a.P99} {
			*p = d.total(aggregateP50+field(i), quantiles[i], digits)
		}
	}
	a.Mean *= math.Pow10(digits)
	a.StdDev *= math.Pow10(digits)
	return d.close(fieldSet(1)<<aggregateOverflow - 1)
}

// total converts what amount read at f into minor units. Other than the amount
// of a transaction it may be zero, negative, and as large as an int64.
func (d *decoder) total(f field, text string, digits int) int64 {
	if d.problem != nil || d.json.Err() != nil || text == "" {
		return 0 // wrong or missing, which close says
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) != digits {
		d.wrong(f, "must have the decimals of its currency: "+strconv.Itoa(digits))
		return 0
	}
	minor, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		d.wrong(f, "is no decimal number such as 12.34, or too large")
	}
	return minor
}

// AppendAggregate appends a as ParseAggregate reads it. Amounts are in units of
// the currency, with its decimals.
func AppendAggregate(dst []byte, a *Aggregate) []byte {
	digits, _ := CurrencyDigits(a.Currency)
	amount := func(name string, minor int64) { dst = FormatAmount(appendName(dst, name), minor, digits) }
	scale := math.Pow10(digits)

	dst = append(dst, '{')
	dst = appendStringField(dst, "dimension", a.Dimension)
	dst = appendStringField(dst, "value", a.Value)
	dst = appendStringField(dst, "window", a.Window)
	dst = appendIntField(dst, "windowStart", a.Start)
	dst = appendIntField(dst, "windowEnd", a.End)
	dst = appendIntField(dst, "pane", a.Pane)
	dst = appendBoolField(dst, "final", a.Final)
	dst = appendStringField(dst, "currency", a.Currency)
	dst = appendIntField(dst, "count", a.Count)
	dst = appendIntField(dst, "anomalies", a.Anomalies)
	amount("sum", a.Sum)
	if a.Overflow {
		dst = appendBoolField(dst, "overflow", true)
	}
	amount("min", a.Min)
	amount("max", a.Max)
	dst = appendFloatField(dst, "mean", a.Mean/scale)
	dst = appendFloatField(dst, "stddev", a.StdDev/scale)
	if a.Sketched {
		amount("p50", a.P50)
		amount("p90", a.P90)
		amount("p95", a.P95)
		amount("p99", a.P99)
		dst = appendIntField(dst, "customers", a.Customers)
	}
	return append(dst, '}')
}

// NewAggregate returns the event for a. Its key is that of the upsert,
// "dimension|value|window|start"; its subject the series, "dimension|value".
func NewAggregate(a *Aggregate) Event {
	series := a.Dimension + "|" + a.Value
	key := series + "|" + a.Window + "|" + strconv.FormatInt(a.Start, 10)
	return Event{
		ID:              key + "|" + strconv.FormatInt(a.Pane, 10),
		Source:          SourceAggregate,
		Type:            TypeAggregate,
		Subject:         series,
		Time:            atMillis(a.End),
		DataContentType: jsonType,
		Key:             key,
		Data:            AppendAggregate(make([]byte, 0, 512), a),
	}
}
