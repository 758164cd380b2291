package main

import (
	"context"
	"errors"
	_ "time/tzdata" // PingSources name time zones, and a machine may know none

	"datasurge/emulator/dispatch"
	"datasurge/emulator/ping"
	"datasurge/emulator/sink"
	"datasurge/emulator/source"
	"datasurge/knative"
)

// What Eventing does beside KafkaSource and KafkaSink: KafkaChannels and Brokers
// are addresses whose events go to a topic, Subscriptions and Triggers consume
// it. They are the same receiver and the same dispatcher.

// The addresses of channels and brokers. On a cluster each is a host of its own.
const (
	channelPath = "_channel/"
	brokerPath  = "_broker/"
)

// startReceivers makes the addresses of KafkaChannels and Brokers.
func (e *emulator) startReceivers() {
	for _, c := range e.set.Channels {
		e.startReceiver(c)
	}
	for _, b := range e.set.Brokers {
		e.startReceiver(b)
	}
}

// startReceiver makes the address of an object that takes events into a topic.
// Others have none.
func (e *emulator) startReceiver(object any) {
	switch o := object.(type) {
	case *knative.KafkaSink:
		e.routes.setSink(o, sink.New(o, e.sinks, e.log))
	case *knative.KafkaChannel:
		e.routes.setReceiver(channelPath+o.Namespace+"/"+o.Name, sink.ForTopic(o.String(), o.Topic(), e.sinks, e.log))
	case *knative.Broker:
		e.routes.setReceiver(brokerPath+o.Namespace+"/"+o.Name, sink.ForTopic(o.String(), o.Topic, e.sinks, e.log))
	}
}

// stopReceiver takes the address of an object away.
func (e *emulator) stopReceiver(object any) {
	switch o := object.(type) {
	case *knative.KafkaSink:
		e.routes.setSink(o, nil)
	case *knative.KafkaChannel:
		e.routes.setReceiver(channelPath+o.Namespace+"/"+o.Name, nil)
	case *knative.Broker:
		e.routes.setReceiver(brokerPath+o.Namespace+"/"+o.Name, nil)
	}
}

