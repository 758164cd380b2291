package knative

import (
	"fmt"
	"math"
	"time"
)

// Duration is an ISO 8601 duration such as PT0.3S, as delivery specs hold it.
// As on a cluster, a sign is dropped, a year is 365.2425 days and a month a
// twelfth of that.
type Duration time.Duration

func (d *Duration) unmarshalText(text string) error {
	v, err := ParseDuration(text)
	*d = Duration(v)
	return err
}

// ParseDuration reads an ISO 8601 duration: P, then years Y, months M, weeks W,
// days D, then optionally T and hours H, minutes M, seconds S, in this order,
// each at most once and at least one of them. The last number may have a
// fraction.
func ParseDuration(s string) (time.Duration, error) {
	bad := func() (time.Duration, error) {
		return 0, fmt.Errorf("%q is no ISO 8601 duration such as PT0.3S or PT2M", s)
	}
	const day = 24 * time.Hour
	const year = time.Duration(365.2425 * float64(day))
	type unit struct {
		letter byte
		size   time.Duration
	}
	dateUnits := []unit{{'Y', year}, {'M', year / 12}, {'W', 7 * day}, {'D', day}}
	timeUnits := []unit{{'H', time.Hour}, {'M', time.Minute}, {'S', time.Second}}

	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	if rest == "" || rest[0] != 'P' {
		return bad()
	}
	rest = rest[1:]
	var total float64 // nanoseconds
	units, inTime, parts, fraction := dateUnits, false, 0, false
	for rest != "" {
		if rest[0] == 'T' && !inTime {
			if len(rest) == 1 {
				return bad()
			}
			units, inTime, rest = timeUnits, true, rest[1:]
			continue
		}
		if fraction {
			return bad() // a fraction stands on the last number only
		}
		var number float64
		scale, digits := 1.0, 0
		i := 0
		for ; i < len(rest); i++ {
			c := rest[i]
			if c >= '0' && c <= '9' {
				digits++
				if fraction {
					scale /= 10
					number += float64(c-'0') * scale
				} else {
					number = number*10 + float64(c-'0')
				}
				continue
			}
			if (c == '.' || c == ',') && !fraction && digits > 0 {
				fraction = true
				digits = 0
				continue
			}
			break
		}
		if digits == 0 || i == len(rest) {
			return bad()
		}
		found := false
		for u := range units {
			if units[u].letter == rest[i] {
				total += number * float64(units[u].size)
				units = units[u+1:]
				found = true
				break
			}
		}
		if !found {
			return bad()
		}
		rest = rest[i+1:]
		parts++
	}
	if parts == 0 {
		return bad()
	}
	if total > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is too long a duration", s)
	}
	return time.Duration(math.Round(total)), nil
}
