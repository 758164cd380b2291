//go:build synctests

package kafkatest

// fakeTime says whether franz-go was built with locks that fake time can pass.
const fakeTime = true
