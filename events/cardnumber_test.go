package events

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestHasCardNumber(t *testing.T) {
	for _, test := range []struct {
		text string
		want bool
	}{
		// Numbers that payment networks publish for tests.
		{"4111111111111111", true},
		{"5555555555554444", true},
		{"378282246310005", true},     // 15 digits
		{"30569309025904", true},      // 14
		{"4222222222222", true},       // 13
		{"6304000000000000000", true}, // 19
		{"4111 1111 1111 1111", true},
		{"4111-1111-1111-1111", true},
		{"4111-1111 1111-1111", true},
		{"3782 822463 10005", true},
		{"4222 2222 2222 2", true},
		{"6304 0000 0000 0000 000", true},
		{"41111111 11111111", true},
		{"pay 4111 1111 1111 1111 by 12/29", true},
		{"4111 1111 1111 1111 123", true}, // and its check value
		{"007 4111 1111 1111 1111", true}, // after another group
		{"PAN4111111111111111", true},     // after letters
		{"x4111111111111111y", true},      // between letters
		{"é4111111111111111é", true},      // between other letters
		{"ref:4111111111111111;", true},
		{"4111111111111111 3f2b8c1e", true},
		{"5 4111111111111111", true}, // after a short group
		{"1234567890 4111111111111111", true},
		{"4111111111111111-4111111111", true},
		{"12-34 4111111111111111 12-34", true},

		{"", false},
		{"4111111111111112", false}, // wrong check digit
		{"411111111111111", false},
		{"41111111111111111111", false},    // 20 digits
		{"4111  1111  1111  1111", false},  // two spaces are no separator
		{"4111.1111.1111.1111", false},     // nor is a point
		{"41 11 11 11 11 11 11 11", false}, // groups of two
		{"48213", false},                   // a user
		{"user_48213", false},
		{"2026-01-02 03:04:05.678", false},
		{"2026-01-02T03:04:05.678Z", false},
		{"+49 30 901820 0", false},       // 12 digits
		{"37.774929,-122.419416", false}, // coordinates
		{"52.5200066,13.4049540", false},
		{"Sao Paulo, BR 01310-100", false},
		{"192.168.100.200:65535", false},
		{"location_17 merchant_1234", false},

		// UUIDs and digests, of which some part would pass.
		{"41111111-1111-4111-8111-111111111111", false},
		{"aa411111-1111-1111-1111-1111bbbbbbbb", false},
		{"order 41111111-1111-4111-8111-111111111111!", false},
		{"AB4111111111111111CD000000000000", false},
		{"a4111111111111111a" + strings.Repeat("0", 46), false},
		{"a4111111111111111a" + strings.Repeat("0", 22), false},
		// What only looks like one.
		{"41111111-1111-1111-8111-1111111111112", true}, // too long
		{"z41111111-1111-1111-8111-111111111111", true}, // not by itself
		{"41111111111111110000000000000000", false},     // 32 digits, no letter
		{"a4111111111111111a00", true},                  // no length of a digest
		{"41111111-1111-4111-8111-111111111111 4111111111111111", true},
	} {
		if got := HasCardNumber(test.text); got != test.want {
			t.Errorf("HasCardNumber(%q) = %v", test.text, got)
		}
	}
}

// luhn completes digits with the check digit.
func luhn(digits string) string {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return digits + string(rune('0'+(10-sum%10)%10))
}

func TestHasCardNumberFindsEveryNumber(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		var b strings.Builder
		for range minCardDigits - 1 + r.IntN(maxCardDigits-minCardDigits+1) {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		number := luhn(b.String())
		if !HasCardNumber(number) {
			t.Fatalf("%s was not found", number)
		}
		// In groups of four, and inside text.
		var groups []string
		for rest := number; rest != ""; {
			n := min(4, len(rest))
			groups = append(groups, rest[:n])
			rest = rest[n:]
		}
		if text := "no. " + strings.Join(groups, string(" -"[r.IntN(2)])) + "."; !HasCardNumber(text) {
			t.Fatalf("%s was not found", text)
		}
		// One wrong digit is always noticed.
		i := r.IntN(len(number))
		wrong := number[:i] + string('0'+(number[i]-'0'+byte(1+r.IntN(9)))%10) + number[i+1:]
		if HasCardNumber(wrong) {
			t.Fatalf("%s was taken for a card number", wrong)
		}
	}
}

func TestHasCardNumberLeavesUUIDs(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 20_000 {
		high, low := r.Uint64(), r.Uint64()
		high = high&^0xf000 | 0x4000
		low = low&^(3<<62) | 2<<62
		uuid := fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", high>>32, high>>16&0xffff, high&0xffff, low>>48, low&(1<<48-1))
		if HasCardNumber(uuid) || HasCardNumber(strings.ToUpper(uuid)) {
			t.Fatalf("UUID %s was taken for a card number", uuid)
		}
		if plain := strings.ReplaceAll(uuid, "-", ""); HasCardNumber(plain) {
			t.Fatalf("UUID %s was taken for a card number", plain)
		}
	}
}
