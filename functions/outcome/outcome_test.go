package outcome

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func history(outcomes ...Outcome) *History {
	h := &History{MerchantID: "m"}
	for _, o := range outcomes {
		h.Add(o)
	}
	return h
}

// at is an outcome of a transaction on a day that is known a week later.
func at(d float64, k Kind) Outcome {
	t := int64(d * float64(day))
	return Outcome{t, t + 7*day, k}
}

func TestFeatures(t *testing.T) {
	for _, test := range []struct {
		name string
		h    *History
		want Features
	}{
		{"nothing", nil, Unknown()},
		{"genuine", history(at(30, Genuine), at(80, Genuine), at(90, Genuine)), Features{Share: 0, Run: 0, RunDays: 35, CleanDays: 10}},
		{"not known yet", history(at(80, Genuine), at(93.5, UsualFraud)), Features{Share: 0, Run: 0, RunDays: 35, CleanDays: 20}},
		{"known just now", history(at(80, Genuine), at(93, UsualFraud)), Features{Share: 1. / 4, Run: 1, RunDays: 7, CleanDays: 20}},
		{"a run", history(at(80, Genuine), at(82, UsualFraud), at(85, UsualFraud)), Features{Share: 2. / 5, Run: 2, RunDays: 18, CleanDays: 20}},
		{"refuted", history(at(82, UsualFraud), at(85, UsualFraud), at(86, Genuine)), Features{Share: 2. / 5, Run: 0, RunDays: 35, CleanDays: 14}},
		{"stolen cards", history(at(80, Genuine), at(82, UnusualFraud)), Features{Share: 0, Run: 0, RunDays: 35, CleanDays: 20}},
		{"too old", history(at(65, UsualFraud)), Unknown()},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.h.At(100 * day)
			got.Abused, test.want.Abused = 0, 0 // has a test of its own
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Labels that became known later than the transaction change nothing of it, in
// whatever order and however early they are in the table.
func TestFeaturesDoNotLookAhead(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var all []Outcome
		for range 40 {
			all = append(all, at(40*r.Float64(), Kind(r.IntN(3))))
		}
		now := int64(40 * r.Float64() * float64(day))
		var known []Outcome
		for _, o := range all {
			if o.Known <= now {
				known = append(known, o)
			}
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(history(known...).At(now), history(all...).At(now)); diff != "" {
			t.Fatalf("at %d: %s", now, diff)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := &History{MerchantID: "m"}
	for i := range 1000 {
		h.Add(at(float64(i)/100, Genuine))
	}
	if len(h.Outcomes) != Most || h.Outcomes[0].Time != at(9.52, Genuine).Time {
		t.Errorf("%d outcomes from %d", len(h.Outcomes), h.Outcomes[0].Time)
	}
	h.Add(at(100, Genuine))
	if len(h.Outcomes) != 1 {
		t.Errorf("%d outcomes, want those of six weeks", len(h.Outcomes))
	}
}

func TestParse(t *testing.T) {
	h := history(at(1, Genuine), at(2, UsualFraud), at(3, UnusualFraud))
	got, err := Parse(h.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{
		"", "{}", "[]", `{"merchantId":"m","outcomes":[[1,-1,0]]}`, `{"merchantId":"m","outcomes":[[1,1,3]]}`,
		`{"merchantId":"m","outcomes":[[2,1,0],[1,1,0]]}`, `{"outcomes":[]}`,
	} {
		if h, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, h)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(history(at(1, Genuine), at(2, UsualFraud)).Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Parse(data)
		if err != nil {
			return
		}
		h.At(0)
		if _, err := Parse(h.Append(nil)); err != nil {
			t.Error(err)
		}
	})
}

// A merchant with a transaction a day takes less than 300 bytes, as a window may.
func TestState(t *testing.T) {
	h := &History{MerchantID: "m"}
	for i := range 100 {
		h.Add(at(17_600+float64(i)*1.01, Kind(i%3)))
	}
	data := h.AppendState(nil)
	if len(data) >= 300 {
		t.Errorf("%d outcomes take %d bytes", len(h.Outcomes), len(data))
	}
	got := &History{MerchantID: "m"}
	if err := got.ParseState(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Error(diff)
	}
	for n := range data {
		if err := new(History).ParseState(data[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(data))
		}
	}
}
