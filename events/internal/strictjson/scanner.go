// Package strictjson reads JSON that may come from anybody: it accepts exactly
// RFC 8259 with valid UTF-8, no lone surrogates, no object that has a name
// twice, and a bounded depth.
//
// It is a pull scanner over a string. Strings without escapes are substrings of
// the input and numbers are returned as written, so that reading a flat object
// allocates nothing and no number passes through a float.
//
// jsontext (github.com/go-json-experiment/json) is as strict and is what the
// rest of the module uses. To split a record of 280 bytes into its ten fields
// takes it longer than all of the decoding takes with this scanner, on the path
// that every transaction goes through four times. The fuzz test holds the two to
// the same verdict.
package strictjson

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the kind of a JSON value, named by the first byte of its text; for
// numbers it is '0'.
type Kind byte

// The kinds of values. Invalid is what [Scanner.Kind] returns when the text
// goes on with none of them.
const (
	Invalid Kind = 0
	Null    Kind = 'n'
	False   Kind = 'f'
	True    Kind = 't'
	String  Kind = '"'
	Number  Kind = '0'
	Object  Kind = '{'
	Array   Kind = '['
)

func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case False, True:
		return "a boolean"
	case String:
		return "a string"
	case Number:
		return "a number"
	case Object:
		return "an object"
	case Array:
		return "an array"
	}
	return "no JSON value"
}

// Error says what is wrong with the text. It never quotes the text, apart from
// one character.
type Error struct {
	Offset int    // in bytes
	Reason string // "expected a comma or }"
	// Mismatch is set when the text is valid so far, but the value is of
	// another kind than was asked for; Reason then reads "must be a string,
	// not a number".
	Mismatch bool
}

