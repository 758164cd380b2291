package dispatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events/kafkarecord"
)

// Deliverer delivers the records of one consumer. Its methods may be called at
// the same time.
type Deliverer struct {
	failed    func()
	egress    Egress
	mapping   kafkarecord.Mapping
	plain     bool
	transport http.RoundTripper
	topic     string
	produce   func(context.Context, *kgo.Record) error
	overrides []struct{ name, value string }
	blank     *http.Request // what all requests have in common
}

// Config is what a deliverer is made with.
type Config struct {
	Egress Egress
	// Mapping says how a record becomes an event.
	Mapping kafkarecord.Mapping
	// Plain makes an event of a record that is none; else it is discarded.
	Plain bool
	// Transport sends the requests, as a [Transport] does. It must not follow
	// redirects, nor keep the header of a request whose answer has been read.
	Transport http.RoundTripper
	// Topic and Produce are where replies go that go to a topic.
	Topic   string
	Produce func(context.Context, *kgo.Record) error
	// Failed is called for each attempt that did not succeed; may be nil.
	Failed func()
}

// New makes a deliverer.
func New(c Config) *Deliverer {
	d := &Deliverer{egress: c.Egress, mapping: c.Mapping, plain: c.Plain, transport: c.Transport, topic: c.Topic, produce: c.Produce, failed: c.Failed}
	d.mapping.Place, d.mapping.Reserialize = true, true
	d.blank = &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	d.egress.Subscriber.parse()
	d.egress.Reply.target.parse()
	if c.Egress.DeadLetter != nil {
		dead := *c.Egress.DeadLetter
		dead.parse()
		d.egress.DeadLetter = &dead
	}
	for _, name := range slices.Sorted(maps.Keys(c.Egress.Overrides)) {
		d.overrides = append(d.overrides, struct{ name, value string }{name, c.Egress.Overrides[name]})
	}
	return d
}

// End is how the work on a record ended.
type End uint8

// The ends. Of all but the last two the position moves on.
const (
	Delivered    End = iota // the subscriber has it
	DeadLettered            // the dead letter sink has it
	Lost                    // nobody has it
	NoEvent                 // the record is none, and was discarded
	Filtered                // the filter does not take it
	Cut                     // ctx has ended: nothing is known
	Stuck                   // it never ends, as it would not on a cluster
)

// Result is how the work on a record ended.
type Result struct {
	End End
	// Why it was not delivered, for the log.
	Why string
	// Last is what the last attempt before that came to, "" without.
	Last string
}

// Deliver delivers one record. discardPlain is true when the record came in a
// poll whose plain records are lost.
func (d *Deliverer) Deliver(ctx context.Context, rec *kgo.Record, discardPlain bool) Result {
	m, ok := readRecord(rec, d.mapping, d.plain && !discardPlain)
	if !ok {
		why := "it is no CloudEvent"
		switch {
		case HasNullHeader(rec):
			why = "a header has a null value"
		case d.plain && discardPlain:
			why = "a record of the same poll has a header with a null value"
		}
		return Result{End: NoEvent, Why: why}
	}
	for _, o := range d.overrides {
		if err := m.setExtension(o.name, o.value); err != nil {
			return Result{End: Stuck, Why: fmt.Sprintf("ceOverrides: %v", err)}
		}
	}
	if d.egress.Filter != nil {
		switch ok, err := d.egress.Filter.match(&m); {
		case err != nil:
			return Result{End: Filtered, Why: err.Error()}
		case !ok:
			return Result{End: Filtered}
		}
	}
	r := newRequest(&m, d.egress.Namespace)
	defer r.release()
	o, err := d.sendAndReply(ctx, &d.egress.Subscriber, r)
	switch {
	case err != nil:
		return Result{End: Cut}
	case o.ok():
		return Result{End: Delivered}
	case d.egress.DeadLetter == nil:
		return Result{End: Lost, Why: "there is no dead letter sink", Last: o.String()}
	}
	last := o.String()
	dead, err := deadLetter(&m, d.egress.Subscriber.URL, &o)
	if err != nil {
		return Result{End: Stuck, Why: err.Error(), Last: last}
	}
	r = newRequest(&dead, d.egress.Namespace)
	defer r.release()
	o, err = d.sendAndReply(ctx, d.egress.DeadLetter, r)
	switch {
	case errors.Is(err, errCut):
		return Result{End: Cut}
	case o.ok():
		return Result{End: DeadLettered, Why: last}
	}
	return Result{End: Lost, Why: "the dead letter sink did not take it", Last: o.String()}
}

// sendAndReply sends r and passes on the reply. The error is errCut.
func (d *Deliverer) sendAndReply(ctx context.Context, target *Target, r *request) (outcome, error) {
	o, err := d.send(ctx, target, r, d.egress.Reply.kind != discardReply)
	if err != nil || !o.ok() {
		return o, err
	}
	return d.handleReply(ctx, o)
}
