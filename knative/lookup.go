package knative

// Service returns the Service of that name, nil when there is none.
func (s *Set) Service(namespace, name string) *Service { return lookup(s.Services, namespace, name) }

// Sink returns the KafkaSink of that name, nil when there is none.
func (s *Set) Sink(namespace, name string) *KafkaSink { return lookup(s.Sinks, namespace, name) }

// Channel returns the KafkaChannel of that name, nil when there is none.
func (s *Set) Channel(namespace, name string) *KafkaChannel {
	return lookup(s.Channels, namespace, name)
}

// Broker returns the Broker of that name, nil when there is none.
func (s *Set) Broker(namespace, name string) *Broker { return lookup(s.Brokers, namespace, name) }

// Sequence returns the Sequence of that name, nil when there is none.
func (s *Set) Sequence(namespace, name string) *Sequence { return lookup(s.Sequences, namespace, name) }

// Binding returns the SinkBinding of a Service, nil when there is none.
func (s *Set) Binding(service *Service) *SinkBinding {
	for _, b := range s.Bindings {
		if b.binds(service) {
			return b
		}
	}
	return nil
}

func lookup[T any, P interface {
	*T
	self() *Object
}](list []P, namespace, name string) P {
	for _, v := range list {
		if o := v.self(); o.Namespace == namespace && o.Name == name {
			return v
		}
	}
	return nil
}
