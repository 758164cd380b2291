// Package kafkatest gives tests a Kafka to talk to, of three kinds.
//
// [Brokers] is for most: an embedded Kafka over TCP on loopback, or a real one
// when KAFKA_BROKERS names it, so that one suite runs on both.
//
// [FakeTime] is for what takes long: a test under fake time, with an embedded
// Kafka that needs no network.
//
// [SingleNode] and [Start3x3] are for what a broker does when it fails: Apache
// Kafka in processes of the test's own, which can be killed and started again.
// They need KAFKA_LIBS, a folder with Kafka's jar files, which .ci/kafka.sh
// fetches.
//
// A [Backend] also reads topics as a reader with read_committed sees them,
// exactly to their end, for comparisons with what should be there.
package kafkatest
