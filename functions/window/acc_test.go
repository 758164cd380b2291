package window

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// values are amounts of a plausible distribution with customers from a range.
func values(r *rand.Rand, n, users int) []Value {
	bins := NewBins()
	out := make([]Value, n)
	for i := range out {
		amount := int64(math.Exp(8 + 2*r.NormFloat64()))
		if r.IntN(50) == 0 {
			amount = 0
		}
		user := uint64(r.IntN(users)+1) * 0x9E3779B97F4A7C15
		user = (user ^ user>>31) * 0xBF58476D1CE4E5B9
		out[i] = Value{Amount: amount, Bin: bins.Of(amount), User: user ^ user>>29, Anomaly: r.IntN(20) == 0}
	}
	return out
}

func accumulate(values []Value) *Acc {
	a := NewSketched()
	for _, v := range values {
		a.Add(v)
	}
	return a
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1) }

func TestAccAgreesWithTheDefinitions(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	bins := NewBins()
	for _, n := range []int{1, 2, 3, 10, 1000, 20_000} {
		vs := values(r, n, 1+n/2)
		a := accumulate(vs)
		var amounts []int64
		users := map[uint64]bool{}
		sum, anomalies := int64(0), int64(0)
		for _, v := range vs {
			amounts = append(amounts, v.Amount)
			sum += v.Amount
			users[v.User] = true
			if v.Anomaly {
				anomalies++
			}
		}
		slices.Sort(amounts)
		mean := float64(sum) / float64(n)
		variance := 0.0
		for _, x := range amounts {
			variance += (float64(x) - mean) * (float64(x) - mean) / float64(n)
		}
		if a.Count != int64(n) || a.Sum != sum || a.Anomalies != anomalies || a.Min != amounts[0] || a.Max != amounts[n-1] || a.Overflow {
			t.Errorf("%d values: %+v", n, a)
		}
		if !near(a.Mean(), mean) || !near(a.StdDev(), math.Sqrt(variance)) {
			t.Errorf("%d values: mean %g, deviation %g, want %g, %g", n, a.Mean(), a.StdDev(), mean, math.Sqrt(variance))
		}
		at := []float64{0, 0.5, 0.9, 0.99, 1}
		for i, got := range a.Quantiles.Values(nil, bins, at...) {
			want := float64(amounts[int(at[i]*float64(n-1))])
			if math.Abs(got-want) > QuantileAccuracy*want*1.0001 {
				t.Errorf("%d values: quantile %g is %g, want %g", n, at[i], got, want)
			}
		}
		if got, want := float64(a.Distinct.Estimate()), float64(len(users)); math.Abs(got-want) > max(0.08*want, 0.5) {
			t.Errorf("%d values: %g customers, want about %g", n, got, want)
		}
	}
}

func TestWelfordIsSoundFarFromZero(t *testing.T) {
	// The textbook formula with sums of squares loses all digits here.
	a, b := &Acc{}, &Acc{}
	for i := range int64(1000) {
		a.Add(Value{Amount: 1e15 + i%2})
		b.Add(Value{Amount: 1e15 + i%2})
	}
	if err := a.Merge(b); err != nil {
		t.Fatal(err)
	}
	if got := a.StdDev(); math.Abs(got-0.5) > 1e-6 {
		t.Errorf("deviation %g, want 0.5", got)
	}
}

func TestSumOverflowIsFlaggedAndNeverWraps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []int64
		sum    int64
		over   bool
	}{
		{"just fits", []int64{math.MaxInt64 - 1, 1}, math.MaxInt64, false},
		{"one too much", []int64{math.MaxInt64, 1}, math.MaxInt64, true},
		{"stays flagged", []int64{math.MaxInt64, 1, 0, 5}, math.MaxInt64, true},
		{"negative just fits", []int64{math.MinInt64, 0}, math.MinInt64, false},
		{"negative", []int64{math.MinInt64, -1}, math.MinInt64, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			added, merged := &Acc{}, &Acc{}
			for _, v := range tt.values {
				added.Add(Value{Amount: v})
				one := &Acc{}
				one.Add(Value{Amount: v})
				if err := merged.Merge(one); err != nil {
					t.Fatal(err)
				}
			}
			for _, a := range []*Acc{added, merged} {
				if a.Sum != tt.sum || a.Overflow != tt.over {
					t.Errorf("sum %d, overflow %t, want %d, %t", a.Sum, a.Overflow, tt.sum, tt.over)
				}
				again, err := ParseAcc(a.Append(nil))
				if err != nil || again.Overflow != tt.over {
					t.Errorf("encoded: %+v, %v", again, err)
				}
			}
		})
	}
}

func TestWindowIsUnder300BytesWithoutSketches(t *testing.T) {
	a := &Acc{}
	for range 100 {
		a.Add(Value{Amount: math.MaxInt64, Anomaly: true})
	}
	a.Count, a.Anomalies, a.Min = math.MaxInt64, math.MaxInt64, math.MinInt64
	if n := len(a.Append(nil)); n > 80 {
		t.Errorf("%d bytes in the worst case, documented are 80, the limit is 300", n)
	}
}

