package knative

import "errors"

// CheckUpdate returns an error when a cluster would refuse the change from old to
// s: the joined errors of the fields of s that cannot be changed. Objects that
// are in one of them only are made or deleted, which is no change.
func (s *Set) CheckUpdate(old *Set) error {
	var errs []error
	// fixed refuses another value of a field, was being the old one.
	fixed := func(o *Object, field string, was, is any) {
		if was != is {
			errs = append(errs, o.Errorf(field, "cannot be changed from %v to %v: delete %s and make it anew", orNone(was), orNone(is), o))
		}
	}
	for _, v := range s.Sources {
		if was := lookup(old.Sources, v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.consumerGroup", was.ConsumerGroup, v.ConsumerGroup)
		}
	}
	for _, v := range s.Sinks {
		if was := old.Sink(v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.topic", was.Topic, v.Topic)
			fixed(&v.Object, "spec.numPartitions", was.NumPartitions, v.NumPartitions)
			fixed(&v.Object, "spec.replicationFactor", was.ReplicationFactor, v.ReplicationFactor)
		}
	}
	for _, v := range s.Channels {
		if was := old.Channel(v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.numPartitions", was.NumPartitions, v.NumPartitions)
			fixed(&v.Object, "spec.replicationFactor", was.ReplicationFactor, v.ReplicationFactor)
			fixed(&v.Object, "spec.retentionDuration", was.Retention, v.Retention)
		}
	}
	for _, v := range s.Subscriptions {
		if was := lookup(old.Subscriptions, v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.channel", was.Channel, v.Channel)
		}
	}
	for _, v := range s.Brokers {
		if was := old.Broker(v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "metadata.annotations."+externalTopic, was.Topic, v.Topic)
		}
	}
	for _, v := range s.Triggers {
		if was := lookup(old.Triggers, v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.broker", was.Broker, v.Broker)
		}
	}
	for _, v := range s.Topics {
		if was := lookup(old.Topics, v.Namespace, v.Name); was != nil {
			fixed(&v.Object, "spec.topicName", was.Topic, v.Topic)
			if v.Partitions < was.Partitions {
				errs = append(errs, v.Errorf("spec.partitions", "cannot be lowered from %d to %d: Kafka has no way to", was.Partitions, v.Partitions))
			}
		}
	}
	return errors.Join(errs...)
}

// orNone is a value as messages say it.
func orNone(v any) any {
	if v == "" || v == 0 {
		return "none"
	}
	return v
}
