package kafkatest

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kfake"
)

// FakeTime runs f in a [testing/synctest] bubble with a Backend from [Virtual].
// Without the build tag synctests it skips the test and says so. That has to
// happen outside of the bubble: a test that is skipped inside counts as passed.
func FakeTime(t *testing.T, f func(t *testing.T, b Backend), opts ...kfake.Opt) {
	t.Helper()
	if !fakeTime {
		t.Skip(needsTag)
	}
	synctest.Test(t, func(t *testing.T) { f(t, Virtual(t, opts...)) })
}

// Virtual starts an embedded Kafka on a network in memory, for use inside a
// [testing/synctest] bubble: hours of a pipeline's life pass in milliseconds.
// Whatever talks to it must be a client made with [Backend.Opts], inside the
// bubble; its addresses mean nothing elsewhere. All of these must be closed
// before the bubble's function returns; t.Cleanup within the bubble is early
// enough.
//
// Fake time needs the build tag synctests of franz-go. A bubble's clock moves
// only while every goroutine in it waits for another one, and a goroutine that
// waits for a [sync.Mutex] does not count as such. franz-go holds locks while
// it waits, so without the tag a client can stop the clock for ever; with it,
// its locks are made of channels. Without the tag Virtual skips the test; see
// [FakeTime].
func Virtual(t testing.TB, opts ...kfake.Opt) Backend {
	t.Helper()
	if !fakeTime {
		t.Skip(needsTag)
	}
	network := new(kfake.VirtualNetwork)
	b := fake(t, append([]kfake.Opt{kfake.Ports(9092), kfake.ListenFn(network.Listen)}, opts...)...)
	b.dial = network.DialContext
	return b
}

const needsTag = "kafkatest: LEFT OUT: fake time needs a build tag: run `go test -tags synctests ./...`"
