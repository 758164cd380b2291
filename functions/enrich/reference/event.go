package reference

import "datasurge/events"

// NewMerchant returns the event that generate emits for m: its record in the
// topic merchants.
func NewMerchant(m Merchant) (events.Event, error) {
	data, err := AppendMerchant(nil, m)
	if err != nil {
		return events.Event{}, err
	}
	return events.Event{
		ID:              m.ID,
		Source:          events.SourceGenerate,
		Type:            TypeMerchant,
		Subject:         m.ID,
		DataContentType: "application/json",
		Key:             m.ID,
		Data:            data,
	}, nil
}
