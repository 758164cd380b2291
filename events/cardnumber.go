package events

// The length of a payment card number (ISO/IEC 7812), in digits.
const (
	minCardDigits = 13
	maxCardDigits = 19
)

// HasCardNumber reports whether s holds what looks like a payment card number:
// 13 to 19 digits that satisfy the Luhn check, written together or in groups
// with one space or dash between them. A group has at least three digits, the
// last may be shorter, and the number may stand inside a longer row of groups
// ("4111 1111 1111 1111 123" is found).
//
// Random digits satisfy the check one time in ten, so identifiers whose digits
// are no card number's are left out by their shape, wherever they stand alone:
// UUIDs (8-4-4-4-12 hexadecimal digits) and hexadecimal strings of 32, 40 or 64
// digits, as UUIDs without dashes and digests are, with at least one letter.
// Of random UUIDs, 2 in 1,000 would be taken for a card number otherwise. An
// identifier of 13 to 19 decimal digits cannot be told from a card number and
// is one in ten times refused: the producer has to choose other ones.
func HasCardNumber(s string) bool {
	if len(s) < minCardDigits || len(s) == uuidLen && isUUID(s) || digitCount(s) < minCardDigits {
		return false
	}
	start := 0
	for i := 0; i < len(s); i++ {
		if i > 0 && isAlphanumeric(s[i-1]) {
			continue
		}
		if n := identifierLen(s[i:]); n > 0 {
			if groupsHaveCardNumber(s[start:i]) {
				return true
			}
			start = i + n
			i = start - 1
		}
	}
	return groupsHaveCardNumber(s[start:])
}

// identifierLen returns the length of the UUID or hexadecimal identifier that s
// begins with, 0 when there is none.
func identifierLen(s string) int {
	n := uuidLen
	if !isUUID(s) {
		n = 0
		letters := false
		for n < len(s) && isHex(s[n]) {
			letters = letters || !isDigit(s[n])
			n++
		}
		if !letters || n != 32 && n != 40 && n != 64 {
			return 0
		}
	}
	if n < len(s) && isAlphanumeric(s[n]) {
		return 0
	}
	return n
}

const uuidLen = 36

// isUUID reports whether s begins with the text of a UUID.
func isUUID(s string) bool {
	if len(s) < uuidLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	dashes, others := 0, class(0)
	for i := range uuidLen {
		if s[i] == '-' {
			dashes++
		} else {
			others |= ^classes[s[i]]
		}
	}
	return dashes == 4 && others&classHex == 0
}

func groupsHaveCardNumber(s string) bool {
	for i := range len(s) {
		if isDigit(s[i]) && (i+1 == len(s) || !isDigit(s[i+1])) && cardNumberEnds(s[:i+1]) {
			return true
		}
	}
	return false
}

// cardNumberEnds reports whether some of the groups that s ends with are a card
// number. The Luhn sum grows from the last digit to the first: every second
// digit is doubled, and nine taken off when that gives two digits.
func cardNumberEnds(s string) bool {
	sum, digits, group, groups := 0, 0, 0, 1
	for i := len(s) - 1; i >= 0; i-- {
		c := s[i]
		if !isDigit(c) {
			// The end of a group; only the last may have less than 3 digits.
			if c != ' ' && c != '-' || i == 0 || !isDigit(s[i-1]) || groups > 1 && group < 3 {
				return false
			}
			group = 0
			groups++
			continue
		}
		d := int(c - '0')
		if digits%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		digits++
		group++
		if digits > maxCardDigits {
			return false
		}
		first := i == 0 || !isDigit(s[i-1])
		if first && digits >= minCardDigits && sum%10 == 0 && (groups == 1 || group >= 3) {
			return true
		}
	}
	return false
}

// class is what a byte is part of.
type class uint8

const (
	classDigit class = 1 << iota
	classHex
	classAlphanumeric
)

var classes = func() (table [256]class) {
	for c := '0'; c <= '9'; c++ {
		table[c] = classDigit | classHex | classAlphanumeric
	}
	for c := 'a'; c <= 'z'; c++ {
		table[c], table[c-'a'+'A'] = classAlphanumeric, classAlphanumeric
	}
	for c := 'a'; c <= 'f'; c++ {
		table[c] |= classHex
		table[c-'a'+'A'] |= classHex
	}
	return table
}()

func isDigit(c byte) bool        { return classes[c]&classDigit != 0 }
func isHex(c byte) bool          { return classes[c]&classHex != 0 }
func isAlphanumeric(c byte) bool { return classes[c]&classAlphanumeric != 0 }

func digitCount(s string) int {
	n := 0
	for i := range len(s) {
		n += int(classes[s[i]] & classDigit)
	}
	return n
}
