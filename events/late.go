package events

import "datasurge/events/internal/strictjson"

// Late is an event that came too late, or from too far in the future: the data
// of TypeLate. It holds the whole event, so that it can be sent again:
//
//	jq .event
type Late struct {
	Reason   string // "future", or what else the function said
	Function string // function that refused it
	Event    Event
}

// ParseLate reads the data of a TypeLate event into l.
func ParseLate(data []byte, l *Late) error {
	*l = Late{}
	var d decoder
	d.openText(string(data), latePaths[:], maxEventBytes+2*MaxAttributeBytes, MaxDepth+2)
	for name := range d.names {
		switch name {
		case "reason":
			l.Reason = d.text(lateReason, maxReasonBytes)
		case "function":
			l.Function = d.id(lateFunction)
		case "event":
			d.once(lateEvent)
			if d.json.Kind() != strictjson.Object {
				d.json.Object() // fails
			}
			text := d.json.Raw()
			if d.failed(lateEvent) {
				break
			}
			if err := l.Event.ParseJSON([]byte(text)); err != nil {
				d.wrong(lateEvent, "is no event: "+err.Error())
			}
		default:
			d.other(name)
		}
	}
	return d.close(fieldSet(1)<<lateFields - 1)
}

const (
	lateReason field = iota
	lateFunction
	lateEvent
	lateFields
)

var latePaths = [...]string{
	lateReason:   "reason",
	lateFunction: "function",
	lateEvent:    "event",
}

// AppendLate appends l as ParseLate reads it; the event is in the CloudEvents
// JSON format.
func AppendLate(dst []byte, l *Late) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "reason", l.Reason)
	dst = appendStringField(dst, "function", l.Function)
	dst = l.Event.AppendJSON(appendName(dst, "event"))
	return append(dst, '}')
}
