package run

import (
	"regexp"
	"testing"
)

// TestClientVersion: every version that Go stamps a binary with is one that brokers
// take (KIP-511).
func TestClientVersion(t *testing.T) {
	taken := regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)
	for _, version := range []string{"devel", "v1.2.3", "v0.0.0-20261122191320-8f780a068b2b+dirty", "v1.2.3-rc.1+incompatible"} {
		if got := clientVersion(version); !taken.MatchString(got) {
			t.Errorf("%s becomes %q", version, got)
		}
	}
}
