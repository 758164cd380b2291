package window

import "iter"

// Grain is a division of time into slices of Width, shifted by Offset, and the
// windows that are made of them.
//
// A slice lies in several windows, which close one after the other. An event
// that comes when the first of them are closed belongs to the later ones only.
// It must not be added to what the earlier ones are made of, or their results
// would depend on when exactly they were read. So the content of a slice is kept
// apart by From, the end of the first window that counts it: the window that
// ends at E is the merge of its slices' parts with From <= E. Nearly all events
// are in time and in the first part.
type Grain struct {
	Width  int64
	Offset int64
	Specs  []Spec
	// Index holds for each of Specs its place in the list given to Grains.
	Index []int
}

// Grains arranges specs in as few grains as there are different slices. The
// slice of a spec is the greatest common divisor of its size and slide: windows
// of very different sizes do not share one, because the slices of the smallest
// would then be kept for as long as the largest, for every key.
func Grains(specs []Spec) []Grain {
	var grains []Grain
next:
	for i, spec := range specs {
		width := gcd(spec.Size, spec.Slide)
		offset := spec.Offset % width
		for g := range grains {
			if grains[g].Width == width && grains[g].Offset == offset {
				grains[g].Specs = append(grains[g].Specs, spec)
				grains[g].Index = append(grains[g].Index, i)
				continue next
			}
		}
		grains = append(grains, Grain{Width: width, Offset: offset, Specs: []Spec{spec}, Index: []int{i}})
	}
	return grains
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Slice returns the start of the slice that t falls in.
func (g *Grain) Slice(t int64) int64 { return Floor(t, g.Width, g.Offset) }

// LastEnd returns the end of the last window that contains the slice: after it
// is closed, nothing needs the slice any more.
func (g *Grain) LastEnd(slice int64) int64 {
	last := g.Specs[0].LastStart(slice) + g.Specs[0].Size
	for _, spec := range g.Specs[1:] {
		last = max(last, spec.LastStart(slice)+spec.Size)
	}
	return last
}

// From returns the end of the first window containing the slice that is still
// open when all that end at or before closed are closed, and false when none is.
func (g *Grain) From(slice, closed int64) (int64, bool) {
	var from int64
	found := false
	for _, spec := range g.Specs {
		end := spec.FirstStart(slice) + spec.Size
		if end <= closed {
			end += ((closed-end)/spec.Slide + 1) * spec.Slide
			if end > spec.LastStart(slice)+spec.Size {
				continue
			}
		}
		if !found || end < from {
			from, found = end, true
		}
	}
	return from, found
}

// Window is one window: the place of its spec in the list given to Grains, and
// its bounds.
type Window struct {
	Spec       int
	Start, End int64
}

// Windows walks the windows that contain the slice and end at from or later, by
// spec and then by start.
func (g *Grain) Windows(slice, from int64) iter.Seq[Window] {
	return func(yield func(Window) bool) {
		for i, spec := range g.Specs {
			last := spec.LastStart(slice)
			for start := spec.FirstStart(slice); start <= last; start += spec.Slide {
				if start+spec.Size < from {
					continue
				}
				if !yield(Window{Spec: g.Index[i], Start: start, End: start + spec.Size}) {
					return
				}
			}
		}
	}
}
