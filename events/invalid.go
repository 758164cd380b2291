package events

import "strconv"

// Limits of what is accepted. Everything beyond is refused with an
// [InvalidError].
const (
	MaxDataBytes      = 1 << 20 // data of one event
	MaxIDBytes        = 128     // transactionId, userId, merchantId
	MaxTextBytes      = 256     // location and other free text
	MaxAttributeBytes = 1024    // one context attribute or extension
	MaxExtensions     = 64      // extensions of one event
	MaxDepth          = 32      // levels of nested JSON in data
)

// InvalidError says that an event is wrong for ever: trying again does not
// help. It never contains a card number.
type InvalidError struct {
	// Path is where: a JSON path in the data such as "$.amount", or the name
	// of a context attribute such as "id".
	Path string
	// Reason is the rest of a sentence that begins with Path: "is missing".
	Reason string
}

func (e *InvalidError) Error() string {
	return "invalid event: " + e.Path + " " + e.Reason
}

// quote returns s for use in a reason: short, escaped, and not at all when it
// may hold a card number.
func quote(s string) string {
	if digitCount(s) >= minCardDigits {
		return "the value"
	}
	const most = 40
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
