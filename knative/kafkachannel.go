package knative

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// KafkaChannel: messaging.knative.dev/v1 and v1beta1
//
// Read: numPartitions, replicationFactor, retentionDuration, delivery.
//
// Ignored: the annotation eventing.knative.dev/scope.
//
// Refused: subscribers, which are a controller's to write.
//
// KafkaChannel is an HTTP address whose events go to a topic of its own, from
// which its Subscriptions get them.
type KafkaChannel struct {
	Object
	NumPartitions, ReplicationFactor int // default 1
	// Retention of the topic, default 7 days.
	Retention time.Duration

	delivery *delivery
}

// Topic is the channel's topic (template channels.topic.name.template of
// config-kafka-features, which has this default).
func (c *KafkaChannel) Topic() string {
	return "knative-messaging-kafka." + c.Namespace + "." + c.Name
}

const defaultRetention = 7 * 24 * time.Hour

type kafkaChannelSpec struct {
	NumPartitions     *int32             `yaml:"numPartitions"`
	ReplicationFactor *int16             `yaml:"replicationFactor"`
	RetentionDuration *string            `yaml:"retentionDuration"`
	Delivery          *formattedDelivery `yaml:"delivery"`
	Subscribers       unsupported        `yaml:"subscribers" why:"it is written by the controller of Subscriptions; declare a Subscription"`
}

func readKafkaChannel(root *yaml.Node, o *Object) (*KafkaChannel, error) {
	version := "messaging.knative.dev/v1"
	if o.APIVersion == "messaging.knative.dev/v1beta1" {
		version = o.APIVersion
	}
	var spec kafkaChannelSpec
	if err := readDocument(root, o, version, &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(annotations{"eventing.knative.dev/scope": false}); err != nil {
		return nil, err
	}
	c := &KafkaChannel{}
	if err := c.read(&spec, o, "spec"); err != nil {
		return nil, err
	}
	c.Object = *o
	return c, nil
}

// read fills c from spec, found at field of o.
func (c *KafkaChannel) read(spec *kafkaChannelSpec, o *Object, field string) error {
	c.NumPartitions, c.ReplicationFactor, c.Retention = 1, 1, defaultRetention
	if spec.NumPartitions != nil {
		if *spec.NumPartitions < 1 {
			return o.Errorf(field+".numPartitions", "%d: want at least 1", *spec.NumPartitions)
		}
		c.NumPartitions = int(*spec.NumPartitions)
	}
	if spec.ReplicationFactor != nil {
		if *spec.ReplicationFactor < 1 {
			return o.Errorf(field+".replicationFactor", "%d: want at least 1", *spec.ReplicationFactor)
		}
		c.ReplicationFactor = int(*spec.ReplicationFactor)
	}
	if spec.RetentionDuration != nil {
		d, err := ParseDuration(*spec.RetentionDuration)
		if err != nil {
			return o.Errorf(field+".retentionDuration", "%v", err)
		}
		if strings.HasPrefix(*spec.RetentionDuration, "-") {
			return o.Errorf(field+".retentionDuration", "%s is negative", *spec.RetentionDuration)
		}
		c.Retention = d
	}
	var err error
	c.delivery, err = spec.Delivery.read(o, field+".delivery")
	return err
}
