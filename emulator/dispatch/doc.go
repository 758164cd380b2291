// Package dispatch does with one record what the dispatcher of Knative's Kafka
// data plane does: it makes an event of it, filters it, sends it to a subscriber
// by HTTP, again and again as the delivery says, passes a reply on, and turns to
// the dead letter sink in the end.
//
// Emulated: binary mode with Prefer and Kn-Namespace, header values in Latin-1,
// specversion 0.3, overrides, traces that are continued; result classes, both
// backoffs, a timeout for each attempt; replies to a URL or a topic; filters of
// Triggers; dead letters with the knativeerror and kne- extensions, and the names
// that stop a partition for ever.
//
// Not emulated: TLS, OIDC, tracing that begins here.
//
// What is read where, and with which bounds, is package source's.
package dispatch
