// Package window has the arithmetic of event time windows and the accumulators
// that are kept in them. It is pure: it knows no clock, no state and no events.
//
// Times are milliseconds since the epoch. Windows are half open, [start, end),
// and aligned to the epoch plus an offset, before the epoch as after it.
//
// Overlapping windows share their work. A [Grain] cuts time into slices such
// that every window of the grain is a whole number of slices, so that a value is
// added once, to its slice, however many windows it falls in; the result of a
// window is the merge of its slices.
//
// The same values give the same bytes: encodings of accumulators do not depend
// on map order, on when they were encoded and decoded in between, or, for
// everything but mean and variance, on the order of the values.
package window

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Spec says which windows there are: one of Size begins every Slide, shifted by
// Offset from the epoch. All three are whole milliseconds.
type Spec struct {
	Size   int64 // length, > 0
	Slide  int64 // distance of two starts, 0 < Slide <= Size; Size for tumbling windows
	Offset int64 // 0 <= Offset < Slide
}

const (
	// MaxSpecs bounds the number of window specs in one configuration.
	MaxSpecs = 16
	// maxOverlap bounds the number of windows that one instant falls in.
	maxOverlap = 1440
	// maxSlices bounds the number of slices that a window is merged from.
	maxSlices = 10_080
	// maxSize keeps window arithmetic far from the ends of int64.
	maxSize = 366 * 24 * 60 * 60 * 1000
)

// ParseSpecs reads a list such as "1m,5m/1m,1h@15m": sizes, each with a slide
// after "/" when windows overlap and an offset after "@" when they do not begin
// at the epoch. Durations are those of [time.ParseDuration], and whole days
// ("7d"). Specs are returned in the order of the text.
func ParseSpecs(text string) ([]Spec, error) {
	var specs []Spec
	for field := range strings.SplitSeq(text, ",") {
		spec, err := parseSpec(strings.TrimSpace(field))
		if err != nil {
			return nil, fmt.Errorf("windows %q: %w", text, err)
		}
		if slices.Contains(specs, spec) {
			return nil, fmt.Errorf("windows %q: %s is there twice", text, spec)
		}
		specs = append(specs, spec)
	}
	if len(specs) > MaxSpecs {
		return nil, fmt.Errorf("windows %q: %d windows, at most %d are allowed", text, len(specs), MaxSpecs)
	}
	return specs, nil
}

func parseSpec(text string) (Spec, error) {
	rest, offset, hasOffset := strings.Cut(text, "@")
	size, slide, hasSlide := strings.Cut(rest, "/")
	var spec Spec
	var err error
	if spec.Size, err = parseMillis(size); err != nil {
		return Spec{}, fmt.Errorf("size of %q: %w", text, err)
	}
	spec.Slide = spec.Size
	if hasSlide {
		if spec.Slide, err = parseMillis(slide); err != nil {
			return Spec{}, fmt.Errorf("slide of %q: %w", text, err)
		}
	}
	if hasOffset {
		if spec.Offset, err = parseMillis(offset); err != nil {
			return Spec{}, fmt.Errorf("offset of %q: %w", text, err)
		}
	}
	if err := spec.Validate(); err != nil {
		return Spec{}, fmt.Errorf("%q: %w", text, err)
	}
	return spec, nil
}

// Validate says what is wrong with s, nil when nothing is.
func (s Spec) Validate() error {
	switch {
	case s.Size <= 0 || s.Size > maxSize:
		return errors.New("the size must be more than 0 and at most 366 days")
	case s.Slide <= 0 || s.Slide > s.Size:
		return errors.New("the slide must be more than 0 and at most the size")
	case s.Offset < 0 || s.Offset >= s.Slide:
		return errors.New("the offset must be at least 0 and less than the slide")
	case s.Size/s.Slide > maxOverlap:
		return fmt.Errorf("at most %d windows may overlap", maxOverlap)
	case s.Size/gcd(s.Size, s.Slide) > maxSlices:
		return fmt.Errorf("size and slide have no common divisor larger than a %dth of the size", maxSlices)
	}
	return nil
}

func parseMillis(text string) (int64, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number of days", text)
		}
		return int64(n) * 24 * time.Hour.Milliseconds(), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 5m, 1h or 7d", text)
	}
	if d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q is not whole milliseconds", text)
	}
	return d.Milliseconds(), nil
}

// String returns s as [ParseSpecs] reads it, in its shortest form: "1m",
// "5m/1m", "1h@15m".
func (s Spec) String() string {
	text := formatMillis(s.Size)
	if s.Slide != s.Size {
		text += "/" + formatMillis(s.Slide)
	}
	if s.Offset != 0 {
		text += "@" + formatMillis(s.Offset)
	}
	return text
}

func formatMillis(ms int64) string {
	for _, unit := range []struct {
		ms   int64
		name string
	}{{24 * 3600_000, "d"}, {3600_000, "h"}, {60_000, "m"}, {1000, "s"}} {
		if ms%unit.ms == 0 {
			return strconv.FormatInt(ms/unit.ms, 10) + unit.name
		}
	}
	return strconv.FormatInt(ms, 10) + "ms"
}

// Floor returns the largest start of a division of time into width, shifted by
// offset, that is not after t. It floors, so it is right before the epoch too.
func Floor(t, width, offset int64) int64 {
	into := (t - offset) % width
	if into < 0 {
		into += width
	}
	return t - into
}

// LastStart returns the start of the last window that contains t. Windows that
// contain t start there and at earlier multiples of Slide.
func (s Spec) LastStart(t int64) int64 { return Floor(t, s.Slide, s.Offset) }

// FirstStart returns the start of the first window that contains t.
func (s Spec) FirstStart(t int64) int64 {
	last := s.LastStart(t)
	return last - (s.Size-1-(t-last))/s.Slide*s.Slide
}
