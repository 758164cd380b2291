package reference

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Place is a point on the earth, as exactly as a transaction's location text
// gives it.
type Place struct {
	Country string  // ISO 3166-1 alpha-2 code; "" when only the point is known
	Lat     float64 // degrees, north positive
	Lon     float64 // degrees, east positive
	// Exact is false when only the country is known; Lat and Lon are then its
	// middle.
	Exact bool
}

// City is one of the large cities that location texts may name.
type City struct {
	Name     string
	Country  string // ISO 3166-1 alpha-2
	Lat, Lon float64
	Weight   int // how many of generate's customers live there, relative to others
}

// Text is the city as a location text names it.
func (c City) Text() string { return c.Name + ", " + c.Country }

// Gazetteer finds the place that a location text means. It does not change
// after LoadGazetteer and may be shared.
type Gazetteer struct {
	cities   []City
	byText   map[string]Place // "US", "Paris, FR": as generate writes them
	byFolded map[string]Place // the same, names of countries and "UK", in lower case
}

// Countries and cities from public facts: ISO 3166-1 alpha-2 codes, the middle of
// each country, and the coordinates of cities, rounded to 0.01 degree (1 km).
//
//nolint:gochecknoglobals // an embedded file can be nothing else
var (
	//go:embed countries.csv
	countriesCSV string
	//go:embed cities.csv
	citiesCSV string
)

// LoadGazetteer parses the embedded tables. An error means that the binary was
// built with a broken table.
func LoadGazetteer() (*Gazetteer, error) {
	g := &Gazetteer{byText: map[string]Place{}, byFolded: map[string]Place{}}
	// The alpha-2 code, the middle, and the English short name in ASCII and without
	// commas.
	err := eachRow(countriesCSV, 4, func(row []string) error {
		lat, lon, err := parsePoint(row[1], row[2])
		if err != nil {
			return err
		}
		place := Place{Country: row[0], Lat: lat, Lon: lon}
		g.byText[row[0]] = place
		g.byFolded[strings.ToLower(row[0])] = place
		g.byFolded[strings.ToLower(row[3])] = place
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded table of countries: %w", err)
	}
	// Not an ISO code, but reserved by ISO for the United Kingdom and what people write.
	g.byFolded["uk"] = g.byText["GB"]

	err = eachRow(citiesCSV, 5, func(row []string) error {
		lat, lon, err := parsePoint(row[2], row[3])
		if err != nil {
			return err
		}
		weight, err := strconv.Atoi(row[4])
		if err != nil {
			return err
		}
		if _, ok := g.byText[row[1]]; !ok {
			return fmt.Errorf("city %q is in the unknown country %q", row[0], row[1])
		}
		city := City{Name: row[0], Country: row[1], Lat: lat, Lon: lon, Weight: weight}
		g.cities = append(g.cities, city)
		place := Place{Country: row[1], Lat: lat, Lon: lon, Exact: true}
		g.byText[city.Text()] = place
		g.byFolded[strings.ToLower(city.Text())] = place
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the embedded table of cities: %w", err)
	}
	return g, nil
}

func eachRow(text string, fields int, add func(row []string) error) error {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = fields
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	for i, row := range rows {
		if err := add(row); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

func parsePoint(latText, lonText string) (lat, lon float64, err error) {
	if lat, err = parseDegrees(latText, 90); err != nil {
		return 0, 0, err
	}
	lon, err = parseDegrees(lonText, 180)
	return lat, lon, err
}

func parseDegrees(text string, limit float64) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	if !(math.Abs(v) <= limit) { // also refuses NaN
		return 0, fmt.Errorf("%q is not between -%v and %v degrees", text, limit, limit)
	}
	return v, nil
}

// Cities returns the known cities. The slice is shared.
func (g *Gazetteer) Cities() []City { return g.cities }

// Country returns the middle of the country with the alpha-2 code.
func (g *Gazetteer) Country(code string) (Place, bool) {
	place, ok := g.byText[code]
	return place, ok && len(code) == 2
}

// Find returns the place that a location text means. It understands, ignoring
// case and surrounding space:
//
//   - an alpha-2 code or a country's name: "US", "Germany"
//   - "City, CC": the city when it is known, otherwise the country's middle
//   - "lat,lon" in decimal degrees: a point whose country is not known
//
// Anything else is not a place; ok is false.
func (g *Gazetteer) Find(text string) (place Place, ok bool) {
	if place, ok = g.byText[text]; ok {
		return place, true
	}
	text = strings.TrimSpace(text)
	before, after, comma := cutLast(text)
	if comma {
		if lat, lon, err := parsePoint(before, after); err == nil {
			return Place{Lat: lat, Lon: lon, Exact: true}, true
		}
		if place, ok = g.byFolded[strings.ToLower(before+", "+after)]; ok {
			return place, true
		}
		text = after
	}
	place, ok = g.byFolded[strings.ToLower(text)]
	return place, ok
}

// cutLast splits "a, b, c" into "a, b" and "c", without the space around them.
func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, ',')
	if i < 0 {
		return text, "", false
	}
	return strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+1:]), true
}

// UTCOffset returns the solar approximation of the place's offset from UTC in
// hours: an hour for each 15 degrees of longitude, rounded. It ignores political
// time zones and daylight saving, and is right to about an hour in most places;
// for a place known only by its country it is that of the country's middle.
func (p Place) UTCOffset() int { return int(math.Round(p.Lon / 15)) }

// earthRadiusKm is the mean radius of the earth.
const earthRadiusKm = 6371.0088

// DistanceKm returns the great circle distance between two places. Where a place
// is known only by its country, that of the country's middle is taken, and it is
// 0 when the other place is, or may be, in the same country: the way to the
// middle of a country says nothing about two places in it.
func (p Place) DistanceKm(q Place) float64 {
	if !p.Exact || !q.Exact {
		if p.Country == q.Country || p.Country == "" || q.Country == "" {
			return 0
		}
	}
	if p.Lat == q.Lat && p.Lon == q.Lon {
		return 0
	}
	const rad = math.Pi / 180
	sinLat := math.Sin((q.Lat - p.Lat) * rad / 2)
	sinLon := math.Sin((q.Lon - p.Lon) * rad / 2)
	h := sinLat*sinLat + math.Cos(p.Lat*rad)*math.Cos(q.Lat*rad)*sinLon*sinLon
	return 2 * earthRadiusKm * math.Asin(math.Sqrt(min(1, h)))
}