func (e *Error) Error() string {
	if e.Mismatch {
		return fmt.Sprintf("value at byte %d %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("not valid JSON: %s at byte %d", e.Reason, e.Offset)
}

// Scanner reads one JSON text from front to back. The first error sticks: from
// then on every method returns its zero value, so that loops end and only
// [Scanner.Err] has to be looked at.
//
// Object and Array open a container; Name and More walk its members until they
// return false, which closes it. Each member's value has to be consumed before
// the next call.
type Scanner struct {
	src      string
	pos      int
	depth    int
	maxDepth int
	first    bool // a container was opened and nothing of it read yet
	expected Order
	err      *Error
}

// Order is the names of an object's members in the order in which they most
// often come, each as it is written: in quotes and with its colon.
type Order []string

// NewOrder returns the Order of names, which need no escapes.
func NewOrder(names ...string) Order {
	order := make(Order, len(names))
	for i, name := range names {
		order[i] = `"` + name + `":`
	}
	return order
}

// Reset makes s read src, in which containers may be nested maxDepth deep.
func (s *Scanner) Reset(src string, maxDepth int) {
	*s = Scanner{src: src, maxDepth: maxDepth}
	if !utf8.ValidString(src) {
		s.fail(invalidUTF8(src), "invalid UTF-8")
	}
}

// Expect tells in which order the members of the outermost object will most
// likely come. It changes nothing but the time that Name takes: to compare a
// name with the one expected is several times faster than to read it.
func (s *Scanner) Expect(order Order) { s.expected = order }

func invalidUTF8(src string) int {
	for i, r := range src {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(src[i:]); n == 1 {
				return i
			}
		}
	}
	return len(src)
}

// Err returns the first error, nil when there was none.
func (s *Scanner) Err() *Error { return s.err }

func (s *Scanner) fail(offset int, reason string) {
	if s.err == nil {
		s.err = &Error{Offset: offset, Reason: reason}
	}
}

func (s *Scanner) unexpected(want string) {
	if s.pos >= len(s.src) {
		s.fail(s.pos, "the text ends where "+want+" was expected")
		return
	}
	s.fail(s.pos, "expected "+want)
}

func (s *Scanner) mismatch(want string) {
	if s.err != nil {
		return
	}
	kind := s.Kind()
	if kind == Invalid {
		s.unexpected("a value")
		return
	}
	if s.err == nil {
		s.err = &Error{Offset: s.pos, Reason: "must be " + want + ", not " + kind.String(), Mismatch: true}
	}
}

// space moves over white space. Most often there is none.
func (s *Scanner) space() {
	if s.pos < len(s.src) && s.src[s.pos] <= ' ' {
		s.skipSpace()
	}
}

func (s *Scanner) skipSpace() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

// Kind looks at the next value without consuming it.
func (s *Scanner) Kind() Kind {
	if s.err != nil {
		return Invalid
	}
	s.space()
	if s.pos >= len(s.src) {
		return Invalid
	}
	switch c := s.src[s.pos]; c {
	case 'n', 'f', 't', '"', '{', '[':
		return Kind(c)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return Number
	}
	return Invalid
}

// Object opens an object; walk it with Name.
func (s *Scanner) Object() {
	if s.Kind() != Object {
		s.mismatch("an object")
		return
	}
	s.open()
}

// Array opens an array; walk it with More.
func (s *Scanner) Array() {
	if s.Kind() != Array {
		s.mismatch("an array")
		return
	}
	s.open()
}

func (s *Scanner) open() {
	if s.depth++; s.depth > s.maxDepth {
		s.fail(s.pos, fmt.Sprintf("nested deeper than %d levels", s.maxDepth))
		return
	}
	s.pos++
	s.first = true
}

// next moves to the next member of a container that ends with end.
func (s *Scanner) next(end byte, wants string) bool {
	if s.err != nil {
		return false
	}
	s.space()
	c := byte(0)
	if s.pos < len(s.src) {
		c = s.src[s.pos]
	}
	switch {
	case c == end:
		s.pos++
		s.depth--
		s.first = false
		return false
	case s.first:
		s.first = false
		return true
	case c == ',':
		s.pos++
		return true
	}
	s.unexpected(wants)
	return false
}

// More reports whether the array that is open has another element and, if so,
// stands before it.
func (s *Scanner) More() bool {
	return s.next(']', "a comma or ]")
}

// Name returns the name of the object's next member and stands before its
// value; false closes the object. It does not look for repeated names: a caller
// that knows the names has cheaper means than [Names].
func (s *Scanner) Name() (string, bool) {
	if !s.next('}', "a comma or }") {
		return "", false
	}
	s.space()
	if s.depth == 1 && len(s.expected) > 0 && strings.HasPrefix(s.src[s.pos:], s.expected[0]) {
		name := s.expected[0]
		s.expected = s.expected[1:]
		s.pos += len(name)
		return name[1 : len(name)-2], true
	}
	if s.pos >= len(s.src) || s.src[s.pos] != '"' {
		s.unexpected("a name in quotes")
		return "", false
	}
	name := s.text()
	if s.err != nil {
		return "", false
	}
	s.space()
	if s.pos >= len(s.src) || s.src[s.pos] != ':' {
		s.unexpected("a colon")
		return "", false
	}
	s.pos++
	return name, true
}

// Str consumes a string and returns its value: a substring of the input unless
// it has escapes.
func (s *Scanner) Str() string {
	if s.err == nil {
		if s.space(); s.pos < len(s.src) && s.src[s.pos] == '"' {
			return s.text()
		}
	}
	s.mismatch("a string")
	return ""
}

// Word is the first eight bytes of s as a number, the first byte the lowest. The
// compiler makes one load of it.
func Word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// text consumes the string that begins at pos.
func (s *Scanner) text() string {
	src := s.src
	start := s.pos + 1
	i := plainEnd(src, start)
	switch {
	case i == len(src):
		s.fail(i, "the text ends inside a string")
	case src[i] == '"':
		s.pos = i + 1
		return src[start:i]
	case src[i] == '\\':
		return s.escaped(start, i)
	default:
		s.fail(i, "control character in a string")
	}
	return ""
}

// plainEnd returns the place of the first quote, backslash or control character of
// src from i on, and the end of src when there is none.
func plainEnd(src string, i int) int {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	// Eight bytes at a time, as long as none of them is what is looked for.
	for ; i+8 <= len(src); i += 8 {
		x := Word(src[i : i+8])
		// A byte that is zero borrows from its high bit when one is taken off,
		// and one below a space when a space is. A borrow may also mark the
		// byte above a marked one, so only the lowest mark counts.
		quote, backslash := x^'"'*low, x^'\\'*low
		marks := ((quote-low)&^quote | (backslash-low)&^backslash | (x-' '*low)&^x) & high
		if marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c == '"' || c == '\\' || c < ' ' {
			break
		}
	}
	return i
}

// escaped goes on with text from the first backslash.
func (s *Scanner) escaped(start, i int) string {
	src := s.src
	for ; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++ // what follows is no end of the string; AppendUnquote judges it
		case '"':
			value, err := jsontext.AppendUnquote(nil, src[start-1:i+1])
			if err != nil {
				s.fail(start, "a string has an invalid escape or character")
				return ""
			}
			s.pos = i + 1
			return string(value)
		}
	}
	s.fail(len(src), "the text ends inside a string")
	return ""
}

// Num consumes a number and returns it as written.
func (s *Scanner) Num() string {
	if s.err != nil {
		return ""
	}
	s.space()
	start := s.pos
	n := numberLen(s.src[start:])
	if n == 0 {
		if s.Kind() != Number {
			s.mismatch("a number")
			return ""
		}
		s.fail(start, "malformed number")
		return ""
	}
	s.pos = start + n
	return s.src[start:s.pos]
}

