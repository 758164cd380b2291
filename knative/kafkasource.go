package knative

import "go.yaml.in/yaml/v3"

// KafkaSource: sources.knative.dev/v1
//
// Read: bootstrapServers, topics, consumerGroup, consumers, initialOffset,
// ordering, delivery, sink, ceOverrides.extensions, and the label
// kafkasources.sources.knative.dev/key-type.
//
// Refused: net (TLS and SASL between KafkaSource and Kafka), CACerts and
// audience of destinations, retryAfterMax, autoscaling by KEDA.
//
// KafkaSource delivers the records of topics to a sink by HTTP.
type KafkaSource struct {
	Object
	BootstrapServers []string
	Topics           []string
	// ConsumerGroup is "" when not given: a cluster invents one, which a
	// restart from the same manifest does not find again.
	ConsumerGroup string
	// Consumers is the number of virtual replicas, default 1.
	Consumers int
	// Latest: start at the end of a topic that the group has not read yet, not
	// at its beginning. The default of the manifest is latest.
	Latest bool
	// Ordered: one event of a partition at a time. The default of the manifest
	// is ordered.
	Ordered  bool
	KeyType  string // string (default), int, float, byte-array
	Delivery Delivery
	Sink     Destination
	// Extensions are put on every event.
	Extensions map[string]string
}

const keyTypeLabel = "kafkasources.sources.knative.dev/key-type"

type kafkaSourceSpec struct {
	BootstrapServers []string     `yaml:"bootstrapServers"`
	Topics           []string     `yaml:"topics"`
	ConsumerGroup    string       `yaml:"consumerGroup"`
	Consumers        *int         `yaml:"consumers"`
	InitialOffset    string       `yaml:"initialOffset"`
	Ordering         string       `yaml:"ordering"`
	Delivery         *delivery    `yaml:"delivery"`
	Sink             *destination `yaml:"sink"`
	CEOverrides      *overrides   `yaml:"ceOverrides"`
	Net              unsupported  `yaml:"net" why:"TLS and SASL between a KafkaSource and Kafka are not emulated"`
}

func readKafkaSource(root *yaml.Node, o *Object) (*KafkaSource, error) {
	var spec kafkaSourceSpec
	if err := readObject(root, o, "sources.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	s := &KafkaSource{Object: *o, BootstrapServers: spec.BootstrapServers, Topics: spec.Topics,
		ConsumerGroup: spec.ConsumerGroup, Consumers: 1, KeyType: "string"}
	switch {
	case len(s.BootstrapServers) == 0:
		return nil, o.Errorf("spec.bootstrapServers", "want at least one host:port")
	case len(s.Topics) == 0:
		return nil, o.Errorf("spec.topics", "want at least one topic")
	case spec.Sink == nil:
		return nil, o.Errorf("spec.sink", "is missing")
	}
	if spec.Consumers != nil {
		if *spec.Consumers < 1 {
			return nil, o.Errorf("spec.consumers", "%d: want at least 1; a source without consumers delivers nothing", *spec.Consumers)
		}
		s.Consumers = *spec.Consumers
	}
	switch spec.InitialOffset {
	case "", "latest":
		s.Latest = true
	case "earliest":
	default:
		return nil, o.Errorf("spec.initialOffset", "%q: want earliest or latest", spec.InitialOffset)
	}
	switch spec.Ordering {
	case "", "ordered":
		s.Ordered = true
	case "unordered":
	default:
		return nil, o.Errorf("spec.ordering", "%q: want ordered or unordered", spec.Ordering)
	}
	if t, ok := o.Labels[keyTypeLabel]; ok {
		switch t {
		case "string", "int", "float", "byte-array":
			s.KeyType = t
		default:
			return nil, o.Errorf("metadata.labels."+keyTypeLabel, "%q: want string, int, float or byte-array", t)
		}
	}
	var err error
	if s.Extensions, err = spec.CEOverrides.resolve(o, "spec.ceOverrides"); err != nil {
		return nil, err
	}
	if err := spec.Delivery.check(o, "spec.delivery"); err != nil {
		return nil, err
	}
	if spec.Delivery == nil {
		s.Delivery = Delivery{Retry: defaultRetry, Backoff: BackoffExponential, Delay: defaultDelay, Timeout: defaultDeliveryTimeout}
	} else {
		s.Delivery = spec.Delivery.resolve(defaultDelayOfPartial)
	}
	if s.Sink, err = spec.Sink.resolve(o, "spec.sink"); err != nil {
		return nil, err
	}
	return s, nil
}
