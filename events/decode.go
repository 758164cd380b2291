package events

import (
	"math/bits"
	"strconv"
	"strings"

	"datasurge/events/internal/strictjson"
)

// decoder reads the JSON object that is an event's data. The first error
// sticks, as in the scanner below it, so that a payload is read field by field
// without looking at errors in between.
//
// The data is copied into one string, of which all strings read are parts: a
// function that keeps one of them in its state keeps the whole record, unless it
// clones it (strings.Clone). Of transactions, which come in great numbers and are
// not kept, not even that copy is made: see openTransaction.
type decoder struct {
	json    strictjson.Scanner
	paths   []string // of the payload's fields, by field
	seen    fieldSet
	element int              // index of the array element being read, for its path
	others  strictjson.Names // unknown fields
	problem *InvalidError

	withoutFeatures bool // reads over the features of a scored transaction
}

// field numbers the fields of a payload: a set of them is far cheaper than a
// set of names. It indexes the payload's table of paths, in which "rules[].id"
// stands for the field id of each element of rules.
type field uint8

type fieldSet uint64

// open starts reading data and opens its object. paths is the payload's table.
func (d *decoder) open(data []byte, paths []string) {
	d.openText(string(data), paths, MaxDataBytes, MaxDepth)
}

// openText is open for data in a string, of at most maxBytes.
func (d *decoder) openText(text string, paths []string, maxBytes, maxDepth int) {
	d.paths = paths
	switch {
	case len(text) > maxBytes:
		d.fail("$", "is longer than "+strconv.Itoa(maxBytes)+" bytes")
		text = ""
	case strings.TrimSpace(text) == "":
		d.fail("$", "is empty: a JSON object is expected")
	}
	d.json.Reset(text, maxDepth)
	if kind := d.json.Kind(); kind != strictjson.Object && kind != strictjson.Invalid {
		d.fail("$", "is "+kind.String()+": a JSON object is expected")
	}
	d.json.Object()
}

// next returns the name of the next field; false at the end of the object and
// after an error. The value is to be read before the next call.
func (d *decoder) next() (string, bool) {
	if d.problem != nil {
		return "", false
	}
	return d.json.Name()
}

// names walks the fields by their names, as next does. To read a transaction takes
// a tenth longer with it, so that what is read of each one calls next.
func (d *decoder) names(yield func(string) bool) {
	for {
		name, ok := d.next()
		if !ok || !yield(name) {
			return
		}
	}
}

// close checks that the object was all of the data and that every field of
// required was there, and returns the first error.
func (d *decoder) close(required fieldSet) error {
	if d.json.End(); d.json.Err() != nil {
		d.fail("$", "is "+d.json.Err().Error())
	}
	d.require(required)
	if d.problem != nil {
		return d.problem
	}
	return nil
}

// require checks that all of fields were there.
func (d *decoder) require(fields fieldSet) {
	if missing := fields &^ d.seen; missing != 0 && d.problem == nil && d.json.Err() == nil {
		d.wrong(field(bits.TrailingZeros64(uint64(missing))), "is missing")
	}
}

// fail notes the first problem.
func (d *decoder) fail(path, reason string) {
	if d.problem == nil {
		d.problem = &InvalidError{Path: path, Reason: reason}
	}
}

// wrong notes a problem with f.
func (d *decoder) wrong(f field, reason string) {
	path := strings.Replace(d.paths[f], "[]", "["+strconv.Itoa(d.element)+"]", 1)
	d.fail("$."+path, reason)
}

// failed reports whether reading f went wrong, and notes why.
func (d *decoder) failed(f field) bool {
	if d.json.Err() != nil {
		d.unreadable(f)
	}
	return d.problem != nil
}

// unreadable notes the scanner's error: a mistake in the JSON, or a value of
// another kind than f has to have.
func (d *decoder) unreadable(f field) {
	if err := d.json.Err(); err.Mismatch {
		d.wrong(f, err.Reason)
	} else {
		d.fail("$", "is "+err.Error())
	}
}

// once notes that f is being read; twice is an error.
func (d *decoder) once(f field) {
	if d.seen&(1<<f) != 0 {
		d.wrong(f, "occurs twice")
	}
	d.seen |= 1 << f
}

// more moves to the next element of the array f, of which n were read.
func (d *decoder) more(f field, n, most int) bool {
	if d.problem != nil || !d.json.More() {
		d.failed(f)
		return false
	}
	if d.element = n; n == most {
		d.wrong(f, "has more than "+strconv.Itoa(most)+" elements")
		return false
	}
	return true
}

// text reads a string of at most limit bytes that holds no card number.
func (d *decoder) text(f field, limit int) string {
	d.once(f)
	s := d.json.Str()
	switch {
	case d.failed(f):
		return ""
	case len(s) > limit:
		d.wrong(f, "is longer than "+strconv.Itoa(limit)+" bytes")
	case HasCardNumber(s):
		d.wrong(f, cardNumberReason)
	}
	return s
}

const cardNumberReason = "holds what looks like a payment card number, which must never be sent"

// id reads an identifier: text that is not empty and has no control character,
// since it becomes a context attribute.
func (d *decoder) id(f field) string {
	s := d.text(f, MaxIDBytes)
	switch {
	case d.problem != nil:
	case s == "":
		d.wrong(f, "must not be empty")
	case hasControl(s):
		d.wrong(f, "must not contain control characters")
	}
	return s
}

// hasControl reports whether s has a character that CloudEvents forbids in
// attributes: U+0000 to U+001F and U+007F to U+009F.
func hasControl(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ' ' <= c && c < 0x7f {
			continue
		}
		if c < ' ' || c == 0x7f || c == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0 { // U+0080 to U+009F
			return true
		}
	}
	return false
}

