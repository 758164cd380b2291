package enrich

import "crypto/sha256"

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
	at := 0
	for i := 0; i < len(text); i += 2 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			i++
		}
		high, low := hexValue(text[i]), hexValue(text[i+1])
		if high|low > 15 {
			return id, false
		}
		id[at] = high<<4 | low
		at++
	}
	return id, true
}

// hexValue is the value of a hexadecimal digit, 255 for any other byte.
func hexValue(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
