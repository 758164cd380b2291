//go:build synctests

package source

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"datasurge/emulator/golden"
)

// scriptedSink is an HTTP server that answers as the recorder's sink did, and
// keeps what it got, byte by byte.
type scriptedSink struct {
	t     *testing.T
	rules []golden.Rule
	hold  chan struct{} // hanging requests are answered when it is closed; nil: never

	mu       sync.Mutex
	requests []*arrival
	attempts map[string]int // by path and event
	open     int
	most     int // that were open at a time
}

// arrival is a request that the sink got.
type arrival struct {
	at       time.Time
	attempt  int
	inFlight int
	answer   string
	head     []byte
	method   string
	path     string
	headers  []golden.Header
	body     []byte
}

func newScriptedSink(t *testing.T, r *golden.Recording) *scriptedSink {
	s := &scriptedSink{t: t, rules: r.Sink, attempts: make(map[string]int)}
	if r.Then.Summary != nil && r.Then.Summary.InFlightWhileHeld != nil {
		s.hold = make(chan struct{})
	}
	return s
}

// serve accepts connections until l is closed.
func (s *scriptedSink) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.connection(c)
	}
}

func (s *scriptedSink) connection(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		a, err := readArrival(r)
		if err != nil {
			return
		}
		answer := s.arrived(a)
		// Nothing follows before the answer, so what comes is the end.
		gone := make(chan error, 1)
		go func() {
			_, err := r.Peek(1)
			gone <- err
		}()
		text, again := s.respond(c, &answer, gone)
		s.mu.Lock()
		a.answer = text
		s.open--
		s.mu.Unlock()
		if !again || <-gone != nil {
			return
		}
	}
}

func readArrival(r *bufio.Reader) (*arrival, error) {
	a := &arrival{body: []byte{}}
	for !bytes.HasSuffix(a.head, []byte("\r\n\r\n")) {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		a.head = append(a.head, line...)
	}
	lines := strings.Split(strings.TrimSuffix(string(a.head), "\r\n\r\n"), "\r\n")
	first := strings.Fields(lines[0])
	a.method, a.path = first[0], first[1]
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.headers = append(a.headers, golden.Header{Name: strings.ToLower(name), Value: []byte(value)})
		if strings.EqualFold(name, "content-length") {
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, err
			}
			a.body = make([]byte, n)
			if _, err := io.ReadFull(r, a.body); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func (a *arrival) header(name string) string {
	for _, h := range a.headers {
		if h.Name == name {
			return string(h.Value)
		}
	}
	return ""
}

// arrived notes a request and returns how it is to be answered.
func (s *scriptedSink) arrived(a *arrival) golden.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := a.path + "\x00" + a.header("ce-id") + "\x00" + a.header("ce-source") + "\x00" +
		a.header("ce-knativekafkapartition") + "\x00" + a.header("ce-knativekafkaoffset")
	s.attempts[key]++
	s.open++
	s.most = max(s.most, s.open)
	a.at, a.attempt, a.inFlight = time.Now(), s.attempts[key], s.open
	s.requests = append(s.requests, a)
	for _, rule := range s.rules {
		if rule.Path == a.path && (rule.WhenBody == nil || *rule.WhenBody == string(a.body)) {
			return rule.Answers[min(a.attempt, len(rule.Answers))-1]
		}
	}
	return golden.Answer{}
}

// respond answers a request. It says what became of it in the recorder's words,
// and whether the connection can be used again.
func (s *scriptedSink) respond(c net.Conn, a *golden.Answer, gone <-chan error) (text string, again bool) {
	const reset, closed = "RST", "FIN"
	status := a.Status
	if status == 0 {
		status = http.StatusAccepted
	}
	switch a.Action {
	case golden.Hang:
		select {
		case <-gone:
			return "never answered; peer closed the connection", false
		case <-s.hold:
		}
	case golden.Reset:
		return reset + " before any answer byte", false
	case golden.Close:
		return closed + " before any answer byte", false
	case golden.Garbage:
		io.WriteString(c, "this is no HTTP\r\n\r\n")
		return "non-HTTP bytes, then FIN", false
	case golden.Interim:
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	}
	select {
	case <-time.After(time.Duration(a.DelayMs) * time.Millisecond):
	case <-gone:
		return "peer closed the connection before the answer", false
	}
	if a.Action == golden.ResetMid || a.Action == golden.CloseMid {
		fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: 1000\r\n\r\npartial", status, http.StatusText(status))
		how := closed
		if a.Action == golden.ResetMid {
			how = reset
		}
		return fmt.Sprintf("status %d and 7 of 1000 body bytes, then %s", status, how), false
	}
	body, err := a.Content()
	if err != nil {
		s.t.Error(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, h := range a.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	} else {
		body = nil
	}
	b.WriteString("\r\n")
	b.Write(body)
	c.Write(b.Bytes())
	return strconv.Itoa(status), a.Action != golden.CloseAfter
}

// got returns what has arrived until now.
func (s *scriptedSink) got() []*arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*arrival(nil), s.requests...)
}

func (s *scriptedSink) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}
