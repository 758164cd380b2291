package service

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// What an instance may write, so that one that writes without end drowns neither
// the terminal nor the others. The rest is counted.
const (
	maxLine  = 64 << 10 // bytes, after which a line is broken
	maxLines = 500      // in a second
	maxBytes = 1 << 20  // in a second
)

// lines is a writer that calls write for each line.
type lines struct {
	write func(string)

	mu    sync.Mutex
	rest  []byte
	since time.Time // the beginning of this second
	count int       // lines in it that were written
	bytes int
	left  int // lines that were left out since the last that was written
}

func newLines(write func(string)) *lines { return &lines{write: write} }

// Write implements io.Writer. It never fails.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	begin := 0
	for {
		rest := l.rest[begin:]
		i := bytes.IndexByte(rest, '\n')
		end := i + 1
		if i < 0 {
			if len(rest) < maxLine {
				l.rest = append(l.rest[:0], rest...)
				return len(p), nil
			}
			i, end = maxLine, maxLine
		}
		l.line(bytes.TrimSuffix(rest[:i], []byte{'\r'}))
		begin += end
	}
}

// line writes one line, unless there have been too many.
func (l *lines) line(b []byte) {
	now := time.Now()
	if now.Sub(l.since) >= time.Second {
		l.since, l.count, l.bytes = now, 0, 0
	}
	if l.count >= maxLines || l.bytes+len(b) > maxBytes {
		l.left++
		return
	}
	l.count++
	l.bytes += len(b)
	l.sayLeft()
	l.write(string(b))
}

func (l *lines) sayLeft() {
	if l.left > 0 {
		l.write(fmt.Sprintf("... %d lines are not shown: it wrote more than %d lines or %d bytes in a second", l.left, maxLines, maxBytes))
		l.left = 0
	}
}

// flush writes a last line that has no end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
	l.sayLeft()
}
