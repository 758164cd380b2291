package knative

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// autoscaling begins the annotations of Serving's autoscaler.
const autoscaling = "autoscaling.knative.dev/"

// Metrics that the autoscaler can follow.
const (
	MetricConcurrency = "concurrency" // requests at a time
	MetricRPS         = "rps"         // requests a second
)

// Autoscaling is what the annotations of a Service's template say to Knative's
// autoscaler (KPA), besides the bounds on the number of instances. The zero value
// of a field stands for the autoscaler's default.
//
// They are validated as Serving validates them
// (pkg/apis/autoscaling/annotation_validation.go).
type Autoscaling struct {
	// Metric is MetricConcurrency, the default, or MetricRPS.
	Metric string
	// Target is how much of the metric one instance is wanted to have, of which
	// Utilization is aimed at. Default is containerConcurrency, or 100 requests at
	// a time, or 200 a second.
	Target float64
	// Utilization is a percentage, default 70.
	Utilization float64
	// Window is the time over which the metric is averaged, default 60 s.
	Window time.Duration
	// PanicWindow is the percentage of Window over which a burst is averaged,
	// default 10.
	PanicWindow float64
	// PanicThreshold is the percentage of the present instances from which a burst
	// is one, default 200.
	PanicThreshold float64
	// ScaleDownDelay is how long fewer instances have to be enough before there are
	// fewer; default is not at all.
	ScaleDownDelay time.Duration
	// ZeroRetention is the least time for which the last instance stays when it is
	// not wanted.
	ZeroRetention time.Duration
	// ActivationScale is the least number of instances when there are any; default
	// is 1.
	ActivationScale int
	// BurstCapacity is how many requests at a time have to have room beyond the
	// present ones, or else the activator is in the path: 0 is only without an
	// instance, -1 always. nil is the default, 211.
	BurstCapacity *float64
}

// Bounds on windows and targets (serving pkg/apis/autoscaling/register.go).
const (
	minWindow = 6 * time.Second
	maxWindow = time.Hour
	minTarget = 0.01
	maxTarget = 1e6 // ours: what no instance reaches
)

// scalingAnnotation reads the value of one annotation into a Service. The text of
// an error says what is wanted.
type scalingAnnotation struct {
	name  string
	alias string // the name that it had before, "" when there is none
	read  func(s *Service, value string) (wrong string)
}

// scalingAnnotations in the order in which they are checked.
func scalingAnnotations() []scalingAnnotation {
	return []scalingAnnotation{
		{"class", "", func(_ *Service, value string) string {
			if value != "kpa.autoscaling.knative.dev" {
				return "not emulated; want kpa.autoscaling.knative.dev"
			}
			return ""
		}},
		{"min-scale", "minScale", func(s *Service, value string) string { return whole(value, 0, &s.MinScale) }},
		{"max-scale", "maxScale", func(s *Service, value string) string { return whole(value, 0, &s.MaxScale) }},
		{"initial-scale", "initialScale", func(s *Service, value string) string {
			if wrong := whole(value, 0, &s.InitialScale); wrong != "" || s.InitialScale > 0 {
				return wrong
			}
			return "clusters refuse it, unless allow-zero-initial-scale is set; want 1 or more"
		}},
		{"activation-scale", "activationScale", func(s *Service, value string) string { return whole(value, 2, &s.Autoscaling.ActivationScale) }},
		{"metric", "", func(s *Service, value string) string {
			if s.Autoscaling.Metric = value; value != MetricConcurrency && value != MetricRPS {
				return "no metric of Knative's autoscaler; want concurrency or rps"
			}
			return ""
		}},
		{"metric-aggregation-algorithm", "metricAggregationAlgorithm", func(_ *Service, value string) string {
			if value != "linear" {
				return "not emulated; want linear"
			}
			return ""
		}},
		{"target", "", func(s *Service, value string) string {
			if wrong := number(value, minTarget, maxTarget, &s.Autoscaling.Target); wrong != "" {
				return "want a number, 0.01 or more"
			}
			return ""
		}},
		{"target-utilization-percentage", "targetUtilizationPercentage", func(s *Service, value string) string {
			return number(value, 1, 100, &s.Autoscaling.Utilization)
		}},
		{"panic-window-percentage", "panicWindowPercentage", func(s *Service, value string) string {
			return number(value, 1, 100, &s.Autoscaling.PanicWindow)
		}},
		{"panic-threshold-percentage", "panicThresholdPercentage", func(s *Service, value string) string {
			return number(value, 110, 1000, &s.Autoscaling.PanicThreshold)
		}},
		{"target-burst-capacity", "targetBurstCapacity", func(s *Service, value string) string {
			s.Autoscaling.BurstCapacity = new(float64)
			if number(value, 0, math.MaxFloat64, s.Autoscaling.BurstCapacity) != "" && *s.Autoscaling.BurstCapacity != -1 {
				return "want a number, 0 or more, or -1 for any"
			}
			return ""
		}},
		{"window", "", func(s *Service, value string) string {
			return seconds(value, minWindow, &s.Autoscaling.Window)
		}},
		{"scale-down-delay", "scaleDownDelay", func(s *Service, value string) string {
			return seconds(value, 0, &s.Autoscaling.ScaleDownDelay)
		}},
		{"scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod", func(s *Service, value string) string {
			return duration(value, 0, &s.Autoscaling.ZeroRetention)
		}},
	}
}

