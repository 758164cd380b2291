package status

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Screen writes lines that stay and, on a terminal, a block below them that is
// drawn again and again. It may be used concurrently.
type Screen struct {
	mu    sync.Mutex
	out   io.Writer
	width func() int // of the terminal; nil: no terminal, no block
	rest  []byte     // of a line written in parts
	block []string
	drawn int // lines of the block on the terminal
}

// NewScreen makes a screen. width returns the terminal's width in columns; it is
// nil when out is no terminal.
func NewScreen(out io.Writer, width func() int) *Screen {
	return &Screen{out: out, width: width}
}

// Terminal reports whether there is a block.
func (s *Screen) Terminal() bool { return s.width != nil }

// Write adds text, which appears when its line is complete. It never fails: what
// the terminal refuses is nothing to stop for.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, p...)
	end := bytes.LastIndexByte(s.rest, '\n') + 1
	if end > 0 {
		s.lines(string(s.rest[:end]))
		s.rest = append(s.rest[:0], s.rest[end:]...)
	}
	return len(p), nil
}

// Line adds one line.
func (s *Screen) Line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines(fmt.Sprintf(format, args...) + "\n")
}

// Draw replaces the block. Without a terminal it does nothing.
func (s *Screen) Draw(block []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block = block
	s.lines("")
}

// lines writes whole lines above the block.
func (s *Screen) lines(text string) {
	if s.width == nil {
		io.WriteString(s.out, text)
		return
	}
	var b strings.Builder
	if s.drawn > 0 {
		// To the first line of the block, and clear from there.
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.drawn)
	}
	b.WriteString(text)
	width := s.width()
	for _, line := range s.block {
		b.WriteString(cut(line, width))
		b.WriteByte('\n')
	}
	s.drawn = len(s.block)
	io.WriteString(s.out, b.String())
}

// cut shortens a line that would be wrapped, which would spoil the count of
// lines.
func cut(line string, width int) string {
	if width < 1 || utf8.RuneCountInString(line) <= width {
		return line
	}
	runes := []rune(line)
	return string(runes[:max(0, width-1)]) + "…"
}
