package reference

import (
	"encoding/json"
	"errors"
	"fmt"
)

// TopicMerchants is the compacted topic of merchants, keyed by merchant id.
const TopicMerchants = "merchants"

// TypeMerchant is the event type of its records.
const TypeMerchant = "com.datasurge.merchant.v1"

// UnknownCategory is the category of a merchant that no record describes.
const UnknownCategory = "unknown"

// Merchant is what is known about a merchant beforehand.
type Merchant struct {
	ID       string `json:"merchantId"`
	Category string `json:"category"`          // group of merchant category codes, such as "groceries"
	Country  string `json:"country,omitempty"` // ISO 3166-1 alpha-2; "" when it has no place, as an online shop
}

// Categories returns the groups of merchant category codes (ISO 18245) that
// generate uses. A record may name any other.
func Categories() []string {
	return []string{
		"groceries", "restaurants", "fuel", "clothing", "electronics", "travel",
		"health", "entertainment", "home", "services", "online", "luxury",
	}
}

// AppendMerchant appends the record's JSON to dst.
func AppendMerchant(dst []byte, m Merchant) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return dst, fmt.Errorf("encode merchant %q: %w", m.ID, err)
	}
	return append(dst, data...), nil
}

// ParseMerchant reads the record of the merchant whose id is key. The id may be
// left out of the value; when it is there it must be the key. Fields that it does
// not know are ignored.
func ParseMerchant(key string, value []byte) (Merchant, error) {
	var m Merchant
	if err := json.Unmarshal(value, &m); err != nil {
		return Merchant{}, fmt.Errorf("merchant %q: %w", key, err)
	}
	if m.ID == "" {
		m.ID = key
	}
	switch {
	case m.ID == "":
		return Merchant{}, errors.New("a merchant record has neither a key nor merchantId")
	case key != "" && m.ID != key:
		return Merchant{}, fmt.Errorf("merchant record with the key %q is about merchantId %q", key, m.ID)
	case m.Category == "":
		m.Category = UnknownCategory
	}
	return m, nil
}
