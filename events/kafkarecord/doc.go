// Package kafkarecord is the CloudEvents 1.0 Kafka protocol binding over records
// of franz-go.
//
// [Read], [Write] and [WriteStructured] convert between records and
// [events.Event] without the CloudEvents SDK in between; Read also maps plain
// records, as KafkaSource does. [NewMessage] and [WriteRecord] are the same
// binding for users of the SDK, in the shape of its other protocols.
//
// In binary mode attributes and extensions are the headers ce_<name>,
// datacontenttype is the header content-type, and the value is the data: null
// when there is none. In structured mode the header content-type is
// application/cloudevents+json and the value is the whole event. The key of the
// record is the extension partitionkey in both.
package kafkarecord
