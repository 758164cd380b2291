package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/emulator/explain"
	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/knative"
)

// shortWindows writes the manifests to a directory, with windows that publish
// within seconds.
func shortWindows(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := fs.Glob(knative.Manifests, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const before, after = "              value: aggregate\n", `            - {name: WINDOWS, value: "5s,10s/5s"}
            - {name: LATENESS, value: 1s}
`
	changed := 0
	for _, name := range files {
		text, err := knative.Manifests.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed += bytes.Count(text, []byte(before))
		text = bytes.Replace(text, []byte(before), []byte(before+after), 1)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if changed != 1 {
		t.Fatalf("the manifest of aggregate is not as this test expects it: %d places", changed)
	}
	return dir
}

// ended waits for the end of an emulator and returns its exit status and what it
// printed.
func (r *running) ended() (status int, out, errs string) {
	r.t.Helper()
	select {
	case status = <-r.done:
	case <-time.After(3 * time.Minute):
		r.t.Fatal("does not end")
	}
	return status, content(r.t, r.out), r.errs.String()
}

// TestChaos: with all faults on nothing is lost and nothing is there twice.
func TestChaos(t *testing.T) {
	dir := t.TempDir()
	r := launch(t, dir, "-f", shortWindows(t), "--rate", "60", "--duration", "6s",
		"--chaos", "redeliver=0.2,kill=1500ms,latency=100ms,status=503:0.1,broker=3s,seed=7")
	status, out, errs := r.ended()
	if status != 0 || !strings.Contains(out, "\n  0 missing, 0 doubled\n") {
		t.Fatalf("exit status %d: %s", status, errs)
	}
	if !regexp.MustCompile(`(?m)^  faults: broker [1-9].*kill [1-9].*latency [1-9].*redeliver [1-9].*status [1-9]`).MatchString(out) {
		t.Error("not every kind of fault is in the account")
	}
	if m := regexp.MustCompile(`Account of ([0-9,]+) transactions`).FindStringSubmatch(out); m == nil || m[1] == "0" {
		t.Errorf("the account is of nothing: %q", m)
	}
	log, err := os.ReadFile(filepath.Join(dir, datadir.FaultLog))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range []string{" redeliver ", " latency ", "not delivered", "in place of 202", " kill ", " broker: restarted, away for "} {
		if !bytes.Contains(log, []byte(fault)) {
			t.Errorf("no fault %q in the log", fault)
		}
	}
	for _, line := range []string{"chaos      | kill ", "chaos      | broker: restarted, away for "} {
		if !strings.Contains(out, line) {
			t.Errorf("no line %q", line)
		}
	}
}

// TestVerifyFinds: a result that is written once more, by somebody who is none of
// the functions, is doubled, and the exit status says so.
func TestVerifyFinds(t *testing.T) {
	r := launch(t, t.TempDir(), "-f", shortWindows(t), "--profile", "none", "--verify")
	client, err := kgo.NewClient(kgo.SeedBrokers(r.info.Kafka...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sent := fmt.Appendf(nil, `{"transactionId":"once","userId":"user-1","amount":150000,"transactionTime":%d,"merchantId":"m",`+
		`"transactionType":"purchase","location":"Berlin, DE","paymentMethod":"credit_card","international":false,"currency":"EUR"}`, time.Now().UnixMilli())
	produce := func(rec *kgo.Record) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce(&kgo.Record{Topic: events.TopicTransactions, Key: []byte("user-1"), Value: sent})
	r.await("the anomaly", func() bool { return anomalies(t, r.info.Kafka)["once"] == 1 })
	var again events.Event
	tail := tailOptions{from: "beginning", partition: -1}
	var text bytes.Buffer
	tail.asJSON = true
	if err := tail.print(t.Context(), []kgo.Opt{kgo.SeedBrokers(r.info.Kafka...)}, events.TopicAnomalies, &text); err != nil {
		t.Fatal(err)
	}
	var record recordObject
	if err := json.Unmarshal(text.Bytes(), &record); err != nil {
		t.Fatalf("%v: %s", err, &text)
	}
	if err := again.ParseJSON(record.Event); err != nil {
		t.Fatal(err)
	}
	doubled := &kgo.Record{Topic: events.TopicAnomalies}
	kafkarecord.Write(&again, doubled)
	produce(doubled)
	r.stop()
	status, out, errs := r.ended()
	if status != 1 || !strings.Contains(out, "0 missing, 1 doubled") || !strings.Contains(errs, "0 lost, 1 doubled") || !strings.Contains(errs, "emulator explain once") {
		t.Errorf("exit status %d: %s", status, errs)
	}
}

// TestStoryOfOne: invoke, and then everything that there is to see about the
// transaction.
func TestStoryOfOne(t *testing.T) {
	r := launch(t, t.TempDir(), "--profile", "none")
	defer r.close()
	command := func(want int, args ...string) string {
		t.Helper()
		var errs bytes.Buffer
		out := output(t)
		if status := execute(t.Context(), append(args, "--data-dir", r.dir), out, &errs); status != want {
			t.Fatalf("%q: exit status %d: %s%s", args, status, content(t, out), &errs)
		}
		return content(t, out) + errs.String()
	}
	const id = "5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b001"
	var answered answer
	r.await("an answer of enrich", func() bool {
		out := output(t)
		// 503 while the function takes its partitions over.
		return execute(t.Context(), []string{"invoke", "enrich", "--id", id, "--json", "--wait", "1m", "--data-dir", r.dir}, out, new(bytes.Buffer)) == 0 &&
			json.Unmarshal([]byte(content(t, out)), &answered) == nil
	})
	if answered.Status != 202 || len(answered.Results) != 1 || answered.Results[0].Topic != events.TopicEnriched {
		t.Errorf("invoke: %+v", answered)
	}
	if text := command(1, "invoke", "enrich", "--data", "{}"); !strings.Contains(text, "400") || !strings.Contains(text, "$.transactionId is missing") {
		t.Errorf("invoke with nothing: %s", text)
	}
	if text := command(1, "invoke", "enrch"); !strings.Contains(text, `no function "enrch"`) || !strings.Contains(text, "aggregate, detect, enrich") {
		t.Errorf("invoke of nothing: %s", text)
	}
	var story explain.Story
	r.await("the windows of the transaction", func() bool {
		story = explain.Story{}
		out := output(t)
		execute(t.Context(), []string{"explain", id, "--json", "--data-dir", r.dir}, out, new(bytes.Buffer))
		if err := json.Unmarshal([]byte(content(t, out)), &story); err != nil {
			t.Fatal(err)
		}
		return len(story.Windows) > 0
	})
	if v := story.Verdict; v == nil || !v.Flagged || len(v.Features) == 0 || len(v.Rules) == 0 || v.Rules[0].Version == 0 || len(v.Reasons) == 0 {
		t.Errorf("verdict %+v", v)
	}
	if text := command(0, "explain", id); !strings.Contains(text, "large-transaction version 1 fired") || !strings.Contains(text, "scored_transactions") {
		t.Errorf("explain: %s", text)
	}
	if text := command(1, "explain", "nobody"); !strings.Contains(text, "there is no transaction nobody") {
		t.Errorf("explain of nothing: %s", text)
	}
	for args, want := range map[string]int{
		"--from beginning --follow=false":                                              1,
		"--from 1h --follow=false --count 1":                                           1,
		"--from -1000 --follow=false --key user-000042":                                1,
		"--from beginning --follow=false --key nobody":                                 0,
		"--from beginning --follow=false --type com.datasurge.label.v1":                0,
		"--from end --follow=false":                                                    0,
		"--from beginning --follow=false --json --type " + events.TypeScored:           1,
		"--from " + time.Now().Add(time.Hour).Format(time.RFC3339) + " --follow=false": 0,
	} {
		text := command(0, append([]string{"tail", events.TopicScored}, strings.Fields(args)...)...)
		if got := strings.Count(text, "\n"); got != want || want > 0 && !strings.Contains(text, id) {
			t.Errorf("tail %s: %d lines, want %d: %s", args, got, want, text)
		}
	}
	if text := command(1, "reset"); !strings.Contains(text, "another emulator") {
		t.Errorf("reset of one that runs: %s", text)
	}
}

// TestReset deletes a data directory, and topics and groups of another Kafka.
func TestReset(t *testing.T) {
	t.Parallel() // it waits for sessions to time out
	dir := filepath.Join(t.TempDir(), "data")
	r := launch(t, dir, "--profile", "none")
	r.close()
	for _, want := range []string{"is deleted", "nothing is deleted"} {
		out := output(t)
		if status := execute(t.Context(), []string{"reset", "--data-dir", dir}, out, new(bytes.Buffer)); status != 0 || !strings.Contains(content(t, out), want) {
			t.Errorf("exit status %d: %s, want %q", status, content(t, out), want)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is there")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	brokers := strings.Join(cluster.ListenAddrs(), ",")
	r = launch(t, dir, "--rate", "50", "--brokers", brokers)
	r.await("records in "+events.TopicScored, func() bool { return len(ids(t, r.info.Kafka, events.TopicScored)) > 0 })
	r.close()
	reset := func(args ...string) (int, string) {
		var errs bytes.Buffer
		out := output(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status := execute(ctx, append([]string{"reset", "--brokers", brokers}, args...), out, &errs)
		return status, content(t, out) + errs.String()
	}
	if status, text := reset(); status != 1 || !strings.Contains(text, "--yes") || !strings.Contains(text, events.TopicScored) || !strings.Contains(text, "enrich-transactions") {
		t.Errorf("without --yes: %d %s", status, text)
	}
	if status, text := reset("--yes"); status != 0 || !strings.Contains(text, "Deleted.") {
		t.Errorf("with --yes: %d %s", status, text)
	}
	if status, text := reset("--yes"); status != 0 || !strings.Contains(text, "nothing is deleted") {
		t.Errorf("again: %d %s", status, text)
	}
}

// TestOutside: what needs no emulator.
func TestOutside(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args []string
		want int
		text []string
	}{
		{[]string{"invoke", "enrich", "--data-dir", none}, 0, []string{"200 OK", "without Kafka", `"baseCurrency": "USD"`}},
		{[]string{"invoke", "detect", "--local", "--json"}, 0, []string{`"status":200`, events.TypeScored, events.TypeAnomaly}},
		{[]string{"invoke", "detect", "--local", "--sample", "label", "--type", "a.b"}, 1, []string{"400"}},
		{[]string{"invoke", "enrich", "--local", "-f", none}, 1, []string{"no such file"}},
		{[]string{"invoke", "mine", "--local"}, 1, []string{`no function "mine"`}},
		{[]string{"invoke", "enrich", "--data", "{}", "--sample", "rule"}, 1, []string{"exclude each other"}},
		{[]string{"sample", "transaction", "--id", "x"}, 0, []string{`"transactionId": "x"`, `"specversion": "1.0"`}},
		{[]string{"sample", "rule", "--data"}, 0, []string{"when: amount > 5000"}},
		{[]string{"sample", "nothing"}, 1, []string{`no sample "nothing"`, "watermark"}},
		{[]string{"parity"}, 0, []string{"40 behaviours", "recording ", "Not emulated:", "   1  "}},
		{[]string{"parity", "--json"}, 0, []string{`"number": 40`}},
		{[]string{"run", "--chaos", "kill=1s,reboot=1s"}, 1, []string{`"reboot=1s"`, "there is no fault"}},
		{[]string{"run", "--chaos", "broker=60s", "--brokers", "127.0.0.1:1"}, 1, []string{"broker=", "--brokers"}},
		{[]string{"tail", "t", "--from", "yesterday", "--data-dir", none}, 1, []string{"no emulator runs"}},
	} {
		var errs bytes.Buffer
		out := output(t)
		status := execute(t.Context(), c.args, out, &errs)
		text := content(t, out) + errs.String()
		if status != c.want {
			t.Errorf("%q: exit status %d: %s", c.args, status, text)
		}
		for _, want := range c.text {
			if !strings.Contains(text, want) {
				t.Errorf("%q: no %q in %s", c.args, want, text)
			}
		}
	}
}

func TestFrom(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for text, want := range map[string]begin{
		"beginning":                 {start: true},
		"end":                       {},
		"0":                         {zero: true},
		"17":                        {offset: 17},
		"-10":                       {offset: -10},
		"10m":                       {at: now.Add(-10 * time.Minute)},
		"2026-01-02T15:00:00Z":      {at: now.Truncate(time.Hour)},
		"2026-01-02 15:00:00":       {at: now.Truncate(time.Hour)},
		"2026-01-02T17:00:00+02:00": {at: now.Truncate(time.Hour)},
	} {
		o := tailOptions{from: text}
		got, err := o.begin(now)
		if err != nil || !got.at.Equal(want.at) || got.start != want.start || got.offset != want.offset || got.zero != want.zero {
			t.Errorf("--from %s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	o := tailOptions{from: "yesterday"}
	if _, err := o.begin(now); err == nil || !strings.Contains(err.Error(), `"yesterday"`) {
		t.Errorf("--from yesterday: %v", err)
	}
}
