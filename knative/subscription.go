package knative

import (
	"cmp"

	"go.yaml.in/yaml/v3"
)

// Subscription: messaging.knative.dev/v1
//
// Read: channel (a KafkaChannel), subscriber, reply, delivery.
//
// Refused: other channels, a channel in another namespace, no subscriber.
//
// Subscription sends each event of a channel to a subscriber, in order per
// partition, and what that answers to another destination.
type Subscription struct {
	Object
	// Channel is the name of the KafkaChannel, in the same namespace.
	Channel    string
	Subscriber Destination
	// Reply gets the events that the subscriber answers with; nil: they are
	// dropped.
	Reply *Destination
	// Delivery is that of the Subscription over that of the channel. Without
	// either there are no retries.
	Delivery Delivery

	delivery *delivery
	step     string // of a Sequence: the field that it was made of; else ""
}

// The fields of the manifest that say what a Subscription does.
func (s *Subscription) subscriberField() string { return cmp.Or(s.step, "spec.subscriber") }
func (s *Subscription) deliveryField() string   { return cmp.Or(s.step, "spec") + ".delivery" }

// ConsumerGroup is the group that the events are read with. On a cluster the
// Subscription's uid is its last part.
func (s *Subscription) ConsumerGroup() string {
	return "kafka." + s.Namespace + "." + s.Channel + "." + s.Name
}

type subscriptionSpec struct {
	Channel    *reference         `yaml:"channel"`
	Subscriber *destination       `yaml:"subscriber"`
	Reply      *destination       `yaml:"reply"`
	Delivery   *formattedDelivery `yaml:"delivery"`
}

func readSubscription(root *yaml.Node, o *Object) (*Subscription, error) {
	var spec subscriptionSpec
	if err := readObject(root, o, "messaging.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	switch {
	case spec.Channel == nil:
		return nil, o.Errorf("spec.channel", "is missing")
	case spec.Subscriber == nil:
		return nil, o.Errorf("spec.subscriber", "is missing; a channel that only replies is not emulated")
	}
	channel, err := spec.Channel.resolve(o, "spec.channel", "KafkaChannel")
	if err != nil {
		return nil, err
	}
	if channel.Namespace != o.Namespace {
		return nil, o.Errorf("spec.channel.namespace", "%q: want the Subscription's own namespace, %q", channel.Namespace, o.Namespace)
	}
	s := &Subscription{Channel: channel.Name}
	if s.Subscriber, err = spec.Subscriber.resolve(o, "spec.subscriber"); err != nil {
		return nil, err
	}
	if s.Reply, err = resolveOptional(spec.Reply, o, "spec.reply"); err != nil {
		return nil, err
	}
	if s.delivery, err = spec.Delivery.read(o, "spec.delivery"); err != nil {
		return nil, err
	}
	s.Object = *o
	return s, nil
}