// startSubscribers starts the Subscriptions and Triggers.
func (e *emulator) startSubscribers(ctx context.Context) error {
	for _, s := range e.set.Subscriptions {
		if err := e.startDelivering(ctx, s); err != nil {
			return err
		}
	}
	for _, t := range e.set.Triggers {
		if err := e.startDelivering(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// startDelivering starts what an object delivers. Others than sources,
// Subscriptions and Triggers deliver nothing.
func (e *emulator) startDelivering(ctx context.Context, object any) error {
	switch o := object.(type) {
	case *knative.KafkaSource:
		return e.startSource(ctx, o)
	case *knative.Subscription:
		spec, err := e.subscription(o)
		if err != nil {
			return err
		}
		return e.openSource(ctx, asSource(spec, o.Subscriber, o.Delivery), spec)
	case *knative.Trigger:
		spec, err := e.trigger(o)
		if err != nil {
			return err
		}
		return e.openSource(ctx, asSource(spec, o.Subscriber, o.Delivery), spec)
	case *knative.PingSource:
		return e.startPing(o)
	}
	return nil
}

// asSource is the KafkaSource that delivers what a Subscription or Trigger does,
// for those who ask what goes where.
func asSource(spec source.Spec, subscriber knative.Destination, delivery knative.Delivery) *knative.KafkaSource {
	return &knative.KafkaSource{
		Object: *spec.Object, Topics: spec.Topics, ConsumerGroup: spec.Group, Consumers: 1,
		Latest: spec.Latest, Ordered: spec.Ordered, Sink: subscriber, Delivery: delivery,
	}
}

func (e *emulator) subscription(s *knative.Subscription) (source.Spec, error) {
	spec := source.Spec{
		Object: &s.Object, Topics: []string{e.set.Channel(s.Namespace, s.Channel).Topic()}, Group: s.ConsumerGroup(),
		Ordered: true, Latest: true, Uncommitted: true, Egress: dispatch.Egress{Delivery: s.Delivery, Reply: dispatch.Discard()},
	}
	if s.Reply != nil {
		reply, err := e.target(&s.Object, "spec.reply", *s.Reply)
		if err != nil {
			return spec, err
		}
		spec.Reply = dispatch.ReplyTo(reply)
	}
	return spec, e.resolveEgress(&spec, "spec.subscriber", s.Subscriber)
}

func (e *emulator) trigger(t *knative.Trigger) (source.Spec, error) {
	filter, err := filterOf(&t.Filter)
	if err != nil {
		return source.Spec{}, t.Errorf("spec.filters", "%v", err)
	}
	spec := source.Spec{
		Object: &t.Object, Topics: []string{e.set.Broker(t.Namespace, t.Broker).Topic}, Group: t.ConsumerGroup(),
		Ordered: t.Ordered, Latest: true, Uncommitted: true,
		Egress: dispatch.Egress{Delivery: t.Delivery, Reply: dispatch.ReplyToTopic(), Filter: filter},
	}
	return spec, e.resolveEgress(&spec, "spec.subscriber", t.Subscriber)
}

// resolveEgress fills in the destinations of a spec. field is the subscriber's.
func (e *emulator) resolveEgress(spec *source.Spec, field string, subscriber knative.Destination) (err error) {
	if spec.Subscriber, err = e.target(spec.Object, field, subscriber); err != nil {
		return err
	}
	if d := spec.Delivery.DeadLetterSink; d != nil {
		dead, err := e.target(spec.Object, "spec.delivery.deadLetterSink", *d)
		if err != nil {
			return err
		}
		spec.DeadLetter = &dead
	}
	return nil
}

// checkFilters refuses filters that mean nothing.
func checkFilters(set *knative.Set) error {
	var errs []error
	for _, t := range set.Triggers {
		if _, err := filterOf(&t.Filter); err != nil {
			errs = append(errs, t.Errorf("spec.filters", "%v", err))
		}
	}
	return errors.Join(errs...)
}

// filterOf is the filter of a Trigger, nil when every event passes.
func filterOf(f *knative.Filter) (dispatch.Filter, error) {
	var all []dispatch.Filter
	if len(f.Exact) > 0 {
		all = append(all, dispatch.Exact(f.Exact))
	}
	if len(f.Prefix) > 0 {
		all = append(all, dispatch.Prefix(f.Prefix))
	}
	if len(f.Suffix) > 0 {
		all = append(all, dispatch.Suffix(f.Suffix))
	}
	every, err := filtersOf(f.All)
	if err != nil {
		return nil, err
	}
	all = append(all, every...)
	if len(f.Any) > 0 {
		some, err := filtersOf(f.Any)
		if err != nil {
			return nil, err
		}
		all = append(all, dispatch.Any(some...))
	}
	if f.Not != nil {
		not, err := filterOf(f.Not)
		if err != nil {
			return nil, err
		}
		all = append(all, dispatch.Not(not))
	}
	if f.CESQL != "" {
		sql, err := dispatch.CESQL(f.CESQL)
		if err != nil {
			return nil, err
		}
		all = append(all, sql)
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return dispatch.All(all...), nil
}

func filtersOf(list []knative.Filter) ([]dispatch.Filter, error) {
	filters := make([]dispatch.Filter, len(list))
	for i := range list {
		var err error
		if filters[i], err = filterOf(&list[i]); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

// startPings starts the PingSources, when there is something to deliver to.
func (e *emulator) startPings() error {
	for _, p := range e.set.Pings {
		if err := e.startPing(p); err != nil {
			return err
		}
	}
	return nil
}

func (e *emulator) startPing(p *knative.PingSource) error {
	target, err := e.target(&p.Object, "spec.sink", p.Sink)
	if err != nil {
		return err
	}
	if e.pings == nil {
		e.pings = make(map[string]*ping.Source)
	}
	e.pings[p.Namespace+"/"+p.Name] = ping.Start(ping.Config{
		Source: p, URL: target.URL, Transport: e.routes.mesh(e.transport), Logger: e.log,
	})
	return nil
}

func (e *emulator) stopPing(p *knative.PingSource) {
	key := p.Namespace + "/" + p.Name
	if s := e.pings[key]; s != nil {
		s.Close()
		delete(e.pings, key)
	}
}

// address is where a destination is reached from outside of the emulator, which
// is where functions are.
func (e *emulator) address(d knative.Destination) string {
	if d.Ref == nil {
		return d.URI
	}
	namespaced := d.Ref.Namespace + "/" + d.Ref.Name
	path := ""
	switch d.Ref.Kind {
	case "Service":
		path = servicePath(e.set, d.Ref.Namespace, d.Ref.Name)
	case "KafkaSink":
		path = namespaced
	case "KafkaChannel":
		path = channelPath + namespaced
	case "Broker":
		path = brokerPath + namespaced
	case "Sequence":
		first := e.set.Sequence(d.Ref.Namespace, d.Ref.Name).Channels[0]
		path = channelPath + first.Namespace + "/" + first.Name
	}
	return e.baseURL + "/" + path + relative(d.URI)
}

// binding are the variables that a SinkBinding gives a Service; none without one.
func (e *emulator) binding(s *knative.Service) map[string]string {
	b := e.set.Binding(s)
	if b == nil {
		return nil
	}
	return map[string]string{"K_SINK": e.address(b.Sink), "K_CE_OVERRIDES": b.Overrides}
}

// topics are the topics that are made: those that are declared, and those of
// channels and brokers.
func topics(set *knative.Set) []string {
	var names []string
	for _, t := range set.AllTopics() {
		names = append(names, t.Topic)
	}
	return names
}
