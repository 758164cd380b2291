package window

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const minute = 60_000

func mustSpecs(t testing.TB, text string) []Spec {
	t.Helper()
	specs, err := ParseSpecs(text)
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

func TestParseSpecs(t *testing.T) {
	got := mustSpecs(t, "1m, 5m/1m,1h,1d@6h,7d/1d,90s,500ms")
	want := []Spec{
		{minute, minute, 0}, {5 * minute, minute, 0}, {60 * minute, 60 * minute, 0},
		{1440 * minute, 1440 * minute, 360 * minute}, {7 * 1440 * minute, 1440 * minute, 0},
		{90_000, 90_000, 0}, {500, 500, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("specs (-want +got):\n%s", diff)
	}
	var names []string
	for _, s := range got {
		names = append(names, s.String())
	}
	if got, want := strings.Join(names, ","), "1m,5m/1m,1h,1d@6h,7d/1d,90s,500ms"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
}

func TestParseSpecsSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `"" is not a duration`,
		"1m,,5m":                  `"" is not a duration`,
		"1m,1m":                   "1m is there twice",
		"60s,1m":                  "1m is there twice",
		"0s":                      "size must be more than 0",
		"-1m":                     "size must be more than 0",
		"367d":                    "at most 366 days",
		"1m/2m":                   "slide must be more than 0 and at most the size",
		"1m/0s":                   "slide must be more than 0",
		"1m@1m":                   "offset must be at least 0 and less than the slide",
		"1m@-1s":                  "offset must be at least 0",
		"5m/1m@90s":               "less than the slide",
		"1d/1s":                   "at most 1440 windows may overlap",
		"1h1ms/1h":                "no common divisor",
		"1us":                     "not whole milliseconds",
		"xd":                      "not a number of days",
		"1m/":                     `slide of "1m/"`,
		"1m@":                     `offset of "1m@"`,
		strings.Repeat("1m,", 16): "is there twice",
		"1s,2s,3s,4s,5s,6s,7s,8s,9s,10s,11s,12s,13s,14s,15s,16s,17s": "17 windows, at most 16",
	} {
		_, err := ParseSpecs(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpecs(%q): %v, want an error with %q", text, err, want)
		}
	}
}

// A spec that parses is valid, and its name parses to itself.
func FuzzParseSpecs(f *testing.F) {
	for _, text := range []string{"1m,5m/1m,1h", "1d@6h", "10m/3m@1m", "7d/1d", "x", "1m/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := ParseSpecs(text)
		if err != nil {
			return
		}
		for _, s := range specs {
			if err := s.Validate(); err != nil {
				t.Fatalf("%q gave %+v: %v", text, s, err)
			}
			if again, err := ParseSpecs(s.String()); err != nil || again[0] != s {
				t.Fatalf("%+v is named %q, which gives %+v, %v", s, s, again, err)
			}
		}
	})
}

// windowsOf walks the windows of one spec by definition.
func windowsOf(s Spec, t int64) []int64 {
	var starts []int64
	for start := Floor(t, s.Slide, s.Offset) - (s.Size/s.Slide+2)*s.Slide; start <= t; start += s.Slide {
		if start <= t && t < start+s.Size {
			starts = append(starts, start)
		}
	}
	return starts
}

func TestBoundaryStartBelongsToItsWindow(t *testing.T) {
	s := mustSpecs(t, "1m")[0]
	if got := s.LastStart(5 * minute); got != 5*minute {
		t.Errorf("window of its exact start begins at %d", got)
	}
}

func TestBoundaryEndMinusOneBelongsToItsWindow(t *testing.T) {
	s := mustSpecs(t, "1m")[0]
	if got := s.LastStart(6*minute - 1); got != 5*minute {
		t.Errorf("window of end-1 begins at %d, want %d", got, 5*minute)
	}
}

func TestBoundaryEndBelongsToTheNextWindow(t *testing.T) {
	s := mustSpecs(t, "1m")[0]
	if got := s.LastStart(6 * minute); got != 6*minute {
		t.Errorf("window of the end begins at %d, want the next one at %d", got, 6*minute)
	}
	if s.FirstStart(6*minute) != s.LastStart(6*minute) {
		t.Error("a tumbling window overlaps another")
	}
}