// code reads a string that must be one of a few values.
func (d *decoder) code(f field, values ...string) string {
	s := d.text(f, MaxTextBytes)
	if d.problem != nil {
		return ""
	}
	for _, v := range values {
		if s == v {
			return v
		}
	}
	d.wrong(f, quote(s)+" is none of "+strings.Join(values, ", "))
	return ""
}

// currency reads a currency code.
func (d *decoder) currency(f field) string {
	s := d.text(f, MaxTextBytes)
	if d.problem != nil {
		return ""
	}
	if _, ok := CurrencyDigits(s); !ok {
		d.wrong(f, quote(s)+" is no ISO 4217 currency code in use, such as EUR")
	}
	return s
}

// amount reads an amount of money as it is written, a number or a string:
// what it means depends on the currency, which may come later.
func (d *decoder) amount(f field) string {
	if d.json.Kind() == strictjson.String {
		return d.text(f, MaxTextBytes)
	}
	d.once(f)
	s := d.json.Num()
	d.failed(f)
	return s
}

// minor converts what amount read at f.
func (d *decoder) minor(f field, text, currency string) int64 {
	digits, ok := CurrencyDigits(currency)
	if d.problem != nil || d.json.Err() != nil || d.seen&(1<<f) == 0 || !ok {
		return 0 // wrong or missing, which close says
	}
	minor, reason := parseAmount(text, currency, digits)
	if reason != "" {
		d.wrong(f, reason)
	}
	return minor
}

// The event times accepted, in ms since the epoch: the years 2000 to 2100.
const (
	minTime = int64(946_684_800_000)
	maxTime = int64(4_102_444_800_000)
)

// millis reads a point in time in ms since the epoch.
func (d *decoder) millis(f field) int64 {
	ms := d.integer(f)
	if d.problem != nil || minTime <= ms && ms < maxTime {
		return ms
	}
	const want = "must be milliseconds since 1970, in the years 2000 to 2100"
	switch {
	case minTime/1000 <= ms && ms < maxTime/1000:
		d.wrong(f, want+"; this looks like seconds")
	case minTime <= ms/1000 && ms/1000 < maxTime:
		d.wrong(f, want+"; this looks like microseconds")
	case minTime <= ms/1_000_000 && ms/1_000_000 < maxTime:
		d.wrong(f, want+"; this looks like nanoseconds")
	default:
		d.wrong(f, want)
	}
	return 0
}

// integer reads a whole number.
func (d *decoder) integer(f field) int64 {
	d.once(f)
	s := d.json.Num()
	if d.failed(f) {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.wrong(f, "must be a whole number of at most 18 digits, without a fraction or an exponent")
	}
	return n
}

// integerIn reads a whole number from low to high.
func (d *decoder) integerIn(f field, low, high int64) int64 {
	n := d.integer(f)
	if n < low || n > high {
		d.wrong(f, "must be from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
	}
	return n
}

// number reads a number into a float.
func (d *decoder) number(f field) float64 {
	d.once(f)
	s := d.json.Num()
	if d.failed(f) {
		return 0
	}
	value, err := strconv.ParseFloat(s, 64)
	if err != nil {
		d.wrong(f, "is too large a number")
	}
	return value
}

// share reads a number from 0 to 1.
func (d *decoder) share(f field) float64 {
	value := d.number(f)
	if value < 0 || value > 1 {
		d.wrong(f, "must be from 0 to 1")
	}
	return value
}

// boolean reads true or false.
func (d *decoder) boolean(f field) bool {
	d.once(f)
	b := d.json.Bool()
	return !d.failed(f) && b
}

// looseBoolean reads true or false, also in quotes and with a capital: what
// Python's str makes of them.
func (d *decoder) looseBoolean(f field) bool {
	if d.json.Kind() != strictjson.String {
		return d.boolean(f)
	}
	switch d.text(f, MaxTextBytes) {
	case "true", "True":
		return true
	case "false", "False":
		return false
	}
	d.wrong(f, "must be true or false")
	return false
}

// other reads over a field that is not known, so that newer producers may add
// some. It has to be as valid as everything else.
func (d *decoder) other(name string) {
	d.unknown(&d.others, name, memberPath(name))
}

// unknown reads over the unknown member called name of an object that has had
// names. path is where problems in it are reported.
func (d *decoder) unknown(names *strictjson.Names, name, path string) {
	switch {
	case HasCardNumber(name):
		d.fail("$", "has a field whose name "+cardNumberReason)
	case !names.Add(name):
		d.fail(path, "has the field "+quote(name)+" twice")
	}
	d.skip(path)
}

// skip reads over one value.
func (d *decoder) skip(path string) {
	if d.problem != nil {
		return
	}
	switch d.json.Kind() {
	case strictjson.String:
		if HasCardNumber(d.json.Str()) {
			d.fail(path, cardNumberReason)
		}
	case strictjson.Array:
		d.json.Array()
		for d.problem == nil && d.json.More() {
			d.skip(path)
		}
	case strictjson.Object:
		var names strictjson.Names
		d.json.Object()
		for name := range d.names {
			d.unknown(&names, name, path)
		}
	default:
		d.json.Skip()
	}
}

// memberPath is the JSON path of the member called name of the data's object.
func memberPath(name string) string {
	if name == "" || len(name) > 40 {
		return "$[" + quote(name) + "]"
	}
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && name[i] != '_' {
			return "$[" + quote(name) + "]"
		}
	}
	return "$." + name
}
