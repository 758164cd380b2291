package detect

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"datasurge/functions/step"
)

// TestProfileSize holds the sizes that the package documentation promises.
func TestProfileSize(t *testing.T) {
	countries := []string{"DE", "FR", "IT", "ES", "PL"}
	for _, test := range []struct {
		name  string
		gap   int64 // between transactions
		cents int64
		most  int
	}{
		{"one payment a day of 50.00", day, 5_000, 130},
		{"one payment every 8 hours of 100.00", 8 * hour, 10_000, 200},
		{"one payment every 10 s of 100000.00", 10 * second, 10_000_000, 350},
		{"one payment a second of 100000.00", second, 10_000_000, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p profile
			largest := 0
			for at, i := day0, 0; at < day0+33*day; at += test.gap {
				next := bought(at, test.cents)
				next.Country = countries[i%len(countries)]
				p.begin(next.BaseCurrency)
				p.add(&next)
				if i++; i%101 == 0 || test.gap >= hour {
					largest = max(largest, len(p.append(nil)))
				}
			}
			t.Logf("%d bytes", largest)
			if largest >= test.most {
				t.Errorf("the profile takes up to %d bytes, want under %d", largest, test.most)
			}
			seldom := bought(day0+100*day, test.cents)
			p.add(&seldom)
			if size := len(p.append(nil)); size > 80 {
				t.Errorf("after idling the profile takes %d bytes, want at most 80", size)
			}
		})
	}
}

func TestProfileCodecRefuses(t *testing.T) {
	codec := profileCodec()
	var p profile
	next := bought(day0, 100)
	p.begin("USD")
	p.add(&next)
	good := p.append(nil)
	if _, err := codec.Parse(good); err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(good)
	newer[0] = profileVersion + 1
	if _, err := codec.Parse(newer); !errors.Is(err, step.ErrNewerVersion) {
		t.Errorf("newer version: error %v", err)
	}
	for n := range good {
		if _, err := codec.Parse(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(good))
		}
	}
	if _, err := codec.Parse(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a byte too many was accepted")
	}
	p.past.mean = math.NaN()
	if _, err := codec.Parse(p.append(nil)); err == nil {
		t.Error("a mean of NaN was accepted")
	}
}

func TestParsedProfileDoesNotShareInput(t *testing.T) {
	var p profile
	next := bought(day0, 100)
	p.begin("USD")
	p.add(&next)
	data := p.append(nil)
	want := bytes.Clone(data)
	codec := profileCodec()
	value, err := codec.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if got := codec.Append(nil, value); !bytes.Equal(got, want) {
		t.Errorf("encoded %x, want %x", got, want)
	}
}

// FuzzProfile: decoding never panics, and what it accepts is encoded in a form
// that decodes to the same profile and can take another transaction.
func FuzzProfile(f *testing.F) {
	var p profile
	var v vector
	f.Add(p.append(nil))
	for i := range int64(40) {
		next := bought(day0+i*i*i*minute, 100+i)
		next.Country = []string{"DE", "FR", ""}[i%3]
		p.observe(&next, &v)
		f.Add(p.append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again profile
		if p.decode(data) != nil {
			return
		}
		encoded := p.append(nil)
		if err := again.decode(encoded); err != nil || again != p {
			t.Fatalf("%v:\n%+v\n%+v", err, p, again)
		}
		var v vector
		next := bought(day0, 100)
		p.observe(&next, &v)
	})
}
