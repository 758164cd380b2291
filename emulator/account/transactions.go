package account

import (
	"encoding/base64"
	"math"
	"strings"

	"datasurge/events"
)

// entry is what was seen of one transaction. Counts stop at 255.
type entry struct {
	sent      uint8 // records of financial_transactions
	generated uint8 // of which generate wrote
	outside   bool  // one was sent after the end of the account
	labels    uint8
	enriched  uint8
	forgotten uint8 // of which when enrich had forgotten the one before
	scored    uint8
	flagged   uint8 // of which
	anomalies uint8
	late      [hops]uint8
	dead      [hops]uint8
	minute    int32 // of event time, of the latest that was enriched
}

func inc(n *uint8) {
	if *n < math.MaxUint8 {
		*n++
	}
}

// hop is a function that may refuse an event.
type hop uint8

const (
	hopEnrich hop = iota
	hopDetect
	hopAggregate
	hops
	hopNone = hops // of events that are no transactions
)

func hopOfTopic(topic string) hop {
	switch topic {
	case events.TopicTransactions:
		return hopEnrich
	case events.TopicEnriched:
		return hopDetect
	case events.TopicScored:
		return hopAggregate
	}
	return hopNone
}

func hopOf(e *events.Event) hop {
	switch e.Type {
	case events.TypeTransaction, events.TypePlain:
		return hopEnrich
	case events.TypeEnriched:
		return hopDetect
	case events.TypeScored:
		return hopAggregate
	}
	return hopNone
}

// failure says why a KafkaSource could not deliver an event.
func failure(e *events.Event) string {
	if e.Extension("knativeerrordest") == "" {
		return "written to dead_letters by somebody else"
	}
	text := "not delivered"
	if topic := e.Extension(events.ExtTopic); topic != "" {
		text += " from " + topic
	}
	code := e.Extension("knativeerrorcode")
	if code == "" {
		return text + ": no answer"
	}
	text += ": answered " + code
	if data, err := base64.StdEncoding.DecodeString(e.Extension("knativeerrordata")); err == nil && len(data) > 0 {
		text += ", " + short(strings.ToValidUTF8(string(data), "?"))
	}
	return text
}

// short is the first line of a reason, cut where it becomes long.
func short(reason string) string {
	reason, _, _ = strings.Cut(strings.TrimSpace(reason), "\n")
	const enough = 120
	if len(reason) > enough {
		reason = strings.ToValidUTF8(reason[:enough], "") + "..."
	}
	return reason
}

// Hop is one step of the pipeline and what became of its input.
type Hop struct {
	Name string `json:"name"`
	// In are the events that the hop was given, Out those that it made of them.
	In  int64 `json:"in"`
	Out int64 `json:"out"`
	// Duplicates were sent again by the producer and rightly dropped.
	Duplicates int64 `json:"duplicates"`
	Late       int64 `json:"late"`
	Dead       int64 `json:"dead"`
	// DeadAndDone are dead letters of events that were processed all the same:
	// the source did not hear of it.
	DeadAndDone int64 `json:"deadAndDone"`
	// Outside are results of events that are not in the account: they came by
	// HTTP, or before it began.
	Outside int64 `json:"outside"`
	Missing int64 `json:"missing"`
	Doubled int64 `json:"doubled"`
}

func (h *Hop) add(other Hop) {
	h.In += other.In
	h.Out += other.Out
	h.Duplicates += other.Duplicates
	h.Late += other.Late
	h.Dead += other.Dead
	h.DeadAndDone += other.DeadAndDone
	h.Outside += other.Outside
	h.Missing += other.Missing
	h.Doubled += other.Doubled
}

// balance compares what a hop was given of one transaction with what came out.
// once says that of several copies one is taken.
func balance(in, out, late, dead int64, once bool) Hop {
	h := Hop{In: in, Out: out, Late: late, Dead: dead}
	want := in
	if once {
		want = min(in, 1)
	}
	switch handled := out + late + dead; {
	case in == 0:
		h.Outside = min(out, 1)
		h.Doubled = max(0, out-1)
	case handled < want:
		h.Missing = want - handled
	default:
		h.Doubled = max(0, out-want, out+late-in)
		if out+late > 0 {
			h.DeadAndDone = min(dead, max(0, handled-in-h.Doubled))
		}
		h.Duplicates = max(0, in-handled)
	}
	return h
}

// The hops of an account, in their order.
const (
	atGenerate = iota
	atEnrich
	atDetect
	atAnomalies
	atEnd
)

func newHops() []Hop {
	return []Hop{atGenerate: {Name: "generate"}, atEnrich: {Name: "enrich"}, atDetect: {Name: "detect"}, atAnomalies: {Name: "anomalies"}}
}

// compare adds one transaction to hops.
func (n *entry) compare(hops []Hop, whole bool) {
	var made Hop
	made.Out = int64(n.sent)
	made.Doubled = max(0, int64(n.generated)-1)
	if whole && n.labels > 0 && n.sent == 0 {
		made.Missing++
	}
	made.Doubled += max(0, int64(n.labels)-1)

	enriched := int64(n.enriched) - int64(n.forgotten)
	enrich := balance(int64(n.sent), enriched, int64(n.late[hopEnrich]), int64(n.dead[hopEnrich]), true)
	enrich.Out += int64(n.forgotten)
	enrich.Duplicates = max(0, enrich.Duplicates-int64(n.forgotten))
	if n.outside {
		enrich.Missing = 0
	}
	detect := balance(int64(n.enriched), int64(n.scored), int64(n.late[hopDetect]), int64(n.dead[hopDetect]), false)
	if n.outside {
		detect.Missing = 0
	}
	anomalies := balance(int64(n.flagged), int64(n.anomalies), 0, 0, false)
	for i, h := range [atEnd]Hop{made, enrich, detect, anomalies} {
		hops[i].add(h)
	}
}

// wrong reports whether something of the transaction is lost or there twice.
func (n *entry) wrong(whole bool) bool {
	hops := newHops()
	n.compare(hops, whole)
	for i := range hops {
		if hops[i].Missing > 0 || hops[i].Doubled > 0 {
			return true
		}
	}
	return false
}
