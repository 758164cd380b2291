// Package golden reads recordings of the real Knative Kafka data plane and
// compares what the emulator does with them. It is for tests.
//
// A recording is a YAML file: what the dispatcher or the receiver was given
// (manifest, topics, records, how the sink answers) and what it did then
// (requests, records, committed offsets). The files in testdata are embedded;
// the environment variable GOLDEN_DIR names a directory to be used instead, with
// any recordings of the same format. They are told apart by their content, never
// by their names.
//
// Compared is everything but what is volatile by the recordings' own README: the
// user agent, the host and the base URL of the sink, the span in a traceparent,
// absolute times, and the order of extensions.
//
// The package also holds what the tests prove to the table of emulator/parity,
// see [Main].
package golden
