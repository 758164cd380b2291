//go:build synctests

package source

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/golden"
)

// compare compares what was done with the recording.
func (w *world) compare() {
	w.compareRequests()
	w.compareRecords()
	w.compareCommitted()
	w.compareSummary()
}

// seen is a request, recorded or made, as it is compared.
type seen struct {
	text     string
	head     string // "" when it was not recorded
	at       time.Duration
	since    *time.Duration // since the attempt before
	attempt  int
	inFlight int
}

// sequences are requests by what fixes their order: the partition, and nothing
// when delivery is unordered. A reply belongs to no partition, as far as one can
// see.
func (w *world) sequences(all []seen) map[string][]seen {
	lists := make(map[string][]seen)
	for _, q := range all {
		key := "no partition"
		if !w.spec.Ordered {
			key = "unordered"
		} else if len(w.r.Topics) == 1 && slices.Max(slices.Collect(maps.Values(w.r.Topics))) == 1 {
			key = "one partition"
		} else if _, after, ok := strings.Cut(q.text, "ce-knativekafkapartition: "); ok {
			key, _, _ = strings.Cut(after, "\n")
		}
		lists[key] = append(lists[key], q)
	}
	if list := lists["unordered"]; list != nil {
		slices.SortStableFunc(list, func(a, b seen) int { return strings.Compare(a.text, b.text) })
	}
	return lists
}

func (w *world) compareRequests() {
	w.t.Helper()
	if len(w.r.Then.Requests) == 0 && w.r.Then.Summary != nil {
		return // they were only counted
	}
	var want, got []seen
	for i := range w.r.Then.Requests {
		q := &w.r.Then.Requests[i]
		s := seen{at: ms(q.AtMs), attempt: q.Attempt, inFlight: q.InFlight}
		s.text = fmt.Sprintf("%s\nattempt %d, answer %s", q.Canonical(), q.Attempt, q.Answer)
		if q.SincePrevAttemptMs != nil {
			since := ms(*q.SincePrevAttemptMs)
			s.since = &since
		}
		if q.RawHead != nil {
			head, err := q.RawHead.Bytes()
			if err != nil {
				w.t.Fatal(err)
			}
			s.head = golden.CanonicalHead(head)
		}
		want = append(want, s)
	}
	last := make(map[string]time.Time)
	for _, a := range w.sink.got() {
		s := seen{at: a.at.Sub(w.begin), attempt: a.attempt, inFlight: a.inFlight, head: golden.CanonicalHead(a.head)}
		event := golden.CanonicalRequest(a.method, a.path, a.headers, a.body)
		s.text = fmt.Sprintf("%s\nattempt %d, answer %s", event, a.attempt, a.answer)
		if before, ok := last[event]; ok {
			since := a.at.Sub(before)
			s.since = &since
		}
		last[event] = a.at
		got = append(got, s)
	}
	texts := func(lists map[string][]seen) map[string][]string {
		out := make(map[string][]string)
		for key, list := range lists {
			for _, q := range list {
				out[key] = append(out[key], q.text)
			}
		}
		return out
	}
	wanted, made := w.sequences(want), w.sequences(got)
	if diff := gocmp.Diff(texts(wanted), texts(made)); diff != "" {
		w.t.Errorf("requests (-recorded +emulated):\n%s", diff)
		return
	}
	for key, list := range wanted {
		for i := range list {
			w.compareOne(&list[i], &made[key][i])
		}
	}
}

