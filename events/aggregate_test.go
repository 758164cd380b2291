package events

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func aPartial() Partial {
	return Partial{
		Dimension: "merchant", Value: `a "b" ü`, Width: 60_000, Start: 1_700_000_040_000, From: 1_700_000_100_000,
		Partition: 3, Version: 17, Count: 17, State: []byte{1, 0, 255, 4},
	}
}

func anAggregate() Aggregate {
	return Aggregate{
		Dimension: "currency", Value: "EUR", Window: "5m/1m", Start: 1_700_000_040_000, End: 1_700_000_340_000,
		Pane: 3, Final: true, Currency: "EUR", Count: 7, Anomalies: 2, Sum: 123_456, Min: 0, Max: 100_000,
		Mean: 17_636.5, StdDev: 0.25, Sketched: true, P50: 10, P90: 20, P95: 30, P99: 40, Customers: 5,
	}
}

func TestPartialRoundTrip(t *testing.T) {
	withoutState := aPartial()
	withoutState.State, withoutState.Frauds = nil, 4
	beforeTheEpoch := aPartial()
	beforeTheEpoch.Start, beforeTheEpoch.From = -60_000, 0
	for _, want := range []Partial{aPartial(), withoutState, beforeTheEpoch} {
		data := AppendPartial(nil, &want)
		var got Partial
		if err := ParsePartial(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
}

func TestAggregateRoundTrip(t *testing.T) {
	overflow, yen, plain := anAggregate(), anAggregate(), anAggregate()
	overflow.Sum, overflow.Overflow = math.MaxInt64, true
	yen.Currency = "JPY"
	plain.Sketched, plain.P50, plain.P90, plain.P95, plain.P99, plain.Customers = false, 0, 0, 0, 0, 0
	plain.Final = false
	for _, want := range []Aggregate{anAggregate(), overflow, yen, plain} {
		data := AppendAggregate(nil, &want)
		var got Aggregate
		if err := ParseAggregate(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
}

func TestAggregateOnTheWire(t *testing.T) {
	a := anAggregate()
	e := NewAggregate(&a)
	want := `{"dimension":"currency","value":"EUR","window":"5m/1m","windowStart":1700000040000,"windowEnd":1700000340000,` +
		`"pane":3,"final":true,"currency":"EUR","count":7,"anomalies":2,"sum":1234.56,"min":0.00,"max":1000.00,` +
		`"mean":176.365,"stddev":0.0025,"p50":0.10,"p90":0.20,"p95":0.30,"p99":0.40,"customers":5}`
	if string(e.Data) != want {
		t.Errorf("data is\n%s, want\n%s", e.Data, want)
	}
	e.Data = nil
	wantEvent := Event{
		ID: "currency|EUR|5m/1m|1700000040000|3", Source: SourceAggregate, Type: TypeAggregate,
		Subject: "currency|EUR", Key: "currency|EUR|5m/1m|1700000040000", Time: atMillis(1_700_000_340_000),
		DataContentType: "application/json",
	}
	if diff := cmp.Diff(wantEvent, e); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestPartialEventIsKeyedByItsSeriesAndNamedByItsVersion(t *testing.T) {
	p := aPartial()
	p.Value = "shop"
	e := NewPartial(&p)
	if e.Key != "merchant|shop" || e.Subject != e.Key || e.ID != "merchant|shop|60000|1700000040000|1700000100000|3|17" {
		t.Errorf("key %q, subject %q, id %q", e.Key, e.Subject, e.ID)
	}
}

func TestParsePartialSaysWhatIsWrong(t *testing.T) {
	p := aPartial()
	good := string(AppendPartial(nil, &p))
	for _, tt := range []struct{ old, new, want string }{
		{`"dimension":"merchant",`, ``, "$.dimension is missing"},
		{`"width":60000`, `"width":0`, "$.width must be from 1"},
		{`"partition":3`, `"partition":-1`, "$.partition must be from 0"},
		{`"version":17`, `"version":1.5`, "$.version must be a whole number"},
		{`"count":17`, `"count":-1`, "$.count must be from 0"},
		{`"count":17`, `"count":17,"count":17`, "$.count occurs twice"},
		{`"state":"AQD/BA=="`, `"state":"AQD"`, "$.state must be base64"},
		{`"state":"AQD/BA=="`, `"state":[1]`, "$.state must be a string"},
		{`"state":"AQD/BA=="`, `"state":"` + strings.Repeat("AAAA", 50_000) + `"`, "$.state is longer than"},
		{`{`, ``, "$ is"},
	} {
		data := strings.Replace(good, tt.old, tt.new, 1)
		if data == good {
			t.Fatalf("%q is not in %s", tt.old, good)
		}
		var got Partial
		err := ParsePartial([]byte(data), &got)
		if _, ok := errors.AsType[*InvalidError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.200s: %v, want %q", data, err, tt.want)
		}
	}
}

func TestParseAggregateSaysWhatIsWrong(t *testing.T) {
	a := anAggregate()
	good := string(AppendAggregate(nil, &a))
	for _, tt := range []struct{ old, new, want string }{
		{`"currency":"EUR"`, `"currency":"EURO"`, "$.currency"},
		{`"sum":1234.56`, `"sum":1234.5`, "$.sum must have the decimals of its currency: 2"},
		{`"sum":1234.56`, `"sum":99999999999999999999.00`, "$.sum is no decimal number"},
		{`"sum":1234.56,`, ``, "$.sum is missing"},
		{`"final":true`, `"final":1`, "$.final must be a boolean"},
	} {
		data := strings.Replace(good, tt.old, tt.new, 1)
		var got Aggregate
		if err := ParseAggregate([]byte(data), &got); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", data, err, tt.want)
		}
	}
}

// Base64 has runs of digits by chance; they are no card numbers.
func TestStateMayLookLikeACardNumber(t *testing.T) {
	p := aPartial()
	data := bytes.Replace(AppendPartial(nil, &p), []byte("AQD/BA=="), []byte("4111111111111111"), 1)
	if err := ParsePartial(data, &p); err != nil {
		t.Error(err)
	}
}

// What parses is written back to something that parses to the same.
func FuzzParsePartial(f *testing.F) {
	p := aPartial()
	f.Add(AppendPartial(nil, &p))
	f.Add([]byte(`{"dimension":"","value":"","width":1,"start":0,"from":0,"partition":0,"version":0,"count":0,"frauds":1,"more":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again Partial
		if ParsePartial(data, &p) != nil {
			return
		}
		if err := ParsePartial(AppendPartial(nil, &p), &again); err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}

func FuzzParseAggregate(f *testing.F) {
	a := anAggregate()
	f.Add(AppendAggregate(nil, &a))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, again Aggregate
		if ParseAggregate(data, &a) != nil {
			return
		}
		written := AppendAggregate(nil, &a)
		if err := ParseAggregate(written, &again); err != nil {
			t.Fatalf("own encoding %s: %v", written, err)
		}
		// Mean and deviation are scaled, which may cost their last bit.
		a.Mean, a.StdDev, again.Mean, again.StdDev = 0, 0, 0, 0
		if diff := cmp.Diff(a, again); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}

func BenchmarkParsePartial(b *testing.B) {
	p := aPartial()
	p.State = bytes.Repeat([]byte{7}, 40)
	data := AppendPartial(nil, &p)
	b.ReportAllocs()
	for b.Loop() {
		if err := ParsePartial(data, &p); err != nil {
			b.Fatal(err)
		}
	}
}
