package events

import "strings"

// The lists that rules may look a value up in.
const (
	ListAllow = "allow"
	ListDeny  = "deny"
	ListWatch = "watch"
)

// ListEntry puts a value on a list: the data of TypeList. Its key in
// TopicLists is Key.
type ListEntry struct {
	List  string // ListAllow, ListDeny or ListWatch
	Value string // a merchant's or a customer's id, or any other text of a transaction
	Until int64  // ms since the epoch of event time from which it no longer counts; 0: for good
	Note  string // why, for people; may be empty
}

// Key is the entry's key in TopicLists.
func (l *ListEntry) Key() string { return l.List + "/" + l.Value }

// Suppression keeps a rule from flagging the transactions of one customer or
// merchant: the data of TypeSuppression. Its key in TopicLists is Key.
type Suppression struct {
	Rule  string // id of the rule
	Value string // id of the customer or merchant
	Until int64  // ms since the epoch of event time from which it no longer counts
	Note  string // why, for people; may be empty
}

const suppressPrefix = "suppress/"

// Key is the suppression's key in TopicLists.
func (s *Suppression) Key() string { return suppressPrefix + s.Rule + "/" + s.Value }

// IsSuppressionKey reports whether key is that of a suppression.
func IsSuppressionKey(key string) bool { return strings.HasPrefix(key, suppressPrefix) }

const (
	listList field = iota
	listValue
	listUntil
	listNote
)

var listPaths = [...]string{listList: "list", listValue: "value", listUntil: "until", listNote: "note"}

// ParseListEntry reads the data of a TypeList event into l, as
// [ParseTransaction] does. until and note may be missing.
func ParseListEntry(data []byte, l *ListEntry) error {
	*l = ListEntry{}
	var d decoder
	d.open(data, listPaths[:])
	for name := range d.names {
		switch name {
		case "list":
			l.List = d.code(listList, ListAllow, ListDeny, ListWatch)
		case "value":
			l.Value = d.id(listValue)
		case "until":
			l.Until = d.millis(listUntil)
		case "note":
			l.Note = d.text(listNote, MaxTextBytes)
		default:
			d.other(name)
		}
	}
	return d.close(1<<listList | 1<<listValue)
}

// AppendListEntry appends l as ParseListEntry reads it.
func AppendListEntry(dst []byte, l *ListEntry) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "list", l.List)
	dst = appendStringField(dst, "value", l.Value)
	return append(appendUntilAndNote(dst, l.Until, l.Note), '}')
}

func appendUntilAndNote(dst []byte, until int64, note string) []byte {
	if until != 0 {
		dst = appendIntField(dst, "until", until)
	}
	if note != "" {
		dst = appendStringField(dst, "note", note)
	}
	return dst
}

const (
	suppressionRule field = iota
	suppressionValue
	suppressionUntil
	suppressionNote
)

var suppressionPaths = [...]string{
	suppressionRule: "rule", suppressionValue: "value", suppressionUntil: "until", suppressionNote: "note",
}

// ParseSuppression reads the data of a TypeSuppression event into s, as
// [ParseTransaction] does. Only note may be missing.
func ParseSuppression(data []byte, s *Suppression) error {
	*s = Suppression{}
	var d decoder
	d.open(data, suppressionPaths[:])
	for name := range d.names {
		switch name {
		case "rule":
			s.Rule = d.id(suppressionRule)
		case "value":
			s.Value = d.id(suppressionValue)
		case "until":
			s.Until = d.millis(suppressionUntil)
		case "note":
			s.Note = d.text(suppressionNote, MaxTextBytes)
		default:
			d.other(name)
		}
	}
	return d.close(1<<suppressionNote - 1)
}

// AppendSuppression appends s as ParseSuppression reads it.
func AppendSuppression(dst []byte, s *Suppression) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "rule", s.Rule)
	dst = appendStringField(dst, "value", s.Value)
	return append(appendUntilAndNote(dst, s.Until, s.Note), '}')
}
