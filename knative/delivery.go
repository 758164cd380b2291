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

// What is in force where a delivery says nothing.
const (
	// A KafkaSource without a delivery.
	defaultRetry = 10
	defaultDelay = 300 * time.Millisecond
	// A delivery with retries and no delay, of a KafkaSource or Trigger.
	defaultDelayOfPartial = 200 * time.Millisecond
	// The same of a KafkaChannel's subscription (CHANNEL_DEFAULT_BACKOFF_DELAY_MS).
	defaultDelayOfChannel = time.Second
	// An attempt without a timeout.
	defaultDeliveryTimeout = 600 * time.Second
)

// delivery as manifests of KafkaSource hold it. retryAfterMax is known and
// refused with the reason; format is not in the schema of KafkaSource.
type delivery struct {
	DeadLetterSink *destination `yaml:"deadLetterSink"`
	Retry          *int32       `yaml:"retry"`
	BackoffPolicy  *string      `yaml:"backoffPolicy"`
	BackoffDelay   *Duration    `yaml:"backoffDelay"`
	Timeout        *Duration    `yaml:"timeout"`
	RetryAfterMax  unsupported  `yaml:"retryAfterMax" why:"clusters refuse it: the feature delivery-retryafter is off by default, and the Kafka data plane has no use for it"`

	deadLetter *Destination // DeadLetterSink, once read
}

// check refuses what a cluster's admission refuses in d, found at field of o, and
// resolves the dead letter sink. It warns about what a cluster takes and nobody
// can mean.
func (d *delivery) check(o *Object, field string) error {
	if d == nil {
		return nil
	}
	if d.Retry != nil && *d.Retry < 0 {
		return o.Errorf(field+".retry", "%d is negative", *d.Retry)
	}
	if d.BackoffPolicy != nil {
		switch BackoffPolicy(*d.BackoffPolicy) {
		case BackoffExponential, BackoffLinear:
		default:
			return o.Errorf(field+".backoffPolicy", "%q: want exponential or linear", *d.BackoffPolicy)
		}
	}
	if d.Timeout != nil && *d.Timeout == 0 {
		return o.Errorf(field+".timeout", "want more than nothing; without it an attempt may take %v", defaultDeliveryTimeout)
	}
	if d.BackoffDelay != nil && *d.BackoffDelay == 0 {
		o.warnf(field+".backoffDelay", "a delay of nothing means no retry: the data plane cannot set a timer of 0 ms, and the event goes to the dead letter sink at once, without the answer's code and data")
	}
	if d.DeadLetterSink != nil {
		dest, err := d.DeadLetterSink.resolve(o, field+".deadLetterSink")
		if err != nil {
			return err
		}
		d.deadLetter = &dest
	}
	return nil
}

// resolve returns what is in force. Nothing is merged with the defaults of a
// delivery that is not given: one that sets only a dead letter sink has no
// retries. delay is that of a delivery with retries that gives none.
func (d *delivery) resolve(delay time.Duration) Delivery {
	out := Delivery{Backoff: BackoffExponential, Delay: delay, Timeout: defaultDeliveryTimeout}
	if d == nil {
		return out
	}
	if d.Retry != nil {
		out.Retry = int(*d.Retry)
	}
	if d.BackoffPolicy != nil {
		out.Backoff = BackoffPolicy(*d.BackoffPolicy)
	}
	if d.BackoffDelay != nil {
		out.Delay = time.Duration(*d.BackoffDelay)
	}
	if d.Timeout != nil {
		out.Timeout = time.Duration(*d.Timeout)
	}
	out.DeadLetterSink = d.deadLetter
	return out
}

// over returns d with what it does not set taken from base, field by field, as
// a channel's subscriptions have it.
func (d *delivery) over(base *delivery) *delivery {
	switch {
	case d == nil:
		return base
	case base == nil:
		return d
	}
	return &delivery{
		Retry:         or(d.Retry, base.Retry),
		BackoffPolicy: or(d.BackoffPolicy, base.BackoffPolicy),
		BackoffDelay:  or(d.BackoffDelay, base.BackoffDelay),
		Timeout:       or(d.Timeout, base.Timeout),
		deadLetter:    or(d.deadLetter, base.deadLetter),
	}
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// formattedDelivery is the delivery of the kinds whose schema has format.
type formattedDelivery struct {
	DeadLetterSink *destination `yaml:"deadLetterSink"`
	Retry          *int32       `yaml:"retry"`
	BackoffPolicy  *string      `yaml:"backoffPolicy"`
	BackoffDelay   *Duration    `yaml:"backoffDelay"`
	Timeout        *Duration    `yaml:"timeout"`
	RetryAfterMax  unsupported  `yaml:"retryAfterMax" why:"clusters refuse it: the feature delivery-retryafter is off by default, and the Kafka data plane has no use for it"`
	Format         *string      `yaml:"format"`
}

// read checks d, found at field of o, and returns it without the format.
func (d *formattedDelivery) read(o *Object, field string) (*delivery, error) {
	if d == nil {
		return nil, nil
	}
	if d.Format != nil && *d.Format != "binary" {
		return nil, o.Errorf(field+".format", "%q is not emulated: the Kafka data plane delivers in binary mode whatever it says", *d.Format)
	}
	out := &delivery{DeadLetterSink: d.DeadLetterSink, Retry: d.Retry, BackoffPolicy: d.BackoffPolicy, BackoffDelay: d.BackoffDelay, Timeout: d.Timeout}
	return out, out.check(o, field)
}
