package knative

import "go.yaml.in/yaml/v3"

// Broker: eventing.knative.dev/v1
//
// Read: the annotations eventing.knative.dev/broker.class, which has to be
// Kafka, and kafka.eventing.knative.dev/external.topic; delivery.
//
// Ignored: config, a ConfigMap of the cluster. The settings are those that
// Knative's kafka-broker-config has when it is installed.
//
// Refused: other classes, and none at all, which means the cluster's default.
//
// Broker is an HTTP address whose events go to one topic, from which Triggers
// choose theirs.
type Broker struct {
	Object
	// Topic is knative-broker-<namespace>-<name>, or the external one.
	Topic string
	// External: the topic is somebody else's, and has to be there.
	External bool

	delivery *delivery
}

// The topic's settings in kafka-broker-config as it is installed.
const (
	brokerPartitions = 10
	brokerReplicas   = 3
)

const (
	brokerClass   = "eventing.knative.dev/broker.class"
	externalTopic = "kafka.eventing.knative.dev/external.topic"
)

type brokerSpec struct {
	Config *struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Namespace  string `yaml:"namespace"`
		Name       string `yaml:"name"`
	} `yaml:"config"`
	Delivery *formattedDelivery `yaml:"delivery"`
}

func readBroker(root *yaml.Node, o *Object) (*Broker, error) {
	var spec brokerSpec
	if err := readDocument(root, o, "eventing.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(annotations{brokerClass: true, externalTopic: true}); err != nil {
		return nil, err
	}
	const class = "metadata.annotations." + brokerClass
	switch v, ok := o.Annotations[brokerClass]; {
	case !ok:
		return nil, o.Errorf(class, "is missing: a cluster's default is MTChannelBasedBroker; want Kafka")
	case v != "Kafka":
		return nil, o.Errorf(class, "%q is not emulated; want Kafka", v)
	}
	if c := spec.Config; c != nil {
		o.Ignored = append(o.Ignored, "spec.config")
		if c.Name != "kafka-broker-config" {
			o.warnf("spec.config.name", "the ConfigMap %q is not read: the topic gets %d partitions, as by kafka-broker-config", c.Name, brokerPartitions)
		}
	}
	b := &Broker{Topic: "knative-broker-" + o.Namespace + "-" + o.Name}
	if topic, ok := o.Annotations[externalTopic]; ok {
		if err := checkTopic(topic); err != nil {
			return nil, o.Errorf("metadata.annotations."+externalTopic, "%v", err)
		}
		b.Topic, b.External = topic, true
	}
	var err error
	if b.delivery, err = spec.Delivery.read(o, "spec.delivery"); err != nil {
		return nil, err
	}
	b.Object = *o
	return b, nil
}