func TestSketchesStaySmall(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, tt := range []struct{ n, users, limit int }{
		{1, 1, 120}, {10, 10, 220}, {100, 100, 800}, {1000, 1000, 3200}, {100_000, 50_000, 3200},
	} {
		a := accumulate(values(r, tt.n, tt.users))
		if n := len(a.Append(nil)); n > tt.limit {
			t.Errorf("%d values of %d customers take %d bytes, want at most %d", tt.n, tt.users, n, tt.limit)
		}
	}
}

// Sketches must not show in their bytes in what order they were filled, merged
// or encoded: state is compared byte by byte after a restore.
func TestSameContentGivesTheSameBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 5, 21, 22, 100, 700, 1100, 1400, 5000, 30_000} {
		vs := values(r, n, n)
		whole := accumulate(vs)

		reread := NewSketched() // encoded and decoded every now and then
		for i, v := range vs {
			reread.Add(v)
			if r.IntN(1+n/10) == 0 || i == n-1 {
				var err error
				if reread, err = ParseAcc(reread.Append(nil)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(whole.Append(nil), reread.Append(nil)) {
			t.Errorf("%d values: other bytes when encoded and decoded in between", n)
		}

		shuffled := slices.Clone(vs)
		r.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		cut := r.IntN(n)
		merged, encoded := accumulate(shuffled[:cut]), NewSketched()
		if err := merged.Merge(accumulate(shuffled[cut:])); err != nil {
			t.Fatal(err)
		}
		for _, part := range [][]Value{shuffled[cut:], shuffled[:cut]} {
			if err := encoded.MergeEncoded(accumulate(part).Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		for name, other := range map[string]*Acc{"merged": merged, "merged from bytes": encoded, "in another order": accumulate(shuffled)} {
			if !near(whole.mean, other.mean) || !near(whole.m2, other.m2) {
				t.Errorf("%d values %s: mean and deviation differ", n, name)
			}
			other.mean, other.m2 = whole.mean, whole.m2
			if !bytes.Equal(whole.Append(nil), other.Append(nil)) {
				t.Errorf("%d values %s: other bytes", n, name)
			}
		}
	}
}

func TestMergeWithEmpty(t *testing.T) {
	a := accumulate(values(rand.New(rand.NewPCG(9, 9)), 10, 5))
	want := a.Append(nil)
	empty := NewSketched()
	if err := a.Merge(empty); err != nil {
		t.Fatal(err)
	}
	if err := a.MergeEncoded(empty.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := empty.Merge(a); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Append(nil), want) || !bytes.Equal(empty.Append(nil), want) {
		t.Error("merging with an empty accumulator changed it")
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	data := (&Acc{}).Append(nil)
	data[0]++
	if _, err := ParseAcc(data); !errors.Is(err, ErrNewer) {
		t.Errorf("ParseAcc: %v, want ErrNewer", err)
	}
	if err := (&Acc{}).MergeEncoded(data); !errors.Is(err, ErrNewer) {
		t.Errorf("MergeEncoded: %v, want ErrNewer", err)
	}
	if _, err := EncodedCount(data); !errors.Is(err, ErrNewer) {
		t.Errorf("EncodedCount: %v, want ErrNewer", err)
	}
}

// Bytes from outside never panic and take no memory out of proportion; what
// parses has one encoding that is stable, and merges into an empty accumulator
// as itself.
func FuzzParseAcc(f *testing.F) {
	r := rand.New(rand.NewPCG(10, 11))
	for _, n := range []int{0, 1, 30, 3000} {
		f.Add(accumulate(values(r, n, 1+n)).Append(nil))
	}
	f.Add((&Acc{}).Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAcc(data)
		if err != nil {
			return
		}
		canonical := a.Append(nil)
		again, err := ParseAcc(canonical)
		if err != nil {
			t.Fatalf("own encoding: %v", err)
		}
		if !bytes.Equal(again.Append(nil), canonical) {
			t.Fatalf("encoding is not stable:\n%x\n%x", canonical, again.Append(nil))
		}
		if count, err := EncodedCount(canonical); err != nil || count != a.Count {
			t.Fatalf("count %d, %v, want %d", count, err, a.Count)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	vs := values(rand.New(rand.NewPCG(1, 1)), 1<<14, 5000)
	for _, bench := range []struct {
		name string
		new  func() *Acc
	}{{"plain", func() *Acc { return &Acc{} }}, {"sketched", NewSketched}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			a := bench.new()
			i := 0
			for b.Loop() {
				a.Add(vs[i&(1<<14-1)])
				if i++; i%15_000 == 0 {
					a = bench.new()
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{100, 15_000} {
		a := accumulate(values(rand.New(rand.NewPCG(1, 1)), n, 5000))
		buf := a.Append(nil)
		b.Run(map[int]string{100: "100", 15_000: "15000"}[n], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = a.Append(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

func BenchmarkMergeEncoded(b *testing.B) {
	for _, n := range []int{100, 15_000} {
		data := accumulate(values(rand.New(rand.NewPCG(1, 1)), n, 5000)).Append(nil)
		b.Run(map[int]string{100: "100", 15_000: "15000"}[n], func(b *testing.B) {
			b.ReportAllocs()
			a := NewSketched()
			for b.Loop() {
				if err := a.MergeEncoded(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
