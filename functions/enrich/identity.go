package enrich

import (
	"crypto/sha256"
	"encoding/hex"
)

// identity is a transaction id in 16 bytes: the bytes of a UUID, of any other id
// the first half of its SHA-256. Ids come from outside, so a hash for which
// collisions can be made would let somebody make a transaction disappear as a
// duplicate.
type identity [16]byte

// identify returns the identity of a transaction id. UUIDs that differ only in
// case are the same.
func identify(id string) identity {
	if uuid, ok := parseUUID(id); ok {
		return uuid
	}
	sum := sha256.Sum256([]byte(id))
	return identity(sum[:16])
}

// parseUUID reads the text form 8-4-4-4-12 of a UUID.
func parseUUID(text string) (id identity, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	for i, part := range [...]string{text[:8], text[9:13], text[14:18], text[19:23], text[24:]} {
		if _, err := hex.Decode(id[[...]int{0, 4, 6, 8, 10}[i]:], []byte(part)); err != nil {
			return id, false
		}
	}
	return id, true
}
