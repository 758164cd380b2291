package events

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
)

// WindowStart says since when a task of detect keeps a window that rules ask
// for: the data of TypeWindowStart. Its key in TopicWindows is Key.
type WindowStart struct {
	Window    string // id of the window
	Task      int
	ExactFrom int64 // event time from which the window misses nothing, ms since the epoch; 0: always
}

const windowStartPrefix = "start/"

// Key is the record's key in TopicWindows.
func (w *WindowStart) Key() string { return WindowStartKey(w.Window, w.Task) }

// WindowStartKey is the key of a WindowStart.
func WindowStartKey(window string, task int) string {
	return windowStartPrefix + window + "/" + strconv.Itoa(task)
}

// WindowPanes is what one task of detect has counted of one merchant, for the
// other tasks to add: the data of TypeWindowPanes. Its key in TopicWindows is
// Key.
type WindowPanes struct {
	MerchantID string
	Task       int
	Panes      []byte // of all windows kept by merchant, as detect encodes them
}

const windowPanesPrefix = "panes/"

// Key is the record's key in TopicWindows.
func (w *WindowPanes) Key() string { return WindowPanesKey(w.MerchantID, w.Task) }

// WindowPanesKey is the key of a WindowPanes.
func WindowPanesKey(merchant string, task int) string {
	return windowPanesPrefix + strconv.Itoa(task) + "/" + merchant
}

// ParseWindowStartKey takes a WindowStartKey apart.
func ParseWindowStartKey(key string) (window string, task int, ok bool) {
	rest, ok := strings.CutPrefix(key, windowStartPrefix)
	if !ok {
		return "", 0, false
	}
	window, number, ok := strings.Cut(rest, "/")
	task, err := strconv.Atoi(number)
	return window, task, ok && err == nil && task >= 0 && window != ""
}

// ParseWindowPanesKey takes a WindowPanesKey apart.
func ParseWindowPanesKey(key string) (merchant string, task int, ok bool) {
	rest, ok := strings.CutPrefix(key, windowPanesPrefix)
	if !ok {
		return "", 0, false
	}
	number, merchant, ok := strings.Cut(rest, "/")
	task, err := strconv.Atoi(number)
	return merchant, task, ok && err == nil && task >= 0 && merchant != ""
}

const (
	startWindow field = iota
	startTask
	startExactFrom
)

var startPaths = [...]string{startWindow: "window", startTask: "task", startExactFrom: "exactFrom"}

// ParseWindowStart reads the data of a TypeWindowStart event into w, as
// [ParseTransaction] does.
func ParseWindowStart(data []byte, w *WindowStart) error {
	*w = WindowStart{}
	var d decoder
	d.open(data, startPaths[:])
	for name := range d.names {
		switch name {
		case "window":
			w.Window = d.id(startWindow)
		case "task":
			w.Task = int(d.integerIn(startTask, 0, math.MaxInt32))
		case "exactFrom":
			w.ExactFrom = d.integerIn(startExactFrom, 0, math.MaxInt64)
		default:
			d.other(name)
		}
	}
	return d.close(1<<(startExactFrom+1) - 1)
}

// AppendWindowStart appends w as ParseWindowStart reads it.
func AppendWindowStart(dst []byte, w *WindowStart) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "window", w.Window)
	dst = appendIntField(dst, "task", int64(w.Task))
	dst = appendIntField(dst, "exactFrom", w.ExactFrom)
	return append(dst, '}')
}

const (
	panesMerchantID field = iota
	panesTask
	panesPanes
)

var panesPaths = [...]string{panesMerchantID: "merchantId", panesTask: "task", panesPanes: "panes"}

// maxPanesBytes bounds the encoded panes, in base64.
const maxPanesBytes = 32 << 10

// ParseWindowPanes reads the data of a TypeWindowPanes event into w, as
// [ParseTransaction] does.
func ParseWindowPanes(data []byte, w *WindowPanes) error {
	*w = WindowPanes{}
	var d decoder
	d.open(data, panesPaths[:])
	for name := range d.names {
		switch name {
		case "merchantId":
			w.MerchantID = d.id(panesMerchantID)
		case "task":
			w.Task = int(d.integerIn(panesTask, 0, math.MaxInt32))
		case "panes":
			var err error
			d.once(panesPanes)
			text := d.json.Str() // not text: digits in it are no card number
			if d.failed(panesPanes) {
				break
			}
			if w.Panes, err = base64.StdEncoding.DecodeString(text); err != nil || len(text) > maxPanesBytes {
				d.wrong(panesPanes, "must be base64 of at most "+strconv.Itoa(maxPanesBytes)+" bytes")
			}
		default:
			d.other(name)
		}
	}
	return d.close(1<<(panesPanes+1) - 1)
}

// AppendWindowPanes appends w as ParseWindowPanes reads it.
func AppendWindowPanes(dst []byte, w *WindowPanes) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "merchantId", w.MerchantID)
	dst = appendIntField(dst, "task", int64(w.Task))
	dst = append(appendName(dst, "panes"), '"')
	dst = base64.StdEncoding.AppendEncode(dst, w.Panes)
	return append(dst, '"', '}')
}
