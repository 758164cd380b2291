package service

import (
	"bytes"
	"fmt"
	"sync"
	"time"
)

// What an instance may write, so that one that writes without end drowns neither
// the terminal nor the others. Of the rest the last lines are shown, when there
// is room again: they may say why it ended.
const (
	maxLine  = 64 << 10 // bytes, after which a line is broken
	maxLines = 500      // in a second
	maxBytes = 1 << 20  // in a second
	keepLast = 10       // of the lines that are left out
)

// lines is a writer that calls write for each line.
type lines struct {
	write func(string)

	mu    sync.Mutex
	rest  []byte
	since time.Time // the beginning of this second
	count int       // lines in it that were written
	bytes int
	left  []string    // the last lines that were left out since one was written
	lost  int         // lines before those
	later *time.Timer // says what was left out when nothing more comes; nil when there is nothing
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
		l.leave(string(b))
		return
	}
	l.count++
	l.bytes += len(b)
	l.sayLeft()
	l.write(string(b))
}

// leave leaves a line out.
func (l *lines) leave(line string) {
	if l.left = append(l.left, line); len(l.left) > keepLast {
		l.left = append(l.left[:0], l.left[1:]...)
		l.lost++
	}
	if l.later == nil {
		l.later = time.AfterFunc(time.Second, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sayLeft()
		})
	}
}

func (l *lines) sayLeft() {
	if l.later == nil {
		return
	}
	l.later.Stop()
	l.later = nil
	if l.lost > 0 {
		l.write(fmt.Sprintf("... %d lines are not shown: it wrote more than %d lines or %d bytes in a second", l.lost, maxLines, maxBytes))
	}
	for _, line := range l.left {
		l.write(line)
	}
	l.left, l.lost = nil, 0
}

// flush writes a last line that has no end, and what was left out. Nothing is
// written afterwards.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
	l.sayLeft()
}