// compareOne compares what is not in the text of two requests: the raw head, and
// times. The recorder's machine was busy: a pause may be longer there by some
// 100 ms, the first of a process by more. What follows a restart or a rebalance
// depends on when the last heartbeat was.
func (w *world) compareOne(want, got *seen) {
	w.t.Helper()
	first, _, _ := strings.Cut(want.text, "\n")
	if want.head != "" {
		if diff := gocmp.Diff(want.head, got.head); diff != "" {
			w.t.Errorf("%s: head (-recorded +emulated):\n%s", first, diff)
		}
	}
	early, late := 700*time.Millisecond, 10*time.Millisecond
	if w.restarts() {
		early, late = 4*time.Second, 4*time.Second
	}
	switch {
	case (want.since == nil) != (got.since == nil):
		w.t.Errorf("%s, attempt %d: recorded pause %v, emulated %v", first, want.attempt, want.since, got.since)
	case want.since != nil && (*got.since < *want.since-early || *got.since > *want.since+late):
		w.t.Errorf("%s, attempt %d: %v after the attempt before, recorded %v", first, want.attempt, *got.since, *want.since)
	}
	// Each request before it may have been late there.
	early = time.Second + time.Duration(len(w.r.Then.Requests))*150*time.Millisecond
	late = 500 * time.Millisecond
	if w.restarts() {
		early, late = early+4*time.Second, late+4*time.Second
	}
	if got.at < want.at-early || got.at > want.at+late {
		w.t.Errorf("%s, attempt %d: at %v, recorded at %v", first, want.attempt, got.at, want.at)
	}
	if w.plainAnswers() && w.spec.Ordered && slices.Max(slices.Collect(maps.Values(w.r.Topics))) == 1 && got.inFlight != want.inFlight {
		w.t.Errorf("%s: %d in flight, recorded %d", first, got.inFlight, want.inFlight)
	}
}

// plainAnswers reports whether all requests were answered with a status. Else the
// next request may come before the sink knows that the connection is gone.
func (w *world) plainAnswers() bool {
	return !slices.ContainsFunc(w.r.Then.Requests, func(q golden.Request) bool {
		_, err := strconv.Atoi(q.Answer)
		return err != nil
	})
}

// restarts reports whether more than one dispatcher ran.
func (w *world) restarts() bool { return restarts(w.r) }

func restarts(r *golden.Recording) bool {
	return slices.ContainsFunc(r.Then.Events, func(e golden.Event) bool { return strings.Contains(e.Text, "process") })
}

func (w *world) compareRecords() {
	w.t.Helper()
	if len(w.r.Then.Records) == 0 {
		return
	}
	var want, got []string
	topics := make(map[string]bool)
	for i := range w.r.Then.Records {
		want = append(want, w.r.Then.Records[i].Canonical())
		topics[w.r.Then.Records[i].Topic] = true
	}
	client, err := kgo.NewClient(append(w.kafka, kgo.ConsumeTopics(slices.Collect(maps.Keys(topics))...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), slices.Collect(maps.Keys(topics))...)
	if err != nil {
		w.t.Fatal(err)
	}
	n := int64(0)
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	for int64(len(got)) < n {
		fetches := client.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) { got = append(got, golden.CanonicalRecord(rec)) })
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		w.t.Errorf("records (-recorded +emulated):\n%s", diff)
	}
}

// compareCommitted compares the positions in the end, and how each partition's
// came to that.
func (w *world) compareCommitted() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	final := make(map[string]int64)
	got := make(map[string][]commit)
	for _, c := range w.commits {
		if list := got[c.partition]; len(list) == 0 || list[len(list)-1].offset != c.offset {
			got[c.partition] = append(list, c)
		}
		final[c.partition] = c.offset
	}
	want := w.r.Then.Committed
	if want == nil {
		want = map[string]int64{}
	}
	if diff := gocmp.Diff(want, final); diff != "" {
		w.t.Errorf("committed in the end (-recorded +emulated):\n%s", diff)
	}
	if w.r.Then.Summary != nil {
		return // positions on the way depend on how fast the machine was
	}
	recorded := make(map[string][]commit)
	for _, p := range w.r.Then.Timeline {
		for place, offset := range p.Committed {
			if list := recorded[place]; len(list) == 0 || list[len(list)-1].offset != offset {
				recorded[place] = append(list, commit{ms(p.AtMs), place, offset})
			}
		}
	}
	for place, list := range recorded {
		if !w.sameCommits(got[place], list) {
			w.t.Errorf("%s: commits %v, recorded %v", place, got[place], list)
		}
	}
}

