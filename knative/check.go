package knative

import "errors"

// done checks what no object can check alone, and fills in what one object has
// from another.
func (l *loader) done(errs []error) (*Set, error) {
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	l.resolve()
	return &l.Set, nil
}

// check refuses names and topics that are declared twice, and references to
// objects that are not there.
func (s *Set) check() error {
	return errors.Join(
		s.checkNames(),
		s.checkTopics(),
		s.checkGroups(),
		s.checkBindings(),
		s.checkReferences(),
	)
}

// objects returns the declared objects by kind, in the order of the manifests.
func (s *Set) objects() []*Object {
	var all []*Object
	all = appendObjects(all, s.Services)
	all = appendObjects(all, s.Sources)
	all = appendObjects(all, s.Sinks)
	all = appendObjects(all, s.Topics)
	all = appendObjects(all, s.Brokers)
	all = appendObjects(all, s.Triggers)
	all = appendObjects(all, s.Channels)
	all = appendObjects(all, s.Subscriptions)
	all = appendObjects(all, s.Sequences)
	all = appendObjects(all, s.Pings)
	return appendObjects(all, s.Bindings)
}

func appendObjects[T interface{ self() *Object }](all []*Object, list []T) []*Object {
	for _, v := range list {
		all = append(all, v.self())
	}
	return all
}

func (s *Set) checkNames() error {
	type key struct{ kind, namespace, name string }
	var errs []error
	seen := make(map[key]*Object)
	for _, o := range s.objects() {
		k := key{o.Kind, o.Namespace, o.Name}
		if first := seen[k]; first != nil {
			errs = append(errs, o.Errorf("metadata.name", "%s is already declared at %s:%d", o, first.File, first.Line))
			continue
		}
		seen[k] = o
	}
	return errors.Join(errs...)
}

func (s *Set) checkTopics() error {
	var errs []error
	topics := make(map[string]*Object)
	for _, v := range s.Topics {
		if first := topics[v.Topic]; first != nil {
			errs = append(errs, v.Errorf("spec.topicName", "topic %q is already declared at %s:%d", v.Topic, first.File, first.Line))
		}
		topics[v.Topic] = &v.Object
	}
	return errors.Join(errs...)
}

func (s *Set) checkGroups() error {
	var errs []error
	groups := make(map[string]*Object)
	for _, v := range s.Sources {
		if first := groups[v.ConsumerGroup]; first != nil && v.ConsumerGroup != "" {
			errs = append(errs, v.Errorf("spec.consumerGroup", "group %q is used by the KafkaSource at %s:%d too: each would get a part of the events",
				v.ConsumerGroup, first.File, first.Line))
		}
		groups[v.ConsumerGroup] = &v.Object
	}
	return errors.Join(errs...)
}

// checkBindings refuses two sinks for one Service, of which a cluster takes
// either.
func (s *Set) checkBindings() error {
	var errs []error
	for _, service := range s.Services {
		var first *SinkBinding
		for _, b := range s.Bindings {
			switch {
			case !b.binds(service):
			case first == nil:
				first = b
			default:
				errs = append(errs, b.Errorf("spec.subject", "%s is already bound by %s at %s:%d", service, first, first.File, first.Line))
			}
		}
	}
	for _, b := range s.Bindings {
		if b.Subject != "" && s.Service(b.Namespace, b.Subject) == nil {
			errs = append(errs, b.Errorf("spec.subject.name", "there is no Service %q in namespace %q", b.Subject, b.Namespace))
		}
	}
	return errors.Join(errs...)
}

func (s *Set) checkReferences() error {
	var errs []error
	refer := func(o *Object, field string, d *Destination) {
		if d == nil || d.Ref == nil || s.has(*d.Ref) {
			return
		}
		errs = append(errs, o.Errorf(field+".ref.name", "there is no %s %q in namespace %q", d.Ref.Kind, d.Ref.Name, d.Ref.Namespace))
	}
	for _, v := range s.Sources {
		refer(&v.Object, "spec.sink", &v.Sink)
		refer(&v.Object, "spec.delivery.deadLetterSink", v.Delivery.DeadLetterSink)
	}
	for _, v := range s.Pings {
		refer(&v.Object, "spec.sink", &v.Sink)
	}
	for _, v := range s.Bindings {
		refer(&v.Object, "spec.sink", &v.Sink)
	}
	for _, v := range s.Channels {
		refer(&v.Object, "spec.delivery.deadLetterSink", v.delivery.sink())
	}
	for _, v := range s.Subscriptions {
		if s.Channel(v.Namespace, v.Channel) == nil {
			errs = append(errs, v.Errorf("spec.channel.name", "there is no KafkaChannel %q in namespace %q", v.Channel, v.Namespace))
		}
		refer(&v.Object, v.subscriberField(), &v.Subscriber)
		refer(&v.Object, "spec.reply", v.Reply)
		refer(&v.Object, v.deliveryField()+".deadLetterSink", v.delivery.sink())
	}
	for _, v := range s.Brokers {
		refer(&v.Object, "spec.delivery.deadLetterSink", v.delivery.sink())
	}
	for _, v := range s.Triggers {
		if s.Broker(v.Namespace, v.Broker) == nil {
			errs = append(errs, v.Errorf("spec.broker", "there is no Broker %q in namespace %q", v.Broker, v.Namespace))
		}
		refer(&v.Object, "spec.subscriber", &v.Subscriber)
		refer(&v.Object, "spec.delivery.deadLetterSink", v.delivery.sink())
	}
	return errors.Join(errs...)
}

// sink is the dead letter sink of d, nil without one.
func (d *delivery) sink() *Destination {
	if d == nil {
		return nil
	}
	return d.deadLetter
}

// resolve fills in the deliveries that two objects decide together.
func (s *Set) resolve() {
	for _, v := range s.Subscriptions {
		v.Delivery = v.delivery.over(s.Channel(v.Namespace, v.Channel).delivery).resolve(defaultDelayOfChannel)
	}
	for _, v := range s.Triggers {
		d := v.delivery
		if d == nil {
			d = s.Broker(v.Namespace, v.Broker).delivery
		}
		v.Delivery = d.resolve(defaultDelayOfPartial)
	}
}

func (s *Set) has(r Reference) bool {
	switch r.Kind {
	case "Service":
		return s.Service(r.Namespace, r.Name) != nil
	case "KafkaSink":
		return s.Sink(r.Namespace, r.Name) != nil
	case "KafkaChannel":
		return s.Channel(r.Namespace, r.Name) != nil
	case "Broker":
		return s.Broker(r.Namespace, r.Name) != nil
	case "Sequence":
		return s.Sequence(r.Namespace, r.Name) != nil
	}
	return false
}
