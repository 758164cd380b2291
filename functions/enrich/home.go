package enrich

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"datasurge/functions/enrich/reference"
	"datasurge/functions/step"
)

// home is where a customer is taken to live: the place that most of the
// transactions name, by Boyer and Moore's majority vote. A transaction within
// nearKm of the home votes for it, another against it; when no votes are left the
// next place takes over.
//
// Votes stop at maxVotes, so that a customer who stays at home changes no state,
// and one who has moved is believed after maxVotes transactions.
type home struct {
	place reference.Place
	votes uint8 // 1 to maxVotes
}

const (
	nearKm   = 50
	maxVotes = 8
)

// vote counts a transaction at place and reports whether that changed h.
func (h *home) vote(place reference.Place, distanceKm float64) (changed bool) {
	if distanceKm > nearKm {
		h.votes--
		if h.votes == 0 {
			h.place, h.votes = place, 1
		}
		return true
	}
	if place.Exact && !h.place.Exact {
		h.place = place // a city in the country that was all we knew
		changed = true
	}
	if h.votes < maxVotes {
		h.votes++
		changed = true
	}
	return changed
}

// settle returns the distance of place from the customer's home as it was before
// this transaction, and lets the transaction vote. key is the home's key.
func settle(tx step.Tx, key []byte, place reference.Place) (distanceKm float64) {
	h, ok := tx.Get(key).(*home)
	if !ok {
		tx.Put(key, &home{place: stored(place), votes: 1})
		return 0
	}
	distanceKm = h.place.DistanceKm(place)
	if h.vote(stored(place), distanceKm) {
		tx.Put(key, h)
	}
	return distanceKm
}

// stored rounds a place to what its encoding keeps (0.01 degree, about 1 km), so
// that a task goes on after a restart exactly as it would have without.
func stored(p reference.Place) reference.Place {
	p.Lat = float64(hundredths(p.Lat)) / 100
	p.Lon = float64(hundredths(p.Lon)) / 100
	return p
}

func hundredths(degrees float64) int16 { return int16(math.Round(degrees * 100)) }

// A home is 9 bytes: version, votes, flags, two letters of the country (0 when
// not known), latitude and longitude in hundredths of a degree.
const (
	homeVersion = 1
	homeSize    = 9
	flagExact   = 1
)

func appendHome(dst []byte, value any) []byte {
	h := value.(*home)
	var country [2]byte
	copy(country[:], h.place.Country)
	var flags byte
	if h.place.Exact {
		flags |= flagExact
	}
	dst = append(dst, homeVersion, h.votes, flags, country[0], country[1])
	dst = binary.BigEndian.AppendUint16(dst, uint16(hundredths(h.place.Lat)))
	return binary.BigEndian.AppendUint16(dst, uint16(hundredths(h.place.Lon)))
}

func parseHome(data []byte) (any, error) {
	if len(data) == 0 || data[0] != homeVersion {
		return nil, fmt.Errorf("home of a customer: %w", versionError(data))
	}
	if len(data) != homeSize || data[1] == 0 || data[1] > maxVotes {
		return nil, fmt.Errorf("home of a customer: %x is not valid", data)
	}
	h := &home{votes: data[1]}
	if data[3] != 0 {
		h.place.Country = string(data[3:5])
	}
	h.place.Exact = data[2]&flagExact != 0
	h.place.Lat = float64(int16(binary.BigEndian.Uint16(data[5:]))) / 100
	h.place.Lon = float64(int16(binary.BigEndian.Uint16(data[7:]))) / 100
	return h, nil
}

// versionError says why a value does not begin with a version that is known.
func versionError(data []byte) error {
	if len(data) == 0 {
		return errors.New("the value is empty")
	}
	return fmt.Errorf("version %d: %w", data[0], step.ErrNewerVersion)
}
