package reference

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func loadGazetteer(t testing.TB) *Gazetteer {
	t.Helper()
	g, err := LoadGazetteer()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestCountries(t *testing.T) {
	g := loadGazetteer(t)
	last, count := "", 0
	names := map[string]bool{}
	err := eachRow(countriesCSV, 4, func(row []string) error {
		count++
		code, name := row[0], row[3]
		if code <= last {
			t.Errorf("%q comes after %q", code, last)
		}
		last = code
		if len(code) != 2 || code != strings.ToUpper(code) {
			t.Errorf("%q is not an alpha-2 code", code)
		}
		if name == "" || names[name] {
			t.Errorf("%s has the name %q, empty or another's", code, name)
		}
		names[name] = true
		return nil
	})
	if err != nil || count != 249 {
		t.Errorf("%d countries (%v), ISO 3166-1 has 249", count, err)
	}
	for _, code := range []string{"XK", "UK", "EU", "AN", "CS", "ZZ", ""} {
		if _, ok := g.Country(code); ok {
			t.Errorf("%q is taken for a country of ISO 3166-1", code)
		}
	}
}

// TestCountryBounds checks samples against boxes that their middle must be in.
func TestCountryBounds(t *testing.T) {
	g := loadGazetteer(t)
	for _, test := range []struct {
		code                     string
		south, north, west, east float64
	}{
		{"US", 25, 49, -125, -67},
		{"GB", 50, 61, -8, 2},
		{"DE", 47.2, 55.1, 5.8, 15.1},
		{"FR", 42, 51.2, -5, 8.3},
		{"JP", 30, 46, 129, 146},
		{"AU", -39, -10, 113, 154},
		{"NZ", -47.5, -34, 166, 179},
		{"BR", -34, 5.3, -74, -34},
		{"ZA", -35, -22, 16, 33},
		{"IN", 6, 36, 68, 98},
		{"CA", 42, 84, -141, -52},
		{"CL", -56, -17, -76, -66},
		{"IS", 63, 67, -25, -13},
		{"FJ", -21, -12, 176, 180},
		{"WS", -15, -13, -173, -171},
		{"GL", 59, 84, -74, -11},
		{"SG", 1.1, 1.5, 103.5, 104.1},
		{"KI", -12, 5, -175, -150},
	} {
		p, ok := g.Country(test.code)
		if !ok || p.Lat < test.south || p.Lat > test.north || p.Lon < test.west || p.Lon > test.east {
			t.Errorf("the middle of %s is %v, %v", test.code, p.Lat, p.Lon)
		}
	}
}

// TestCities checks that every city is about where its country is.
func TestCities(t *testing.T) {
	g := loadGazetteer(t)
	if got := len(g.Cities()); got < 60 {
		t.Errorf("%d cities", got)
	}
	wide := map[string]bool{"US": true, "CA": true, "AU": true, "BR": true, "CN": true, "ID": true, "RU": true, "CL": true, "IN": true}
	for _, c := range g.Cities() {
		country, ok := g.Country(c.Country)
		if !ok || c.Weight < 1 {
			t.Errorf("%s: no such country, or weight %d", c.Text(), c.Weight)
		}
		limit := 1300.0
		if wide[c.Country] {
			limit = 4000
		}
		at := Place{Country: "somewhere", Lat: c.Lat, Lon: c.Lon, Exact: true}
		if d := at.DistanceKm(country); d > limit {
			t.Errorf("%s is %.0f km from the middle of its country", c.Text(), d)
		}
	}
}

func TestFind(t *testing.T) {
	g := loadGazetteer(t)
	paris := Place{Country: "FR", Lat: 48.86, Lon: 2.35, Exact: true}
	us := Place{Country: "US", Lat: 39.83, Lon: -98.58}
	france := Place{Country: "FR", Lat: 46.23, Lon: 2.21}
	gb := Place{Country: "GB", Lat: 54, Lon: -2.5}
	for _, test := range []struct {
		text string
		want Place
		ok   bool
	}{
		{"US", us, true},
		{" us ", us, true},
		{"United States", us, true},
		{"uk", gb, true},
		{"Paris, FR", paris, true},
		{"paris,fr", paris, true},
		{"  PARIS ,  FR", paris, true},
		{"Smallville, FR", france, true},
		{"Smallville, Kansas, US", us, true},
		{"Smallville, France", france, true},
		{"48.86,2.35", Place{Lat: 48.86, Lon: 2.35, Exact: true}, true},
		{" -33.9 , 151.2 ", Place{Lat: -33.9, Lon: 151.2, Exact: true}, true},
		{"90,180", Place{Lat: 90, Lon: 180, Exact: true}, true},
		{"90.01,0", Place{}, false},
		{"0,180.01", Place{}, false},
		{"NaN,0", Place{}, false},
		{"0,Inf", Place{}, false},
		{"Paris", Place{}, false},
		{"XX", Place{}, false},
		{"Paris, XX", Place{}, false},
		{",", Place{}, false},
		{"", Place{}, false},
		{"\xff\xfe, \x00", Place{}, false},
	} {
		got, ok := g.Find(test.text)
		if diff := cmp.Diff(test.want, got); ok != test.ok || diff != "" {
			t.Errorf("Find(%q): ok %v (-want +got):\n%s", test.text, ok, diff)
		}
	}
	for _, c := range g.Cities() {
		if p, ok := g.Find(c.Text()); !ok || !p.Exact || p.Country != c.Country {
			t.Errorf("Find(%q) = %v, %v", c.Text(), p, ok)
		}
	}
}

func TestUTCOffset(t *testing.T) {
	for lon, want := range map[float64]int{
		0: 0, 7.4: 0, 7.6: 1, -7.6: -1, 103.8: 7, 139.69: 9, -74: -5, -118.24: -8, 180: 12, -180: -12,
	} {
		if got := (Place{Lon: lon}).UTCOffset(); got != want {
			t.Errorf("offset at %v degrees is %d, want %d", lon, got, want)
		}
	}
}

func TestDistanceKm(t *testing.T) {
	g := loadGazetteer(t)
	find := func(text string) Place {
		p, ok := g.Find(text)
		if !ok {
			t.Fatalf("%q is not found", text)
		}
		return p
	}
	for _, test := range []struct {
		from, to string
		want     float64 // great circle, km
		within   float64
	}{
		{"Paris, FR", "London, GB", 344, 2},
		{"New York, US", "Los Angeles, US", 3936, 10},
		{"Sydney, AU", "Auckland, NZ", 2156, 10},
		{"Tokyo, JP", "San Francisco, US", 8270, 25},
		{"0,0", "0,180", math.Pi * earthRadiusKm, 0.01},
		{"90,0", "-90,77", math.Pi * earthRadiusKm, 0.01},
		{"0,179.5", "0,-179.5", 111.2, 0.1},
		{"Paris, FR", "Paris, FR", 0, 0},
		{"US", "Miami, US", 0, 0},
		{"US", "US", 0, 0},
		{"US", "25.76,-80.19", 0, 0},
		{"US", "FR", 7660, 100},
	} {
		for _, p := range [][2]string{{test.from, test.to}, {test.to, test.from}} {
			got := find(p[0]).DistanceKm(find(p[1]))
			if math.Abs(got-test.want) > test.within {
				t.Errorf("from %s to %s: %.1f km, want %.1f", p[0], p[1], got, test.want)
			}
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, text := range []string{"US", "Paris, FR", "1.5,-2", ",", "a,b,c", "1e309,0"} {
		f.Add(text)
	}
	g := loadGazetteer(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := g.Find(text)
		if !ok && p != (Place{}) {
			t.Fatalf("not found, but %v", p)
		}
		if math.IsNaN(p.Lat) || math.Abs(p.Lat) > 90 || math.IsNaN(p.Lon) || math.Abs(p.Lon) > 180 {
			t.Fatalf("%v is not on the earth", p)
		}
		if p.Country == "" && ok && !p.Exact {
			t.Fatal("neither a country nor a point")
		}
	})
}

func BenchmarkFind(b *testing.B) {
	g := loadGazetteer(b)
	for _, text := range []string{"US", "Paris, FR", "48.86,2.35", "Smallville, FR", "nowhere"} {
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				g.Find(text)
			}
		})
	}
}
