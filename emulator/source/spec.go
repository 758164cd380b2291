package source

import (
	"datasurge/emulator/dispatch"
	"datasurge/events/kafkarecord"
	"datasurge/knative"
)

// Spec is one consumer of topics: what is read, how, and what is done with it.
// Who reads the manifests fills it:
//
//	              KafkaSource          Subscription (KafkaChannel)            Trigger (Broker)
//	Topics        spec.topics          knative-messaging-kafka.<ns>.<channel> knative-broker-<ns>-<broker>
//	Group         spec.consumerGroup   kafka.<ns>.<channel>.<uid>             knative-trigger-<ns>-<trigger>
//	Ordered       spec.ordering        true                                   annotation, else false
//	Latest        spec.initialOffset   true                                   true
//	Uncommitted   false                true                                   true
//	PlainRecords  true                 false                                  false
//	KeyType       its label            -                                      -
//	Delivery      knative.Delivery     the same, 0 retries when there is none the same
//	Reply         Discard              ReplyTo spec.reply, else Discard       ReplyToTopic
//	Filter        -                    -                                      filters, else filter
//	Overrides     spec.ceOverrides     -                                      -
//
// A step of a Sequence is a Subscription whose reply is the next step's channel.
type Spec struct {
	// Object names the resource in messages and gives the namespace.
	Object *knative.Object
	Topics []string
	// Group is the consumer group; "" invents one.
	Group string
	// Ordered delivers one event of a partition at a time, else many at once.
	Ordered bool
	// Latest begins partitions that the group has not read yet at their end, as
	// it is when the source is opened; else at their start.
	Latest bool
	// Uncommitted reads records of open and aborted transactions too, as the
	// data plane does for channels and brokers.
	Uncommitted bool
	// PlainRecords makes events of records that are none; else they are
	// discarded.
	PlainRecords bool
	// KeyType is how keys of plain records become text.
	KeyType kafkarecord.KeyType
	// Egress is where the events go. Its namespace is that of Object.
	dispatch.Egress
}

// ForKafkaSource returns the spec of a KafkaSource but for the destinations:
// Subscriber and DeadLetter are the caller's to resolve.
func ForKafkaSource(s *knative.KafkaSource) Spec {
	return Spec{
		Object: &s.Object, Topics: s.Topics, Group: s.ConsumerGroup,
		Ordered: s.Ordered, Latest: s.Latest, PlainRecords: true, KeyType: keyTypes[s.KeyType],
		Egress: dispatch.Egress{Delivery: s.Delivery, Overrides: s.Extensions},
	}
}

var keyTypes = map[string]kafkarecord.KeyType{
	"string": kafkarecord.KeyString, "int": kafkarecord.KeyInt, "float": kafkarecord.KeyFloat, "byte-array": kafkarecord.KeyBytes,
}
