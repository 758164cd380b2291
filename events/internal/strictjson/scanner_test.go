package strictjson

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const depth = 8

// tree reads any value as encoding/json does with UseNumber.
func tree(s *Scanner) any {
	switch s.Kind() {
	case Null:
		s.Null()
		return nil
	case True, False:
		return s.Bool()
	case Number:
		return json.Number(s.Num())
	case String:
		return s.Str()
	case Array:
		list := []any{}
		for s.Array(); s.More(); {
			list = append(list, tree(s))
		}
		return list
	case Object:
		members := map[string]any{}
		s.Object()
		for {
			name, ok := s.Name()
			if !ok {
				return members
			}
			members[name] = tree(s)
		}
	}
	s.Skip()
	return nil
}

func TestScannerRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "the text ends where a value was expected at byte 0"},
		{"only space", " \n", "the text ends where a value was expected at byte 2"},
		{"word", "nil", "expected null at byte 0"},
		{"cut word", "tru", "expected true at byte 0"},
		{"word that goes on", "nulls", "more text after the end of the value at byte 4"},
		{"two values", "1 2", "more text after the end of the value at byte 2"},
		{"byte order mark", "\ufeff1", "expected a value at byte 0"},
		{"single quotes", `{'a':1}`, "expected a name in quotes at byte 1"},
		{"number as name", `{1:1}`, "expected a name in quotes at byte 1"},
		{"no colon", `{"a" 1}`, "expected a colon at byte 5"},
		{"no comma", `{"a":1 "b":2}`, "expected a comma or } at byte 7"},
		{"comma at the end", `{"a":1,}`, "expected a name in quotes at byte 7"},
		{"comma at the beginning", `[,1]`, "expected a value at byte 1"},
		{"comma at the end of an array", `[1,]`, "expected a value at byte 3"},
		{"wrong bracket", `[1}`, "expected a comma or ] at byte 2"},
		{"open array", `[1`, "the text ends where a comma or ] was expected at byte 2"},
		{"open string", `"abc`, "the text ends inside a string at byte 4"},
		{"open string after an escape", `"a\"`, "the text ends inside a string at byte 4"},
		{"newline in a string", "\"a\nb\"", "control character in a string at byte 2"},
		{"NUL in a string", "\"0123456789\x00\"", "control character in a string at byte 11"},
		{"control character after an escape", "\"\\n\x01\"", "a string has an invalid escape or character at byte 1"},
		{"bad escape", `"\x"`, "a string has an invalid escape or character at byte 1"},
		{"short escape", `"\u12"`, "a string has an invalid escape or character at byte 1"},
		{"lone surrogate", `"\ud800"`, "a string has an invalid escape or character at byte 1"},
		{"bad UTF-8", "\"ab\xff\"", "invalid UTF-8 at byte 3"},
		{"cut UTF-8", "\"\xe6\x97", "invalid UTF-8 at byte 1"},
		{"plus", "+1", "expected a value at byte 0"},
		{"leading zero", "01", "malformed number at byte 0"},
		{"only a sign", "-", "malformed number at byte 0"},
		{"point without digits", "1.", "malformed number at byte 0"},
		{"exponent without digits", "1e+", "malformed number at byte 0"},
		{"NaN", "NaN", "expected a value at byte 0"},
		{"infinity", "-Infinity", "malformed number at byte 0"},
		{"hexadecimal", "0x10", "more text after the end of the value at byte 1"},
		{"comment", "1 // one", "more text after the end of the value at byte 2"},
		{"a name twice", `{"a":1,"b":{},"a":2}`, "an object has the same name twice at byte 13"},
		{"a name twice, escaped", `{"a":1,"\u0061":2}`, "an object has the same name twice at byte 6"},
		{"too deep", strings.Repeat("[", depth+1), "nested deeper than 8 levels at byte 8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Scanner
			s.Reset(test.text, depth)
			s.Skip()
			s.End()
			if s.Err() == nil {
				t.Fatalf("%q was accepted", test.text)
			}
			if want := "not valid JSON: " + test.want; s.Err().Error() != want {
				t.Errorf("error of %q:\n got %s\nwant %s", test.text, s.Err(), want)
			}
		})
	}
}

func TestScannerMismatch(t *testing.T) {
	reads := map[string]func(*Scanner){
		"a string":  func(s *Scanner) { s.Str() },
		"a number":  func(s *Scanner) { s.Num() },
		"a boolean": func(s *Scanner) { s.Bool() },
		"null":      (*Scanner).Null,
		"an object": (*Scanner).Object,
		"an array":  (*Scanner).Array,
	}
	values := map[string]string{
		"a string": `"x"`, "a number": "-1.5", "a boolean": "true", "null": "null", "an object": "{}", "an array": "[]",
	}
	for want, read := range reads {
		for is, text := range values {
			var s Scanner
			s.Reset(" "+text, depth)
			read(&s)
			switch err := s.Err(); {
			case want == is && err != nil:
				t.Errorf("reading %s from %s: %v", want, text, err)
			case want == is:
			case err == nil || !err.Mismatch || err.Reason != "must be "+want+", not "+is || err.Offset != 1:
				t.Errorf("reading %s from %s: error is %+v", want, text, err)
			}
		}
	}
}

func TestScannerErrorSticks(t *testing.T) {
	var s Scanner
	s.Reset(`{"a":1`, depth)
	s.Object()
	s.Name()
	s.Str() // a number stands here
	first := *s.Err()
	if name, ok := s.Name(); ok {
		t.Errorf("Name after an error returned %q", name)
	}
	if s.More() || s.Bool() || s.Num() != "" || s.Str() != "" || s.Raw() != "" || s.Kind() != Invalid {
		t.Error("a method returned something after an error")
	}
	s.Skip()
	s.End()
	if diff := cmp.Diff(first, *s.Err()); diff != "" {
		t.Errorf("the first error was replaced:\n%s", diff)
	}
}