// whole reads a whole number of at least least.
func whole(value string, least int, to *int) (wrong string) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || int(n) < least {
		return "want a whole number, " + strconv.Itoa(least) + " or more"
	}
	*to = int(n)
	return ""
}

func number(value string, least, most float64, to *float64) (wrong string) {
	n, err := strconv.ParseFloat(value, 64)
	*to = n
	if err != nil || !(n >= least && n <= most) { // also what is no number
		return "want a number from " + strconv.FormatFloat(least, 'g', -1, 64) + " to " + strconv.FormatFloat(most, 'g', -1, 64)
	}
	return ""
}

// duration reads one as Go writes it.
func duration(value string, least time.Duration, to *time.Duration) (wrong string) {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return "want a duration such as 90s"
	case d < least || d > maxWindow:
		return "want a duration from " + least.String() + " to " + maxWindow.String()
	}
	*to = d
	return ""
}

// seconds is duration without fractions of a second.
func seconds(value string, least time.Duration, to *time.Duration) (wrong string) {
	if wrong = duration(value, least, to); wrong == "" && to.Truncate(time.Second) != *to {
		return "want whole seconds"
	}
	return wrong
}

// checkNoScaling refuses annotations of the autoscaler on the Service itself, as
// Serving does: they would do nothing there.
func (o *Object) checkNoScaling() error {
	for _, name := range slices.Sorted(maps.Keys(o.Annotations)) {
		if strings.HasPrefix(name, autoscaling) {
			return o.Errorf("metadata.annotations."+name, "a cluster refuses it here: it belongs to spec.template.metadata.annotations")
		}
	}
	return nil
}

// readScale reads the annotations of a template.
func (s *Service) readScale(have map[string]string, o *Object) error {
	const at = "spec.template.metadata.annotations"
	known := maps.Clone(serviceAnnotations)
	list := scalingAnnotations()
	for _, a := range list {
		known[autoscaling+a.name] = true
		if a.alias != "" {
			known[autoscaling+a.alias] = true
		}
	}
	if err := o.checkAnnotationsAt(at, have, known); err != nil {
		return err
	}
	s.InitialScale = 1
	for _, a := range list {
		name := autoscaling + a.name
		value, ok := have[name]
		if !ok && a.alias != "" {
			name = autoscaling + a.alias
			value, ok = have[name]
		}
		if !ok {
			continue
		}
		if wrong := a.read(s, value); wrong != "" {
			return o.Errorf(at+"."+name, "%q: %s", value, wrong)
		}
	}
	slices.Sort(o.Ignored)
	activation := s.Autoscaling.ActivationScale
	switch {
	case s.MaxScale > 0 && s.MinScale > s.MaxScale:
		return o.Errorf(at+"."+autoscaling+"max-scale", "%d is less than min-scale %d", s.MaxScale, s.MinScale)
	case s.MaxScale > 0 && s.InitialScale > s.MaxScale:
		return o.Errorf(at+"."+autoscaling+"initial-scale", "%d is more than max-scale %d", s.InitialScale, s.MaxScale)
	case activation > 0 && s.MinScale > activation:
		return o.Errorf(at+"."+autoscaling+"activation-scale", "%d is less than min-scale %d", activation, s.MinScale)
	case activation > 0 && s.MaxScale > 0 && activation > s.MaxScale:
		return o.Errorf(at+"."+autoscaling+"activation-scale", "%d is more than max-scale %d", activation, s.MaxScale)
	}
	return nil
}