func TestSizeNotDivisibleBySlide(t *testing.T) {
	s := mustSpecs(t, "10m/3m")[0]
	var got []int64
	g := Grains([]Spec{s})[0]
	if g.Width != minute {
		t.Fatalf("slices of %d ms, want the common divisor, %d", g.Width, minute)
	}
	for at := range int64(6) {
		n := int64(0)
		for w := range g.Windows(at*minute, math.MinInt64) {
			if w.Start > at*minute || w.End < (at+1)*minute {
				t.Errorf("slice %d is not in the window %d-%d", at, w.Start, w.End)
			}
			n++
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]int64{4, 3, 3, 4, 3, 3}, got); diff != "" {
		t.Errorf("windows over each minute (-want +got):\n%s", diff)
	}
}

func TestNegativeTimesFloor(t *testing.T) {
	for _, tt := range []struct{ t, width, offset, want int64 }{
		{-1, 60, 0, -60}, {-60, 60, 0, -60}, {-61, 60, 0, -120}, {0, 60, 0, 0},
		{-1, 60, 15, -45}, {-45, 60, 15, -45}, {-46, 60, 15, -105}, {14, 60, 15, -45}, {15, 60, 15, 15},
	} {
		if got := Floor(tt.t, tt.width, tt.offset); got != tt.want {
			t.Errorf("Floor(%d, %d, %d) = %d, want %d", tt.t, tt.width, tt.offset, got, tt.want)
		}
	}
}

// Against the definition, for random specs and times before and after the epoch:
// windows of an instant, their slices, and what is open.
func TestWindowsAgreeWithTheirDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var specs []Spec
		for range 1 + r.IntN(3) {
			slide := 1 + r.Int64N(20)
			specs = append(specs, Spec{Size: slide + r.Int64N(60), Slide: slide, Offset: r.Int64N(slide)})
		}
		at := r.Int64N(1000) - 500
		for _, g := range Grains(specs) {
			slice := g.Slice(at)
			if slice > at || at >= slice+g.Width {
				t.Fatalf("%+v: slice %d of %d", g, slice, at)
			}
			closed := at + r.Int64N(200) - 100
			var want []Window
			from, lastEnd := int64(math.MaxInt64), int64(math.MinInt64)
			for i, s := range g.Specs {
				for _, start := range windowsOf(s, at) {
					end := start + s.Size
					if slice < start || slice+g.Width > end {
						t.Fatalf("window %d-%d of %+v cuts the slice %d-%d", start, end, s, slice, slice+g.Width)
					}
					if end > closed {
						from = min(from, end)
						want = append(want, Window{g.Index[i], start, end})
					}
					lastEnd = max(lastEnd, end)
				}
			}
			if got := g.LastEnd(slice); got != lastEnd {
				t.Fatalf("%+v: last end of %d is %d, want %d", g, slice, got, lastEnd)
			}
			gotFrom, open := g.From(slice, closed)
			if open != (len(want) > 0) || open && gotFrom != from {
				t.Fatalf("%+v: from of %d at %d is %d, %t, want %d, %t", g, slice, closed, gotFrom, open, from, len(want) > 0)
			}
			if !open {
				continue
			}
			var got []Window
			for w := range g.Windows(slice, gotFrom) {
				got = append(got, w)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%+v: windows of %d (-want +got):\n%s", g, slice, diff)
			}
		}
	}
}

func TestGrainsShareSlicesOfEqualWidth(t *testing.T) {
	var got []string
	for _, g := range Grains(mustSpecs(t, "1m,5m/1m,1h,1h/1m,15m@5m,10m/5m")) {
		var text strings.Builder
		text.WriteString(Spec{g.Width, g.Width, g.Offset}.String() + ":")
		for i, s := range g.Specs {
			text.WriteString(" " + s.String())
			if mustSpecs(t, "1m,5m/1m,1h,1h/1m,15m@5m,10m/5m")[g.Index[i]] != s {
				t.Errorf("index of %s is %d", s, g.Index[i])
			}
		}
		got = append(got, text.String())
	}
	want := []string{"1m: 1m 5m/1m 1h/1m", "1h: 1h", "15m@5m: 15m@5m", "5m: 10m/5m"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grains (-want +got):\n%s", diff)
	}
}

func TestAcceptedIffEndPlusLatenessIsAfterTheWatermark(t *testing.T) {
	g := Grains(mustSpecs(t, "1m"))[0]
	for _, tt := range []struct {
		watermark int64
		open      bool
	}{
		{math.MinInt64, true}, {math.MinInt64 + 1, true},
		{3*minute - 1, true}, {3 * minute, false}, {math.MaxInt64, false},
	} {
		if _, open := g.From(0, Closed(tt.watermark, 2*minute)); open != tt.open {
			t.Errorf("watermark %d: window [0, 1m) with 2m of lateness is open: %t, want %t", tt.watermark, open, tt.open)
		}
	}
}
