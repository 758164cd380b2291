package knative

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Sequence: flows.knative.dev/v1
//
// Read: steps, channelTemplate (KafkaChannel), reply.
//
// Refused: no channelTemplate, since a cluster's default channel is in memory,
// and other channels.
//
// Sequence is an address whose events go through a list of steps: what one step
// answers with is what the next one gets. It is made of a KafkaChannel and a
// Subscription for each step, as a cluster's controller makes them.
type Sequence struct {
	Object
	// Channels and Subscriptions by step, which stand in the Set too. The first
	// channel is the address.
	Channels      []*KafkaChannel
	Subscriptions []*Subscription
}

type sequenceSpec struct {
	Steps []struct {
		Ref      *reference         `yaml:"ref"`
		URI      string             `yaml:"uri"`
		CACerts  unsupported        `yaml:"CACerts" why:"TLS between the components is not emulated"`
		Audience unsupported        `yaml:"audience" why:"OIDC between the components is not emulated"`
		Delivery *formattedDelivery `yaml:"delivery"`
	} `yaml:"steps"`
	ChannelTemplate *struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Spec       *kafkaChannelSpec `yaml:"spec"`
	} `yaml:"channelTemplate"`
	Reply *destination `yaml:"reply"`
}

func readSequence(root *yaml.Node, o *Object) (*Sequence, error) {
	var spec sequenceSpec
	if err := readObject(root, o, "flows.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	switch {
	case len(spec.Steps) == 0:
		return nil, o.Errorf("spec.steps", "want at least one step")
	case spec.ChannelTemplate == nil:
		return nil, o.Errorf("spec.channelTemplate", "is missing: without it a cluster takes its default channel, which keeps events in memory; want a KafkaChannel")
	}
	template := reference{APIVersion: spec.ChannelTemplate.APIVersion, Kind: spec.ChannelTemplate.Kind, Name: o.Name}
	if _, err := template.resolve(o, "spec.channelTemplate", "KafkaChannel"); err != nil {
		return nil, err
	}
	reply, err := resolveOptional(spec.Reply, o, "spec.reply")
	if err != nil {
		return nil, err
	}
	s := new(Sequence)
	for i, step := range spec.Steps {
		name := stepName(o.Name, i)
		channel := new(KafkaChannel)
		channelSpec := spec.ChannelTemplate.Spec
		if channelSpec == nil {
			channelSpec = new(kafkaChannelSpec)
		}
		if err := channel.read(channelSpec, o, "spec.channelTemplate.spec"); err != nil {
			return nil, err
		}
		channel.Object = o.owned("KafkaChannel", spec.ChannelTemplate.APIVersion, name)
		s.Channels = append(s.Channels, channel)

		field := fmt.Sprintf("spec.steps[%d]", i)
		sub := &Subscription{Object: o.owned("Subscription", "messaging.knative.dev/v1", name), Channel: name, step: field}
		to := destination{Ref: step.Ref, URI: step.URI}
		if sub.Subscriber, err = to.resolve(o, field); err != nil {
			return nil, err
		}
		if sub.delivery, err = step.Delivery.read(o, field+".delivery"); err != nil {
			return nil, err
		}
		if i < len(spec.Steps)-1 {
			sub.Reply = &Destination{Ref: &Reference{Kind: "KafkaChannel", Namespace: o.Namespace, Name: stepName(o.Name, i+1)}}
		} else {
			sub.Reply = reply
		}
		s.Subscriptions = append(s.Subscriptions, sub)
	}
	s.Object = *o
	return s, nil
}

func stepName(sequence string, step int) string {
	return fmt.Sprintf("%s-kn-sequence-%d", sequence, step)
}

// owned is the Object of what a controller makes for o. Its place is o's.
func (o *Object) owned(kind, apiVersion, name string) Object {
	return Object{File: o.File, Line: o.Line, APIVersion: apiVersion, Kind: kind, Name: name, Namespace: o.Namespace, lines: o.lines}
}
