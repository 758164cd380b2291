package detect

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"datasurge/events"
	"datasurge/functions/detect/rules"
	"datasurge/functions/step"
)

// Kinds of keys for labels.
const (
	kindVerdicts  = step.FirstKind + 0x20 + iota // user id
	kindHeldLabel                                // time of the transaction, transaction id
)

// A label is joined with what was decided about its transaction. Of each
// customer, the decisions in which a rule fired or which flagged are remembered,
// and the frauds that nothing found: the latest of them, as many as fit
// verdictBytes. So it is known of each rule whether it was right (tp, fp) or
// missed a fraud (fn), however late the label comes, unless the customer had
// dozens of such transactions since.
//
// A label that comes before its transaction was decided is held until the
// watermark says that it must have been. One label counts for a transaction: the
// same again changes nothing, and another one is refused, as is one of a customer
// or a time without transactions. What is refused goes to late_events with the
// reason.
type labels struct {
	held     heldLabels
	verdicts verdicts // scratch memory
	profile  profile
	label    events.Label
	key      []byte
	encoded  []byte
}

// verdictBytes bounds what is remembered of a customer.
const verdictBytes = 400

// verdict is what is remembered of one transaction.
type verdict struct {
	id      uint64 // hash of the transaction's id
	time    int64
	flagged bool
	label   labelled
	rules   []uint32 // hashes of the ids of rules that fired, shadow and suppressed ones included
}

type labelled byte

const (
	unlabelled labelled = iota
	legitimate
	fraud
)

// mostFired bounds the rules that are remembered of a transaction.
const mostFired = 16

// verdicts are those of one customer, in the order in which they were made.
type verdicts struct {
	forgotten int64 // latest time of a verdict that had to be forgotten
	list      []verdict
}

// verdictRecord is the state value of verdicts, encoded:
//
//	version    1 byte
//	forgotten  varint, ms
//	verdicts   each: id 8 bytes, time as varint, 1 byte for flagged (1) and label
//	           (2 times), 1 byte for the number of rules, each 4 bytes
type verdictRecord struct{ data []byte }

const verdictVersion = 1

func newLabels(task step.Task) *labels {
	l := &labels{}
	if task.State == nil {
		return l
	}
	for key, value := range task.State {
		if key[0] == kindHeldLabel {
			l.held = append(l.held, value.(*heldLabel))
		}
	}
	heap.Init(&l.held)
	return l
}

// remember notes what was decided about a transaction, when a label can say
// something about a rule or the score.
func (l *labels) remember(tx step.Tx, d *events.Anomaly) error {
	if !d.Flagged && len(d.Rules)+len(d.Shadow)+len(d.Suppressed) == 0 {
		return nil
	}
	value, err := l.load(tx, d.UserID)
	if err != nil {
		return err
	}
	v := l.verdicts.next()
	v.id, v.time, v.flagged, v.label = xxhash.Sum64String(d.TransactionID), d.Time, d.Flagged, unlabelled
	for _, list := range [...][]events.FiredRule{d.Rules, d.Suppressed, d.Shadow} {
		for i := range list {
			if len(v.rules) < mostFired {
				v.rules = append(v.rules, valueHash(list[i].ID))
			}
		}
	}
	l.save(tx, value)
	return nil
}

// load reads the verdicts of a customer into l.verdicts.
func (l *labels) load(tx step.Tx, user string) (*verdictRecord, error) {
	l.key = append(append(l.key[:0], kindVerdicts), user...)
	value, _ := tx.Get(l.key).(*verdictRecord)
	if value == nil {
		l.verdicts.list, l.verdicts.forgotten = l.verdicts.list[:0], math.MinInt64
		return &verdictRecord{}, nil
	}
	if err := l.verdicts.decode(value.data); err != nil {
		return nil, fmt.Errorf("verdicts of customer %q: %w", user, err)
	}
	return value, nil
}

// save writes l.verdicts to where they were loaded from.
func (l *labels) save(tx step.Tx, value *verdictRecord) {
	l.encoded = l.verdicts.append(l.encoded[:0])
	for len(l.encoded) > verdictBytes {
		first := l.verdicts.list[0]
		l.verdicts.forgotten = max(l.verdicts.forgotten, first.time)
		copy(l.verdicts.list, l.verdicts.list[1:])
		l.verdicts.list[len(l.verdicts.list)-1] = first // its memory is used again
		l.verdicts.list = l.verdicts.list[:len(l.verdicts.list)-1]
		l.encoded = l.verdicts.append(l.encoded[:0])
	}
	if cap(value.data) < len(l.encoded) {
		value.data = nil // append would double it
	}
	value.data = append(value.data[:0], l.encoded...)
	tx.Put(l.key, value)
}

