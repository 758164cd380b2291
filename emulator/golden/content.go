package golden

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Content is bytes: of a key, a value or a body. A nil *Content is null. Of long
// ones a recording has only the length, a hash and the beginning.
type Content struct {
	bytes []byte // never nil, unless only the hash is known
	len   int
	sum   string
	first []byte
}

// UnmarshalYAML reads {b64, text?} or {len, sha256, first64}.
func (c *Content) UnmarshalYAML(n *yaml.Node) error {
	var v struct {
		B64     *string
		Text    *string
		Len     int
		SHA256  string `yaml:"sha256"`
		First64 string `yaml:"first64"`
	}
	if err := n.Decode(&v); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	if v.B64 == nil {
		// Plain text, of 64 bytes, for all its name.
		first := []byte(v.First64)
		if len(first) == 0 || v.Len == 0 || len(v.SHA256) != hex.EncodedLen(sha256.Size) {
			return fmt.Errorf("line %d: want b64, or len, sha256 and first64", n.Line)
		}
		*c = Content{len: v.Len, sum: v.SHA256, first: first}
		return nil
	}
	b, err := base64.StdEncoding.AppendDecode([]byte{}, []byte(*v.B64))
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	if v.Text != nil && *v.Text != string(b) {
		return fmt.Errorf("line %d: text %q is not what b64 says", n.Line, *v.Text)
	}
	*c = Content{bytes: b, len: len(b)}
	return nil
}

// Bytes returns the content, nil for null. One of which only the hash is known
// is made by repeating its beginning; it is an error when that is not it.
func (c *Content) Bytes() ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	if c.bytes != nil {
		return c.bytes, nil
	}
	for period := 1; period <= len(c.first); period++ {
		b := bytes.Repeat(c.first[:period], c.len/period+1)[:c.len]
		if c.Equal(b) {
			return b, nil
		}
	}
	return nil, fmt.Errorf("of %d bytes only the hash is known, and they do not repeat their beginning %q", c.len, c.first)
}

// Equal reports whether b is the content. Null is only nil.
func (c *Content) Equal(b []byte) bool {
	switch {
	case c == nil || b == nil:
		return c == nil && b == nil
	case c.bytes != nil:
		return bytes.Equal(c.bytes, b)
	case len(b) != c.len:
		return false
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]) == c.sum
}

// String is the content as it appears in a comparison: the same for the same
// bytes, whether all of them are known or not.
func (c *Content) String() string {
	if c != nil && c.bytes == nil {
		return describe(c.len, c.sum)
	}
	if c == nil {
		return text(nil)
	}
	return text(c.bytes)
}

// maxShown is the length from which recordings have only a hash, in bytes.
const maxShown = 4096

// text is b as it appears in a comparison.
func text(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > maxShown {
		sum := sha256.Sum256(b)
		return describe(len(b), hex.EncodeToString(sum[:]))
	}
	return fmt.Sprintf("%q", b)
}

func describe(n int, sum string) string { return fmt.Sprintf("%d bytes, sha256 %s", n, sum) }

// Header is a header of a request, an answer or a record. A nil Value is null.
type Header struct {
	Name  string
	Value []byte
}

// UnmarshalYAML reads [name, value], where value is null, text or {b64}.
func (h *Header) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) != 2 {
		return fmt.Errorf("line %d: want a header as [name, value]", n.Line)
	}
	value := n.Content[1]
	h.Name = n.Content[0].Value
	switch {
	case value.ShortTag() == "!!null":
		h.Value = nil
	case value.Kind == yaml.ScalarNode:
		h.Value = []byte(value.Value)
	default:
		var c Content
		if err := c.UnmarshalYAML(value); err != nil {
			return err
		}
		b, err := c.Bytes()
		if err != nil {
			return fmt.Errorf("line %d: header %s: %w", n.Line, h.Name, err)
		}
		h.Value = b
	}
	return nil
}