// sameCommits reports whether the commits of a partition are the recorded ones.
// The recording may have ended before the last. A second process has a phase that
// nothing tells, so it may commit something between.
func (w *world) sameCommits(got, recorded []commit) bool {
	for _, c := range recorded {
		for w.restarts() && len(got) > 0 && got[0].offset != c.offset {
			got = got[1:]
		}
		if len(got) == 0 || got[0].offset != c.offset || !w.sameCommit(got[0].at, c.at) {
			return false
		}
		got = got[1:]
	}
	return true
}

// sameCommit reports whether a commit may be the recorded one. Those were sampled
// every 200 ms, and later when the machine was busy. When the recorder's machine was late with the requests,
// its commit may be the next one after ours. A second process has a phase that
// nothing tells.
func (w *world) sameCommit(got, recorded time.Duration) bool {
	const slack = 800 * time.Millisecond
	late := recorded - got
	return late.Abs() <= slack || (late-commitEvery).Abs() <= slack || w.restarts() && late.Abs() <= commitEvery
}

func (w *world) compareSummary() {
	w.t.Helper()
	s := w.r.Then.Summary
	if s == nil {
		return
	}
	all := w.sink.got()
	if s.RequestsInAll != nil && len(all) != *s.RequestsInAll {
		w.t.Errorf("%d requests, recorded %d", len(all), *s.RequestsInAll)
	}
	if s.InFlightWhileHeld != nil && w.held != *s.InFlightWhileHeld {
		w.t.Errorf("%d in flight while the sink held all, recorded %d", w.held, *s.InFlightWhileHeld)
	}
	if s.MaxInFlightEver != nil {
		// How many more are sent while the answers come depends on the machine.
		bound := 2*maxPoll - 1
		if w.spec.Ordered {
			bound = len(w.r.Then.Committed)
		}
		if w.sink.most > bound || *s.MaxInFlightEver > bound {
			w.t.Errorf("%d in flight at most, recorded %d, the bound is %d", w.sink.most, *s.MaxInFlightEver, bound)
		}
	}
	if s.ArrivalsPer100ms != nil {
		w.compareArrivals(s, all)
	}
	if s.GroupMembers != nil {
		w.compareGroup(s)
	}
}

// compareArrivals compares how fast records come: ordered at most one poll of 50
// records in 200 ms, and never slower than on the recorder's machine.
func (w *world) compareArrivals(s *golden.Summary, all []*arrival) {
	w.t.Helper()
	all = all[s.WarmUpRecords:]
	if len(all) != *s.RecordsProduced {
		w.t.Fatalf("%d requests, %d records were produced", len(all), *s.RecordsProduced)
	}
	took := all[len(all)-1].at.Sub(all[0].at)
	if recorded := time.Duration(len(s.ArrivalsPer100ms)) * 100 * time.Millisecond; took > recorded {
		w.t.Errorf("took %v, recorded %v", took, recorded)
	}
	if !w.spec.Ordered {
		return
	}
	// The first poll waited for the records, and the next one comes at its time.
	all = all[maxPoll:]
	for i := maxPoll; i < len(all); i++ {
		if gap := all[i].at.Sub(all[i-maxPoll].at); gap < pollEvery {
			w.t.Fatalf("requests %d and %d are %v apart: that is faster than 50 in 200 ms", i, i+maxPoll, gap)
		}
	}
}

func (w *world) compareGroup(s *golden.Summary) {
	w.t.Helper()
	groups, err := w.admin.DescribeGroups(w.t.Context(), w.spec.Group)
	if err != nil {
		w.t.Fatal(err)
	}
	g := groups[w.spec.Group]
	assigned := 0
	for _, topic := range g.AssignedPartitions() {
		assigned += len(topic)
	}
	if len(g.Members) != *s.GroupMembers || g.Protocol != s.Protocol || s.AssignedPartitions != nil && assigned != *s.AssignedPartitions {
		w.t.Errorf("%d members by %q with %d partitions, recorded %d by %q with %d",
			len(g.Members), g.Protocol, assigned, *s.GroupMembers, s.Protocol, *s.AssignedPartitions)
	}
}
