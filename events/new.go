package events

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// The constructors make the events that functions emit. Each has
//
//   - source /datasurge/<function>, the function that emits this type;
//   - subject and partitionkey: the business key, so the user's events stay in
//     their order in one partition;
//   - time: the event time, never the clock's;
//   - an id derived from what the event is about, so that the same input gives
//     the same id whenever and wherever it is processed, and a duplicate can be
//     told by source and id.
//
//	type         id                               key
//	transaction  transactionId                    userId
//	enriched     transactionId                    userId
//	scored       transactionId                    userId
//	anomaly      transactionId + "/anomaly"       userId
//	label        transactionId + "/label"         userId
//	merchantrisk merchantId + "/" + asOf          merchantId
//	late         id of the late event + "/late"   key of the late event
//	deadletter   topic/partition/offset           key of the record

// Sources of the events that functions emit.
const (
	SourceGenerate = "/datasurge/generate"
	SourceEnrich   = "/datasurge/enrich"
	SourceDetect   = "/datasurge/detect"
)

const jsonType = "application/json"

func atMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// NewTransaction returns the event that generate emits for t.
func NewTransaction(t *Transaction) Event {
	return Event{
		ID: t.TransactionID, Source: SourceGenerate, Type: TypeTransaction,
		Subject: t.UserID, Key: t.UserID, Time: atMillis(t.Time),
		DataContentType: jsonType, Data: AppendTransaction(make([]byte, 0, 384), t),
	}
}

// NewEnriched returns the event that enrich emits for t.
func NewEnriched(t *Enriched) Event { return (*Arena)(nil).NewEnriched(t) }

// NewEnriched is the function NewEnriched.
func (a *Arena) NewEnriched(t *Enriched) Event {
	return Event{
		ID: t.TransactionID, Source: SourceEnrich, Type: TypeEnriched,
		Subject: t.UserID, Key: t.UserID, Time: atMillis(t.Time),
		DataContentType: jsonType,
		Data:            a.data(640, func(dst []byte) []byte { return AppendEnriched(dst, t) }),
	}
}

// NewScored returns the event that detect emits for t.
func NewScored(t *Scored) Event { return (*Arena)(nil).NewScored(t) }

// NewScored is the function NewScored.
func (a *Arena) NewScored(t *Scored) Event {
	return Event{
		ID: t.TransactionID, Source: SourceDetect, Type: TypeScored,
		Subject: t.UserID, Key: t.UserID, Time: atMillis(t.Time),
		DataContentType: jsonType,
		Data:            a.data(768+32*len(t.Features), func(dst []byte) []byte { return AppendScored(dst, t) }),
	}
}

// NewAnomaly returns the event that detect emits for t besides its NewScored.
func NewAnomaly(t *Anomaly) Event {
	scored := NewScored(&t.Scored)
	return (*Arena)(nil).AnomalyOf(&scored, t.Reasons)
}

// AnomalyOf is NewAnomaly for a transaction whose NewScored there is already:
// the data of the anomaly is that of scored and reasons, so that what both have
// in common is encoded once.
func (a *Arena) AnomalyOf(scored *Event, reasons []Reason) Event {
	size := len(scored.Data) + len(`,"reasons":[]`)
	for i := range reasons {
		size += len(`{"rule":"","text":""},`) + len(reasons[i].Rule) + len(reasons[i].Text)
	}
	e := *scored
	e.ID += "/anomaly"
	e.Type = TypeAnomaly
	e.Data = a.data(size, func(dst []byte) []byte {
		dst = append(dst, scored.Data[:len(scored.Data)-len("}")]...)
		return append(appendReasons(dst, reasons), '}')
	})
	return e
}

// NewLabel returns the event that generate emits for l. Its time is when the
// label became known.
func NewLabel(l *Label) Event {
	return Event{
		ID: l.TransactionID + "/label", Source: SourceGenerate, Type: TypeLabel,
		Subject: l.UserID, Key: l.UserID, Time: atMillis(l.LabelTime),
		DataContentType: jsonType, Data: AppendLabel(make([]byte, 0, 256), l),
	}
}

// NewRisk returns the event that aggregate emits for r.
func NewRisk(r *MerchantRisk) Event {
	return Event{
		ID:     r.MerchantID + "/" + strconv.FormatInt(r.AsOf, 10),
		Source: SourceAggregate, Type: TypeRisk,
		Subject: r.MerchantID, Key: r.MerchantID, Time: atMillis(r.AsOf),
		DataContentType: jsonType, Data: AppendMerchantRisk(make([]byte, 0, 256), r),
	}
}

// NewWindowStart returns the event that detect emits for w.
func NewWindowStart(w *WindowStart) Event {
	e := Event{ID: w.Key(), Source: SourceDetect, Type: TypeWindowStart, Subject: w.Window, Key: w.Key()}
	e.DataContentType, e.Data = jsonType, AppendWindowStart(nil, w)
	return e
}

// NewWindowPanes returns the event that detect emits for w.
func NewWindowPanes(w *WindowPanes) Event {
	e := Event{ID: w.Key(), Source: SourceDetect, Type: TypeWindowPanes, Subject: w.MerchantID, Key: w.Key()}
	e.DataContentType, e.Data = jsonType, AppendWindowPanes(nil, w)
	return e
}

// Deleted returns e without its data: the record that deletes e's key from a
// table.
func Deleted(e Event) Event {
	e.DataContentType, e.Data = "", nil
	return e
}

// NewLate returns the event that function emits for e, which it refused for
// reason.
func NewLate(function, reason string, e *Event) Event {
	return Event{
		ID: e.ID + "/late", Source: "/datasurge/" + function, Type: TypeLate,
		Subject: e.Subject, Key: e.Key, Time: e.Time,
		DataContentType: jsonType,
		Data:            AppendLate(nil, &Late{Function: function, Reason: reason, Event: *e}),
	}
}

// NewDeadLetter returns the event that function emits for a record that it
// refused for reason. Its time is the record's timestamp.
func NewDeadLetter(function, reason string, record Original) Event {
	letter := DeadLetter{Function: function, Reason: reason, Original: record}
	if len(reason) > maxReasonBytes {
		letter.Reason = reason[:maxReasonBytes]
	}
	if size := len(record.Value); size > MaxDeadLetterValue {
		letter.Value, letter.Size = record.Value[:MaxDeadLetterValue], size
	}
	id := record.Topic + "/" + strconv.Itoa(int(record.Partition)) + "/" + strconv.FormatInt(record.Offset, 10)
	e := Event{
		ID: id, Source: "/datasurge/" + function, Type: TypeDeadLetter,
		Subject: id, Time: atMillis(record.Timestamp),
		DataContentType: jsonType, Data: AppendDeadLetter(nil, &letter),
	}
	if key := string(record.Key); utf8.ValidString(key) && len(key) <= MaxAttributeBytes && !hasControl(key) {
		e.Key = key
	}
	return e
}
