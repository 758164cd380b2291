package knative

import (
	"math"
	"time"
)

// Delivery is how an event is sent, again and finally elsewhere. It is what is
// in force: the defaults are filled in.
type Delivery struct {
	// Retry is the number of attempts after the first.
	Retry int
	// Backoff is exponential (Delay x 2^n) or linear (Delay x n); n is 1 before
	// the first repetition.
	Backoff BackoffPolicy
	Delay   time.Duration
	// Timeout bounds one attempt.
	Timeout time.Duration
	// DeadLetterSink gets what could not be delivered; nil: it is lost.
	DeadLetterSink *Destination
}

// BackoffPolicy is how the pause before a repetition grows.
type BackoffPolicy string

// The policies.
const (
	BackoffExponential BackoffPolicy = "exponential"
	BackoffLinear      BackoffPolicy = "linear"
)

// Pause is the time before repetition n, which counts from 1. It has no jitter
// and no bound, as on a cluster.
func (d Delivery) Pause(n int) time.Duration {
	if d.Backoff == BackoffLinear {
		return d.Delay * time.Duration(n)
	}
	p := float64(d.Delay) * math.Pow(2, float64(n))
	if p > math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(p)
}

// The defaults of a delivery that is not given at all, and of the parts of one
// that is.
const (
	defaultRetry           = 10
	defaultDelay           = 300 * time.Millisecond
	defaultDelayOfPartial  = 200 * time.Millisecond
	defaultDeliveryTimeout = 600 * time.Second
)

// delivery as manifests hold it. retryAfterMax is known and refused with the
// reason; format is not in the schema of KafkaSource.
type delivery struct {
	DeadLetterSink *destination `yaml:"deadLetterSink"`
	Retry          *int         `yaml:"retry"`
	BackoffPolicy  string       `yaml:"backoffPolicy"`
	BackoffDelay   *Duration    `yaml:"backoffDelay"`
	Timeout        *Duration    `yaml:"timeout"`
	RetryAfterMax  *Duration    `yaml:"retryAfterMax"`
}

// resolve fills in the defaults. They are not merged: a delivery that sets only
// a dead letter sink has no retries.
func (d *delivery) resolve(o *Object, field string) (Delivery, error) {
	if d == nil {
		return Delivery{Retry: defaultRetry, Backoff: BackoffExponential, Delay: defaultDelay, Timeout: defaultDeliveryTimeout}, nil
	}
	out := Delivery{Backoff: BackoffExponential, Delay: defaultDelayOfPartial, Timeout: defaultDeliveryTimeout}
	if d.RetryAfterMax != nil {
		return out, o.Errorf(field+".retryAfterMax", "clusters refuse it: the feature delivery-retryafter is off by default, and the Kafka data plane has no use for it")
	}
	if d.Retry != nil {
		if *d.Retry < 0 {
			return out, o.Errorf(field+".retry", "%d is negative", *d.Retry)
		}
		out.Retry = *d.Retry
	}
	switch p := BackoffPolicy(d.BackoffPolicy); p {
	case "":
	case BackoffExponential, BackoffLinear:
		out.Backoff = p
	default:
		return out, o.Errorf(field+".backoffPolicy", "%q: want exponential or linear", d.BackoffPolicy)
	}
	if d.BackoffDelay != nil {
		out.Delay = time.Duration(*d.BackoffDelay)
	}
	if d.Timeout != nil && *d.Timeout != 0 {
		out.Timeout = time.Duration(*d.Timeout)
	}
	if d.DeadLetterSink != nil {
		dest, err := d.DeadLetterSink.resolve(o, field+".deadLetterSink")
		if err != nil {
			return out, err
		}
		out.DeadLetterSink = &dest
	}
	return out, nil
}