// SkipNumbers consumes an object all of whose members are numbers, and does not
// look for repeated names: Name and Num for each of them, of which the usual ones,
// without spaces and escapes, are read over in one go.
func (s *Scanner) SkipNumbers() {
	s.Object()
	for {
		s.skipPlainNumbers()
		if _, ok := s.Name(); !ok {
			return
		}
		s.Num()
	}
}

// skipPlainNumbers moves over members that are numbers and stops before the first
// that is anything but usual.
func (s *Scanner) skipPlainNumbers() {
	if s.err != nil {
		return
	}
	src := s.src
	for i := s.pos; ; s.pos, s.first = i, false {
		if !s.first {
			if i >= len(src) || src[i] != ',' {
				return
			}
			i++
		}
		if i >= len(src) || src[i] != '"' {
			return
		}
		i = plainEnd(src, i+1)
		if i+1 >= len(src) || src[i] != '"' || src[i+1] != ':' {
			return
		}
		i += len(`":`)
		n := numberLen(src[i:])
		if n == 0 {
			return
		}
		i += n
	}
}

// numberLen returns the length of the JSON number that src begins with, 0 when
// it begins with none or with one that breaks off ("1." or "1e").
func numberLen(src string) int {
	i := 0
	if i < len(src) && src[i] == '-' {
		i++
	}
	switch {
	case i < len(src) && src[i] == '0':
		i++
		if i < len(src) && '0' <= src[i] && src[i] <= '9' {
			return 0
		}
	default:
		n := digits(src[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	if i < len(src) && src[i] == '.' {
		n := digits(src[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		n := digits(src[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	return i
}

func digits(src string) int {
	i := 0
	for i < len(src) && '0' <= src[i] && src[i] <= '9' {
		i++
	}
	return i
}

// Bool consumes true or false.
func (s *Scanner) Bool() bool {
	switch s.Kind() {
	case True:
		s.literal("true")
		return s.err == nil
	case False:
		s.literal("false")
	default:
		s.mismatch("a boolean")
	}
	return false
}

// Null consumes null.
func (s *Scanner) Null() {
	if s.Kind() != Null {
		s.mismatch("null")
		return
	}
	s.literal("null")
}

func (s *Scanner) literal(text string) {
	if len(s.src)-s.pos < len(text) || s.src[s.pos:s.pos+len(text)] != text {
		s.unexpected(text)
		return
	}
	s.pos += len(text)
}

// Skip consumes one value of any kind and checks all of it, repeated names too.
func (s *Scanner) Skip() {
	switch s.Kind() {
	case Null:
		s.Null()
	case True, False:
		s.Bool()
	case Number:
		s.Num()
	case String:
		s.Str()
	case Array:
		s.Array()
		for s.More() {
			s.Skip()
		}
	case Object:
		var names Names
		s.Object()
		for {
			at := s.pos
			name, ok := s.Name()
			if !ok {
				return
			}
			if !names.Add(name) {
				s.fail(at, "an object has the same name twice")
				return
			}
			s.Skip()
		}
	default:
		s.unexpected("a value")
	}
}

// Raw is Skip, and returns the value's text without the space around it.
func (s *Scanner) Raw() string {
	s.Kind() // moves to the value
	start := s.pos
	s.Skip()
	if s.err != nil {
		return ""
	}
	return s.src[start:s.pos]
}

// End checks that nothing but space is left.
func (s *Scanner) End() {
	if s.err != nil {
		return
	}
	if s.space(); s.pos < len(s.src) {
		s.fail(s.pos, "more text after the end of the value")
	}
}

// Names is the set of names that an object has had. The zero value is empty.
type Names struct {
	n     int
	few   [16]string
	table map[string]struct{} // from the seventeenth name on, all of them
}

// Add reports whether name is new to the set, and adds it.
func (t *Names) Add(name string) bool {
	if t.table != nil {
		if _, ok := t.table[name]; ok {
			return false
		}
		t.table[name] = struct{}{}
		return true
	}
	if slices.Contains(t.few[:t.n], name) {
		return false
	}
	if t.n < len(t.few) {
		t.few[t.n] = name
		t.n++
		return true
	}
	t.table = make(map[string]struct{}, 2*len(t.few))
	for _, other := range t.few {
		t.table[other] = struct{}{}
	}
	t.table[name] = struct{}{}
	return true
}

// Valid reports whether src is one JSON value, by the rules of the package.
func Valid(src string, maxDepth int) bool {
	var s Scanner
	s.Reset(src, maxDepth)
	s.Skip()
	s.End()
	return s.Err() == nil
}
