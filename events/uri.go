package events

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsURIReference reports whether s is a URI reference as RFC 2396 has it and as
// the Java data plane of Knative accepts it: no spaces, control characters,
// quotes, angle brackets, braces, bars, backslashes, carets, backticks, broken
// escapes or second fragments; square brackets only around an address of IPv6, in
// a query, a fragment, or an opaque part. Characters outside ASCII are allowed,
// unless they are spaces or controls, and so is the empty reference.
func IsURIReference(s string) bool {
	fragment, hierarchy, brackets, nonASCII := false, false, false, false
	for i := range len(s) {
		c := s[i]
		if isAlphanumeric(c) {
			continue
		}
		switch c {
		case ' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', 0x7f:
			return false
		case '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case '#':
			if fragment {
				return false
			}
			fragment, hierarchy = true, true
		case '/', '?':
			hierarchy = true
		case ':':
			// What stands before the first colon is a scheme, unless a slash,
			// question mark or number sign came first.
			if !hierarchy && (!isScheme(s[:i]) || i+1 == len(s) || s[i+1] == '#') {
				return false
			}
			hierarchy = true
		case '[', ']':
			brackets = true
		default:
			if c < ' ' {
				return false
			}
			nonASCII = nonASCII || c >= utf8.RuneSelf
		}
	}
	if s == "//" || strings.HasSuffix(s, "://") && isScheme(s[:len(s)-len("://")]) {
		return false // an authority has to follow
	}
	return (!nonASCII || hasNoOtherSpace(s)) && (!brackets || bracketsFit(s))
}

// hasNoOtherSpace reports whether no character outside ASCII is a space or a control.
func hasNoOtherSpace(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf && (r < 0xa0 || unicode.In(r, unicode.Z)) })
}

// bracketsFit reports whether the square brackets of s stand where they may.
func bracketsFit(s string) bool {
	s, _, _ = strings.Cut(s, "#")
	if i := strings.IndexAny(s, ":/?"); i >= 0 && s[i] == ':' {
		s = s[i+1:]
		if s[0] != '/' {
			return true // an opaque part
		}
	}
	s, _, _ = strings.Cut(s, "?")
	rest, ok := strings.CutPrefix(s, "//")
	if !ok {
		return !strings.ContainsAny(s, "[]")
	}
	authority, path, _ := strings.Cut(rest, "/")
	return !strings.ContainsAny(path, "[]") && (!strings.ContainsAny(authority, "[]") || isIPv6Authority(authority))
}

// isIPv6Authority reports whether s is user@[address]:port, of which only the
// address has to be there.
func isIPv6Authority(s string) bool {
	user, host, ok := strings.Cut(s, "@")
	if !ok {
		user, host = "", s
	}
	address, port, ok := strings.Cut(strings.TrimPrefix(host, "["), "]")
	if !ok || !strings.HasPrefix(host, "[") || strings.ContainsAny(user, "[]") {
		return false
	}
	if port != "" && (port[0] != ':' || strings.Trim(port[1:], "0123456789") != "") {
		return false
	}
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Is6()
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.') {
			continue
		}
		return false
	}
	return s != ""
}
