package dispatch

import (
	"context"
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

// Delivery is how an event is sent again: knative.Delivery.
type Delivery = knative.Delivery

// outcome is how one attempt, or all of them, ended.
type outcome struct {
	// status is that of the last answer, 0 when there was none.
	status int
	// body of the answer. Of one that is not success, and of one whose event is
	// discarded, only the beginning.
	body []byte
	// header of the answer.
	header http.Header
	// err is why there was no answer, or why the answer counts as none.
	err error
}

func (o *outcome) ok() bool { return o.err == nil && o.status > 0 && o.status < 300 }

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

// errCut says that ctx has ended before the attempts: nothing is known then.
var errCut = errors.New("cut")

// send sends r to target until it succeeds, cannot, or the attempts end. whole
// keeps all of a successful answer.
func (d *Deliverer) send(ctx context.Context, target *Target, r *request, whole bool) (outcome, error) {
	delivery := &d.egress.Delivery
	for n := 1; ; n++ {
		o := d.attempt(ctx, target, r, whole)
		if o.ok() {
			return o, nil
		}
		if ctx.Err() != nil {
			return o, errCut
		}
		if d.failed != nil {
			d.failed()
		}
		if n > delivery.Retry || !o.retryable() {
			return o, nil
		}
		if delivery.Delay == 0 {
			// A timer of 0 ms is an error in the data plane: no retry, and the
			// dead letter does not know the answer.
			return outcome{err: errors.New("a backoff delay of 0 means no retry")}, nil
		}
		select {
		case <-time.After(delivery.Pause(n)):
		case <-ctx.Done():
			return o, errCut
		}
	}
}

// maxRedirects bounds how many redirects one attempt follows, as Vert.x does.
const maxRedirects = 16

// attempt sends r once. A 303 is followed by a GET with the same headers and body,
// whose answer counts; that one's redirects are followed too.
func (d *Deliverer) attempt(ctx context.Context, target *Target, r *request, whole bool) outcome {
	if r.err != nil {
		return outcome{err: r.err}
	}
	ctx, cancel := context.WithTimeout(ctx, d.egress.Delivery.Timeout)
	defer cancel()
	address, err := target.address(ctx)
	if err != nil {
		return outcome{err: err}
	}
	o := d.exchange(ctx, http.MethodPost, address, r, whole)
	for n, method := 0, http.MethodPost; n < maxRedirects && o.redirects(method); n++ {
		next, err := address.Parse(o.header.Get("Location"))
		if err != nil {
			return outcome{err: err}
		}
		if next.Scheme != "http" && next.Scheme != "https" {
			break
		}
		address, method = next, http.MethodGet
		o = d.exchange(ctx, method, address, r, whole)
	}
	return o
}

// redirects reports whether the data plane's HTTP client goes on to Location: with a
// GET after 303, and after the other redirects only when it was a GET before.
func (o *outcome) redirects(method string) bool {
	if o.header.Get("Location") == "" {
		return false
	}
	switch o.status {
	case http.StatusSeeOther:
		return true
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return method == http.MethodGet
	}
	return false
}

// maxAnswer is how much of an answer is read, in bytes. The rest is not waited
// for.
const maxAnswer = 16 << 20

// exchange sends r to a URL and reads the answer. With whole all of a successful
// answer is kept, else what a dead letter may need of it.
func (d *Deliverer) exchange(ctx context.Context, method string, address *url.URL, r *request, whole bool) outcome {
	req := d.blank.WithContext(ctx) // a copy
	req.Method, req.URL, req.Host, req.Header = method, address, address.Host, r.header
	req.Body, req.ContentLength = r.content(), int64(len(r.body))
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	o := outcome{status: resp.StatusCode, header: resp.Header}
	keep := int64(maxErrorData)
	if whole && o.ok() {
		keep = maxAnswer
	}
	// The answer is read to its end, so that the connection can be used again,
	// but not for ever. One that breaks off is no answer.
	if resp.ContentLength == 0 {
		_, err = resp.Body.Read(make([]byte, 1))
	} else if o.body, err = io.ReadAll(io.LimitReader(resp.Body, keep)); err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, maxAnswer)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return outcome{err: fmt.Errorf("answer with status %d broke off: %w", resp.StatusCode, err)}
	}
	return o
}
