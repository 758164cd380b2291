package dispatch

import (
	"context"
	"net/url"
)

// Target is where events are sent.
type Target struct {
	// URL as configured. It is what a dead letter names.
	URL string
	// Address returns the URL to send one request to, when it is not URL: it
	// chooses among instances, and may wait for one until ctx is done.
	Address func(ctx context.Context) (string, error)

	parsed *url.URL // URL, when it is one
}

// parse makes that URL need not be parsed for each request.
func (t *Target) parse() {
	if u, err := url.Parse(t.URL); err == nil {
		t.parsed = u
	}
}

// address returns the URL to send one request to. It is not to be changed.
func (t *Target) address(ctx context.Context) (*url.URL, error) {
	text := t.URL
	switch {
	case t.Address != nil:
		var err error
		if text, err = t.Address(ctx); err != nil {
			return nil, err
		}
	case t.parsed != nil:
		return t.parsed, nil
	}
	return url.Parse(text)
}

// Egress says what is done with the events of one consumer, as the control plane
// of Knative tells the data plane.
type Egress struct {
	// Namespace of the resource, sent as Kn-Namespace.
	Namespace string
	// Subscriber is who the events are for.
	Subscriber Target
	// Delivery is how often and with which pauses an event is sent. Its dead
	// letter sink is not looked at.
	Delivery Delivery
	// DeadLetter gets what could not be delivered; nil: it is lost.
	DeadLetter *Target
	// Reply is what becomes of an event in the answer. The zero value discards
	// it, as a KafkaSource does.
	Reply Reply
	// Filter chooses events; nil takes all. The others are done with.
	Filter Filter
	// Overrides are extensions that are put on every event (ceOverrides).
	Overrides map[string]string
}

// Reply says what becomes of the event that a subscriber or a dead letter sink
// answers with.
type Reply struct {
	kind   replyKind
	target Target
}

type replyKind uint8

const (
	discardReply replyKind = iota
	replyToURL
	replyToTopic
)

// Discard discards replies, whatever they are.
func Discard() Reply { return Reply{} }

// ReplyTo sends replies to a target, as a Subscription with a reply does. A reply
// of its own is discarded.
func ReplyTo(target Target) Reply { return Reply{kind: replyToURL, target: target} }

// ReplyToTopic writes replies to the first of the topics that are consumed, as a
// Trigger does, with the extension partitionkey as key.
func ReplyToTopic() Reply { return Reply{kind: replyToTopic} }

// ToTopic reports whether replies are written to a topic.
func (r Reply) ToTopic() bool { return r.kind == replyToTopic }
