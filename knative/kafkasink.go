package knative

import "go.yaml.in/yaml/v3"

// KafkaSink: eventing.knative.dev/v1alpha1
//
// Read: topic, bootstrapServers, numPartitions, replicationFactor, contentMode.
//
// Refused: auth (SASL and TLS between KafkaSink and Kafka).
//
// KafkaSink is an HTTP address whose events go to a topic.
type KafkaSink struct {
	Object
	Topic            string
	BootstrapServers []string
	// NumPartitions and ReplicationFactor are both positive when the topic is
	// made with the sink, else both 0: it has to exist.
	NumPartitions, ReplicationFactor int
	// Structured: records hold the whole event as JSON; else binary mode.
	Structured bool
}

type kafkaSinkSpec struct {
	Topic             string      `yaml:"topic"`
	BootstrapServers  []string    `yaml:"bootstrapServers"`
	NumPartitions     *int32      `yaml:"numPartitions"`
	ReplicationFactor *int32      `yaml:"replicationFactor"`
	ContentMode       string      `yaml:"contentMode"`
	Auth              unsupported `yaml:"auth" why:"TLS and SASL between a KafkaSink and Kafka are not emulated"`
}

func readKafkaSink(root *yaml.Node, o *Object) (*KafkaSink, error) {
	var spec kafkaSinkSpec
	if err := readObject(root, o, "eventing.knative.dev/v1alpha1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	s := &KafkaSink{Object: *o, Topic: spec.Topic, BootstrapServers: spec.BootstrapServers}
	switch {
	case s.Topic == "":
		return nil, o.Errorf("spec.topic", "is missing")
	case len(s.BootstrapServers) == 0:
		return nil, o.Errorf("spec.bootstrapServers", "want at least one host:port")
	case (spec.NumPartitions == nil) != (spec.ReplicationFactor == nil):
		return nil, o.Errorf("spec.numPartitions", "want numPartitions and replicationFactor together, or neither when the topic exists")
	}
	if spec.NumPartitions != nil {
		if *spec.NumPartitions < 1 {
			return nil, o.Errorf("spec.numPartitions", "%d: want at least 1", *spec.NumPartitions)
		}
		if *spec.ReplicationFactor < 1 {
			return nil, o.Errorf("spec.replicationFactor", "%d: want at least 1", *spec.ReplicationFactor)
		}
		s.NumPartitions, s.ReplicationFactor = int(*spec.NumPartitions), int(*spec.ReplicationFactor)
	}
	switch spec.ContentMode {
	case "", "binary":
	case "structured":
		s.Structured = true
	default:
		return nil, o.Errorf("spec.contentMode", "%q: want binary or structured", spec.ContentMode)
	}
	return s, nil
}
