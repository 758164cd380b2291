package events

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ParseVerdict reads what ParseScored reads, except for the features.
func TestParseVerdict(t *testing.T) {
	scored := testScored()
	scored.Features = []Feature{{"count1m", 3}, {"distanceKm", 12.5}}
	data := AppendScored(nil, &scored)
	var got Scored
	if err := ParseVerdict(data, &got); err != nil {
		t.Fatal(err)
	}
	want := scored
	want.Features = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Features that are not kept still have to be an object of numbers, once.
func TestParseVerdictRefuses(t *testing.T) {
	scored := testScored()
	scored.Features = []Feature{{"x", 1}}
	data := string(AppendScored(nil, &scored))
	const features = `"features":{"x":1}`
	if !strings.Contains(data, features) {
		t.Fatalf("no %s in %s", features, data)
	}
	for _, test := range []struct{ instead, want string }{
		{`"more":1`, "$.features is missing"},
		{`"features":[]`, "$.features must be an object, not an array"},
		{`"features":{"x":"1"}`, "$.features must be a number, not a string"},
		{`"features":{"x":{}}`, "$.features must be a number, not an object"},
		{features + "," + features, "$.features occurs twice"},
		{`"features":{"x":01}`, "$ is not valid JSON: malformed number"},
		{`"features":{"x":1,}`, "$ is not valid JSON: expected a name in quotes"},
	} {
		var got Scored
		err := ParseVerdict([]byte(strings.Replace(data, features, test.instead, 1)), &got)
		if err == nil || !strings.HasPrefix(err.Error(), "invalid event: "+test.want) {
			t.Errorf("%s: error is %v, want %s", test.instead, err, test.want)
		}
	}
}

// ParseVerdict accepts everything that ParseScored accepts.
func FuzzParseVerdict(f *testing.F) {
	scored := testScored()
	scored.Features = []Feature{{"count1m", 3}, {"distanceKm", 12.5}}
	f.Add(AppendScored(nil, &scored))
	f.Add([]byte(`{"features":{"a":1e9}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var all, verdict Scored
		if err := ParseScored(data, &all); err != nil {
			return
		}
		if err := ParseVerdict(data, &verdict); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		all.Features = nil
		if diff := cmp.Diff(all, verdict); diff != "" {
			t.Errorf("%s (-ParseScored +ParseVerdict):\n%s", data, diff)
		}
	})
}
