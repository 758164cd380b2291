package source

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"datasurge/knative"
)

// Target is where events are sent.
type Target struct {
	// URL as configured. It is what a dead letter names.
	URL string
	// Address returns the URL to send one request to, when it is not URL: it
	// chooses among instances, and may wait for one until ctx is done.
	Address func(ctx context.Context) (string, error)
}

func (t *Target) address(ctx context.Context) (string, error) {
	if t.Address == nil {
		return t.URL, nil
	}
	return t.Address(ctx)
}

// outcome is how one attempt, or all of them, ended.
type outcome struct {
	// status is that of the last answer, 0 when there was none.
	status int
	// body is the beginning of the answer, at most maxErrorData bytes.
	body []byte
	// header of the answer.
	header http.Header
	// err is why there was no answer.
	err error
}

func (o *outcome) ok() bool { return o.status > 0 && o.status < 300 }

// String says what happened, for the log.
func (o *outcome) String() string {
	if o.status == 0 {
		return fmt.Sprint("no answer: ", o.err)
	}
	s := "answered " + strconv.Itoa(o.status)
	if text := strings.ToValidUTF8(strings.TrimSpace(string(o.body)), "?"); text != "" {
		const enough = 200
		if len(text) > enough {
			text = text[:enough] + "..."
		}
		s += ": " + text
	}
	return s
}

// maxErrorData is how much of an answer a dead letter keeps, in bytes.
const maxErrorData = 1024

// retryable says whether another attempt may help. Redirects are failures that
// none helps.
func (o *outcome) retryable() bool {
	switch {
	case o.status == 0:
		return true // refused, reset, timed out: the sink may come back
	case o.status >= 500:
		return true // also beyond 599
	case o.status == http.StatusNotFound:
		return true // the route may not be there yet
	case o.status == http.StatusRequestTimeout, o.status == http.StatusConflict, o.status == http.StatusTooManyRequests:
		return true // says so itself
	}
	return false
}

// sender sends requests again and again, as a delivery spec says.
type sender struct {
	transport http.RoundTripper
	delivery  knative.Delivery
	// failed counts attempts that did not succeed; may be nil.
	failed func()
}

// send sends r to target until it succeeds, cannot, or the attempts end. The
// error is that of ctx, when it ended first: nothing is known then.
func (s *sender) send(ctx context.Context, target *Target, r *request) (outcome, error) {
	for n := 1; ; n++ {
		o := s.attempt(ctx, target, r)
		if o.ok() {
			return o, nil
		}
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		if s.failed != nil {
			s.failed()
		}
		if n > s.delivery.Retry || !o.retryable() {
			return o, nil
		}
		if s.delivery.Delay == 0 {
			// A timer of 0 ms is an error in the data plane: no retry, and the
			// dead letter does not know the answer.
			return outcome{err: errors.New("a backoff delay of 0 means no retry")}, nil
		}
		select {
		case <-time.After(s.delivery.Pause(n)):
		case <-ctx.Done():
			return o, ctx.Err()
		}
	}
}

// attempt sends r once. A 303 is followed by one GET with the same headers and
// body, whose answer counts; no other redirect is followed.
func (s *sender) attempt(ctx context.Context, target *Target, r *request) outcome {
	ctx, cancel := context.WithTimeout(ctx, s.delivery.Timeout)
	defer cancel()
	address, err := target.address(ctx)
	if err != nil {
		return outcome{err: err}
	}
	o := s.exchange(ctx, http.MethodPost, address, r)
	if o.status == http.StatusSeeOther {
		if location := o.header.Get("Location"); location != "" {
			base, err := url.Parse(address)
			if err == nil {
				base, err = base.Parse(location)
			}
			if err != nil {
				return outcome{err: err}
			}
			return s.exchange(ctx, http.MethodGet, base.String(), r)
		}
	}
	return o
}

func (s *sender) exchange(ctx context.Context, method, address string, r *request) outcome {
	u, err := url.Parse(address)
	if err != nil {
		return outcome{err: err}
	}
	req := &http.Request{
		Method: method, URL: u, Host: u.Host, Header: r.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: r.content(), ContentLength: int64(len(r.body)),
	}
	resp, err := s.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	// The answer is read to its end, so that the connection can be used again,
	// but not for ever. One that breaks off is no answer.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorData))
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, maxAnswer)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return outcome{err: fmt.Errorf("answer with status %d broke off: %w", resp.StatusCode, err)}
	}
	return outcome{status: resp.StatusCode, body: body, header: resp.Header}
}

// maxAnswer is how much of an answer is read, in bytes. The rest is not waited
// for.
const maxAnswer = 16 << 20

// deadLetter returns r with what is known of its failure.
func deadLetter(r *request, target string, o *outcome) *request {
	d := r.clone()
	d.override("knativeerrordest", target)
	if o.status != 0 {
		d.override("knativeerrorcode", strconv.Itoa(o.status))
		if len(o.body) > 0 {
			d.override("knativeerrordata", base64.StdEncoding.EncodeToString(o.body))
		}
	}
	for name, values := range o.header {
		const prefix = "Kne-"
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) && len(values) > 0 {
			d.override(strings.ToLower(name[len(prefix):]), values[len(values)-1])
		}
	}
	return d
}