// take handles a label.
func (l *labels) take(tx step.Tx, e *events.Event, set *rules.Set, observer TaskObserver) error {
	if err := events.ParseLabel(e.Data, &l.label); err != nil {
		return err
	}
	if err := tx.Observe(l.label.LabelTime); err != nil {
		return err
	}
	if tx.InputWatermark(events.TopicEnriched) > l.label.TransactionTime {
		return l.judge(tx, &l.label, set, observer)
	}
	held := holdLabel(e.Source, &l.label)
	l.key = held.appendKey(l.key[:0], l.label.TransactionID)
	if tx.Get(l.key) == nil {
		tx.Put(l.key, held)
		heap.Push(&l.held, held)
	}
	return nil
}

// release handles the labels whose transactions must have been decided by now.
func (l *labels) release(tx step.Tx, set *rules.Set, observer TaskObserver) error {
	watermark := tx.InputWatermark(events.TopicEnriched)
	for len(l.held) > 0 && watermark > l.held[0].time {
		held := heap.Pop(&l.held).(*heldLabel)
		source, err := held.open(&l.label)
		if err != nil {
			return err
		}
		tx.Delete(held.appendKey(nil, l.label.TransactionID))
		err = l.judge(tx, &l.label, set, observer)
		late, refused := errors.AsType[*step.LateError](err)
		if refused {
			e := events.NewLabel(&l.label)
			e.Source = source
			e = events.NewLate(Name, late.Reason, &e)
			tx.Emit(events.TopicLate, &e)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func refuseLabel(format string, args ...any) error {
	return &step.LateError{Reason: fmt.Sprintf(format, args...)}
}

// judge tells what a label says about each rule.
func (l *labels) judge(tx step.Tx, label *events.Label, set *rules.Set, observer TaskObserver) error {
	if err := l.checkKnown(tx, label); err != nil {
		return err
	}
	value, err := l.load(tx, label.UserID)
	if err != nil {
		return err
	}
	truth := legitimate
	if label.Fraud {
		truth = fraud
	}
	id := xxhash.Sum64String(label.TransactionID)
	i := slices.IndexFunc(l.verdicts.list, func(v verdict) bool { return v.id == id })
	switch {
	case i >= 0 && l.verdicts.list[i].label == truth:
		return nil
	case i >= 0 && l.verdicts.list[i].label != unlabelled:
		return refuseLabel("the label of transaction %s contradicts an earlier one, which stays", label.TransactionID)
	case i < 0 && label.TransactionTime <= l.verdicts.forgotten:
		return nil // what was decided is no longer known
	case i < 0 && !label.Fraud:
		return nil // nothing fired, and rightly so
	case i < 0:
		v := l.verdicts.next()
		v.id, v.time, v.flagged = id, label.TransactionTime, false
		i = len(l.verdicts.list) - 1
	}
	v := &l.verdicts.list[i]
	v.label = truth
	tell(v, label.Fraud, set, observer)
	l.save(tx, value)
	return nil
}

// checkKnown refuses labels of customers and times without transactions.
func (l *labels) checkKnown(tx step.Tx, label *events.Label) error {
	l.key = append(append(l.key[:0], kindProfile), label.UserID...)
	profile, _ := tx.Get(l.key).(*stored)
	if profile == nil {
		return refuseLabel("the label is of transaction %s, which is not known: customer %s never had one", label.TransactionID, label.UserID)
	}
	if err := l.profile.decode(profile.data); err != nil {
		return fmt.Errorf("profile of customer %q: %w", label.UserID, err)
	}
	if at := label.TransactionTime; at < l.profile.first || at > l.profile.last {
		return refuseLabel("the label is of transaction %s at %s, which is not known: those of customer %s are from %s to %s", label.TransactionID,
			millisText(at), label.UserID, millisText(l.profile.first), millisText(l.profile.last))
	}
	return nil
}

func millisText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// tell reports each rule of the set, and all decisions together.
func tell(v *verdict, fraud bool, set *rules.Set, observer TaskObserver) {
	observer.Labelled("", v.flagged, fraud)
	for _, r := range set.Rules() {
		if r.Mode != rules.Off {
			observer.Labelled(r.ID, slices.Contains(v.rules, valueHash(r.ID)), fraud)
		}
	}
}

// next returns a verdict to fill, the last of the list.
func (v *verdicts) next() *verdict {
	n := len(v.list)
	if n < cap(v.list) {
		v.list = v.list[:n+1]
	} else {
		v.list = append(v.list, verdict{})
	}
	next := &v.list[n]
	*next = verdict{rules: next.rules[:0]}
	return next
}

func (v *verdicts) append(dst []byte) []byte {
	dst = append(dst, verdictVersion)
	dst = binary.AppendVarint(dst, v.forgotten)
	for i := range v.list {
		one := &v.list[i]
		dst = binary.LittleEndian.AppendUint64(dst, one.id)
		dst = binary.AppendVarint(dst, one.time)
		flags := byte(one.label) << 1
		if one.flagged {
			flags |= 1
		}
		dst = append(dst, flags, byte(len(one.rules)))
		for _, hash := range one.rules {
			dst = binary.LittleEndian.AppendUint32(dst, hash)
		}
	}
	return dst
}

var errVerdicts = errors.New("the encoding is broken")

// decode replaces v by what is encoded in data.
func (v *verdicts) decode(data []byte) error {
	v.list = v.list[:0]
	switch {
	case len(data) == 0:
		return errVerdicts
	case data[0] > verdictVersion:
		return fmt.Errorf("version %d: %w", data[0], step.ErrNewerVersion)
	case data[0] != verdictVersion:
		return errVerdicts
	}
	r := newReader(data, 1)
	v.forgotten = r.Varint()
	for r.Left() > 0 {
		one := v.next()
		one.id = r.Uint64()
		one.time = r.Varint()
		flags := r.length(int(fraud)<<1 | 1)
		one.flagged, one.label = flags&1 != 0, labelled(flags>>1)
		for range r.length(mostFired) {
			one.rules = append(one.rules, r.Uint32())
		}
	}
	if r.Failed() {
		return errVerdicts
	}
	return nil
}

func verdictCodec() step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte { return append(dst, v.(*verdictRecord).data...) },
		Parse: func(data []byte) (any, error) {
			var v verdicts
			if err := v.decode(data); err != nil {
				return nil, fmt.Errorf("verdicts: %w", err)
			}
			return &verdictRecord{slices.Clone(data)}, nil
		},
	}
}

// heldLabel is the state value of a label whose transaction may not have been
// decided yet. It is kept encoded, because in a backlog there may be many:
//
//	version     1 byte
//	fraud       1 byte
//	time        varint, of the transaction, ms
//	label time  uvarint, ms after that
//	texts       source, ids of transaction, customer and merchant, scenario: each
//	            uvarint length, and bytes
type heldLabel struct {
	time int64 // of the transaction
	data []byte
}

const heldVersion = 1

func holdLabel(source string, l *events.Label) *heldLabel {
	data := []byte{heldVersion, 0}
	if l.Fraud {
		data[1] = 1
	}
	data = binary.AppendVarint(data, l.TransactionTime)
	data = binary.AppendUvarint(data, uint64(l.LabelTime-l.TransactionTime))
	for _, text := range [...]string{source, l.TransactionID, l.UserID, l.MerchantID, l.Scenario} {
		data = append(binary.AppendUvarint(data, uint64(len(text))), text...)
	}
	return &heldLabel{time: l.TransactionTime, data: slices.Clip(data)}
}

// open decodes the label into l.
func (h *heldLabel) open(l *events.Label) (source string, err error) {
	switch {
	case len(h.data) > 0 && h.data[0] > heldVersion:
		return "", fmt.Errorf("held label: version %d: %w", h.data[0], step.ErrNewerVersion)
	case len(h.data) < 2 || h.data[0] != heldVersion || h.data[1] > 1:
		return "", errHeld
	}
	*l = events.Label{Fraud: h.data[1] == 1}
	r := newReader(h.data, 2)
	l.TransactionTime = r.Varint()
	after := r.Positive()
	l.LabelTime = l.TransactionTime + after
	for _, text := range [...]*string{&source, &l.TransactionID, &l.UserID, &l.MerchantID, &l.Scenario} {
		*text = r.Text()
	}
	if !r.Done() || l.LabelTime < l.TransactionTime || l.TransactionID == "" {
		return "", errHeld
	}
	return source, nil
}

var errHeld = errors.New("held label: the encoding is broken")

func (h *heldLabel) appendKey(dst []byte, id string) []byte {
	return append(step.AppendTime(append(dst, kindHeldLabel), h.time), id...)
}

func heldLabelCodec() step.Codec {
	return step.Codec{
		Append: func(dst []byte, v any) []byte { return append(dst, v.(*heldLabel).data...) },
		Parse: func(data []byte) (any, error) {
			h := &heldLabel{data: slices.Clone(data)}
			var l events.Label
			if _, err := h.open(&l); err != nil {
				return nil, err
			}
			h.time = l.TransactionTime
			return h, nil
		},
	}
}

// heldLabels is a heap by the time of the transaction, then by the encoding, so
// that the order is the same after a restart.
type heldLabels []*heldLabel

var _ heap.Interface = (*heldLabels)(nil)

func (h heldLabels) Len() int { return len(h) }

func (h heldLabels) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].time, h[j].time), bytes.Compare(h[i].data, h[j].data)) < 0
}

func (h heldLabels) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *heldLabels) Push(x any) { *h = append(*h, x.(*heldLabel)) }

// Pop implements heap.Interface.
func (h *heldLabels) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}