func TestScannerRaw(t *testing.T) {
	var s Scanner
	s.Reset(` {"a" : [1, {"b":"]"}] ,"c":2}`, depth)
	s.Object()
	s.Name()
	if got, want := s.Raw(), `[1, {"b":"]"}]`; got != want {
		t.Errorf("Raw is %q, want %q", got, want)
	}
	if name, ok := s.Name(); !ok || name != "c" {
		t.Errorf("then comes %q, %v", name, ok)
	}
}

// TestExpect: what is expected changes nothing but the time it takes.
func TestExpect(t *testing.T) {
	for _, text := range []string{
		`{"a":1,"b":2,"c":3}`, `{"b":1,"a":2}`, `{"a":1,"a":2,"b":3}`, `{"a" :1, "b":2}`, `{"a":{"b":1},"b":{"a":2}}`, `{"a":1,"b"}`,
		`{"ab":1,"b":2}`, `{"\u0061":1,"b":2}`, `{"a":1`, `[{"a":1}]`,
	} {
		var plain, expecting Scanner
		plain.Reset(text, depth)
		want := tree(&plain)
		expecting.Reset(text, depth)
		expecting.Expect(NewOrder("a", "b"))
		got := tree(&expecting)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-plain +expecting):\n%s", text, diff)
		}
		if diff := cmp.Diff(plain.Err(), expecting.Err()); diff != "" {
			t.Errorf("%s: errors differ (-plain +expecting):\n%s", text, diff)
		}
	}
}

// skipNumbers is SkipNumbers one member at a time.
func skipNumbers(s *Scanner) {
	s.Object()
	for {
		if _, ok := s.Name(); !ok {
			return
		}
		s.Num()
	}
}

// checkSkipNumbers holds SkipNumbers to ending where skipNumbers does, with the
// same error.
func checkSkipNumbers(t *testing.T, text string) {
	t.Helper()
	var want, got Scanner
	want.Reset(text, depth)
	skipNumbers(&want)
	got.Reset(text, depth)
	got.SkipNumbers()
	if diff := cmp.Diff(want.Err(), got.Err()); diff != "" {
		t.Errorf("%q: errors differ (-one by one +SkipNumbers):\n%s", text, diff)
	}
	if want.Err() == nil && (got.pos != want.pos || got.depth != want.depth || got.first != want.first) {
		t.Errorf("%q: SkipNumbers ends at %d in depth %d, one by one at %d in depth %d", text, got.pos, got.depth, want.pos, want.depth)
	}
}

func TestSkipNumbers(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"a":1}`, `{"a":1,"b":-2.5e3,"c":0}`, `{"a":1,"a":2}`, `{ "a" : 1 , "b":2 }x`, `{"a":1, "b":2,"c":3}`,
		`{"a name of more than eight bytes":1,"":2}`, `{"\u0061":1,"b":2}`, `{"a":1,"b":"2"}`, `{"a":1,"b":{}}`, `{"a":1,"b":null,"c":1}`,
		`{"a":01}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `{"a":1`, `{"a":1,`, `{"a":1,"`, `{"a":1,"b`, `{"a":1,"b"`, `{"a":1,"b":`,
		`{"a":1,}`, `{,"a":1}`, `{"a":1"b":2}`, `{"a":1 "b":2}`, "{\"a\x01\":1}", "{\"a\":1,\"b\nc\":1}", `[1]`, `1`, ``, `[[[[[[[[{"a":1}`,
	} {
		checkSkipNumbers(t, text)
	}
}

func TestNames(t *testing.T) {
	var names Names
	for round := range 2 {
		for i := range 40 {
			if name := strings.Repeat("x", i); names.Add(name) != (round == 0) {
				t.Fatalf("round %d: Add of name %d is wrong", round, i)
			}
		}
	}
}

// FuzzScanner: for every input,
//
//   - nothing panics, and the scanner ends;
//   - the scanner accepts it exactly when jsontext does, apart from the depth;
//   - what it accepts, encoding/json accepts, and reads the same values;
//   - SkipNumbers ends where reading one number after the other does.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.50,3e+8,true,false,null,"x\u00e9\n\ud83d\ude00"],"b":{"":{}}}`,
		"[]", `"\\\""`, "0", "-0.0e-0", " [ 1 , 2 ] ", "\"12345678\x1f\"", `"12345678\`, "[[[[[[[[[", `{"a":1,"\u0061":1}`,
		"\"\u2028\u007f\u0080\"", `"\ud800\udc00\ud800"`, "1e999", "[1 ]x", `{"a":1,"bcdefghijk":-2.5,"c":0e1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkSkipNumbers(t, text)
		var s Scanner
		s.Reset(text, depth)
		s.Skip()
		s.End()
		err := s.Err()
		if err != nil && strings.HasPrefix(err.Reason, "nested") {
			return
		}
		if strict := jsontext.Value(text).IsValid(); (err == nil) != strict {
			t.Fatalf("%q: jsontext says valid %v, the scanner %v", text, strict, err)
		}
		if Valid(text, depth) != (err == nil) {
			t.Fatalf("%q: Valid disagrees with Skip", text)
		}
		if err != nil {
			return
		}
		s.Reset(text, depth)
		s.Expect(NewOrder("a", "b", ""))
		got := tree(&s)
		s.End()
		if s.Err() != nil {
			t.Fatalf("%q: Skip accepts it, reading does not: %v", text, s.Err())
		}
		var want any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q: encoding/json refuses it: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-encoding/json +scanner):\n%s", text, diff)
		}
	})
}
