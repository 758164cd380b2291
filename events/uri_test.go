package events

import "testing"

// TestIsURIReference: what java.net.URI of OpenJDK 17 says of the same texts.
func TestIsURIReference(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "/a/b?c=d#e": true, "#": true, "urn:uuid:1": true, "a/b:c": true, "?a:b": true, "é": true, "%20": true, "a+b.c-d:x": true,
		"http://[::1]:80/x": true, "/apis/v1/namespaces/default/kafkasources/enrich#financial_transactions": true,
		"http://a b": false, "a\nb": false, "a#b#c": false, "%2": false, "%zz": false, ":a": false, "1a:b": false, "a:": false, "a:#b": false,
		"a_b:c": false, "{x}": false, "a|b": false, `a\b`: false, "a^b": false, "a`b": false, `"a"`: false, "<a>": false, "a\x7f": false,
		"http://u@[::1]/": true, "//[::1]": true, "urn:a[b]": true, "/a?b[c]": true, "/a#[": true, "//é[": false, "[a]": false, "/a[b]": false, "http://[::1]/[": false,
		"http://[::1": false, "http://[::1]:a": false, "http://[1.2.3.4]": false, "http://a[::1]": false, "http://[::1]a": false,
		"http://": false, "//": false, "http:///a": true, "//?a": true, "a//": true, "/a//": true, "a:b://": true,
		"日本": true, "a\u00a0b": false, "\u2028": false, "\u0085": false, "\U0001f600": true, "\xff": true,
	} {
		if IsURIReference(s) != want {
			t.Errorf("IsURIReference(%q) = %v", s, !want)
		}
	}
}
