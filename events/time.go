package events

import "time"

// ParseTime parses a time as RFC 3339 writes it, and what else the Java data plane of
// Knative takes for one (ISO_OFFSET_DATE_TIME of java.time): small letters, no
// seconds, an offset of hours alone or with seconds. A fraction has at most nine
// digits, an offset at most 18 hours, a year always four digits. ok is false for
// anything else.
func ParseTime[T string | []byte](text T) (t time.Time, ok bool) {
	p := timeParser{text: string(text), ok: true}
	year := 100*p.two(0, 99) + p.two(0, 99)
	p.one('-', '-')
	month := p.two(1, 12)
	p.one('-', '-')
	day := p.two(1, 31)
	p.one('T', 't')
	hour := p.two(0, 23)
	p.one(':', ':')
	minute := p.two(0, 59)
	second, nanosecond := 0, 0
	if p.next(':') {
		second = p.two(0, 59)
		if p.next('.') {
			nanosecond = p.fraction()
		}
	}
	zone := p.offset()
	if !p.ok || p.text != "" {
		return time.Time{}, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanosecond, zone)
	return t, day <= 28 || t.Day() == day // the others become days of the next month
}

// timeParser takes the parts of text from its beginning. ok is false when one was
// not there.
type timeParser struct {
	text string
	ok   bool
}

// next takes c when it comes next.
func (p *timeParser) next(c byte) bool {
	if p.text == "" || p.text[0] != c {
		return false
	}
	p.text = p.text[1:]
	return true
}

// one takes one of two characters, which has to be there.
func (p *timeParser) one(a, b byte) {
	if !p.next(a) && !p.next(b) {
		p.ok = false
	}
}

// two takes a number of two digits, within bounds.
func (p *timeParser) two(low, high int) int {
	if len(p.text) < 2 {
		p.ok = false
		return low
	}
	tens, ones := p.text[0]-'0', p.text[1]-'0'
	p.text = p.text[2:]
	n := 10*int(tens) + int(ones)
	if tens > 9 || ones > 9 || n < low || n > high {
		p.ok = false
	}
	return n
}

// fraction takes the digits of a fraction of a second, in nanoseconds.
func (p *timeParser) fraction() (n int) {
	const digits = 9
	i := 0
	for ; i < len(p.text) && isDigit(p.text[i]); i++ {
		if i == digits {
			p.ok = false
			return 0
		}
		n = 10*n + int(p.text[i]-'0')
	}
	p.text = p.text[i:]
	for ; i < digits; i++ {
		n *= 10
	}
	return n
}

// offset takes the offset from UTC.
func (p *timeParser) offset() *time.Location {
	const most = 18 * 60 * 60
	sign := 1
	switch {
	case p.next('Z'), p.next('z'):
		return time.UTC
	case p.next('-'):
		sign = -1
	default:
		p.one('+', '+')
	}
	seconds := p.two(0, 18) * 60 * 60
	if p.next(':') {
		seconds += p.two(0, 59) * 60
		if p.next(':') {
			seconds += p.two(0, 59)
		}
	}
	if seconds > most {
		p.ok = false
	}
	if !p.ok || seconds == 0 {
		return time.UTC
	}
	return time.FixedZone("", sign*seconds)
}
