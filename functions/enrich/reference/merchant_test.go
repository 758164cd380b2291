package reference

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMerchant(t *testing.T) {
	for _, test := range []struct {
		name, key, value string
		want             Merchant
		wantErr          bool
	}{
		{"whole", "m1", `{"merchantId":"m1","category":"fuel","country":"US"}`, Merchant{"m1", "fuel", "US"}, false},
		{"id from the key", "m1", `{"category":"fuel"}`, Merchant{"m1", "fuel", ""}, false},
		{"id from the value", "", `{"merchantId":"m1","category":"fuel"}`, Merchant{"m1", "fuel", ""}, false},
		{"no category", "m1", `{}`, Merchant{"m1", UnknownCategory, ""}, false},
		{"more fields", "m1", `{"category":"fuel","name":"x"}`, Merchant{"m1", "fuel", ""}, false},
		{"another's id", "m1", `{"merchantId":"m2"}`, Merchant{}, true},
		{"no id", "", `{}`, Merchant{}, true},
		{"not JSON", "m1", `fuel`, Merchant{}, true},
		{"wrong type", "m1", `{"category":5}`, Merchant{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseMerchant(test.key, []byte(test.value))
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v, want one: %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("merchant (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewMerchant(t *testing.T) {
	want := Merchant{ID: "m1", Category: "fuel", Country: "US"}
	e, err := NewMerchant(want)
	if err != nil {
		t.Fatal(err)
	}
	if e.Key != "m1" || e.Type != TypeMerchant {
		t.Errorf("event %+v", e)
	}
	got, err := ParseMerchant(e.Key, e.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merchant (-want +got):\n%s", diff)
	}
}
