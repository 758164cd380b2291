package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/functions/stream/kafkatest"
)

func TestBacktestArguments(t *testing.T) {
	for _, test := range []struct {
		args string
		want string // of the error; "": none
	}{
		{"", ""},
		{"--test-start 2018-09-05 --days 3", ""},
		{"--from-topic payments --brokers localhost:9092", ""},
		{"--from-topic payments --test-start 2026-01-05", ""},
		{"--brokers localhost:9092", "which topic"},
		{"--test-start yesterday", "want a day as 2018-08-08"},
		{"--days 8", "want 1 to 7"},
		{"--test-start 2018-04-01", ""},
		{"--test-start 2018-03-31", "begins on 2018-04-01"},
		{"--test-start 2018-09-24", ""},
		{"--test-start 2018-09-25", "on 2018-09-24 its last 7 days"},
		{"--test-start 2018-09-30 --days 1", ""},
		{"payments", `unexpected argument "payments"`},
	} {
		c, err := parseBacktest(strings.Fields(test.args), t.Output())
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: error %v, want %q", test.args, err, test.want)
		case test.args == "" && c.protocol.TestStart != time.Date(2018, time.August, 8, 0, 0, 0, 0, time.UTC).UnixMilli():
			t.Errorf("the test starts at %d", c.protocol.TestStart)
		case strings.Contains(test.args, "brokers") && err == nil && c.protocol.TestStart != 0:
			t.Errorf("%q: the test starts at %d before anything is known of the topic", test.args, c.protocol.TestStart)
		}
	}
}

// What is wrong with a topic is said by its name.
func TestBacktestFromTopicRefuses(t *testing.T) {
	t.Setenv(kafkatest.EnvBrokers, "") // a Kafka of its own: the topics have the pipeline's names
	b := kafkatest.Brokers(t)
	b.CreateTopic(t, "payments", 2, nil)
	run := func() error {
		args := []string{"--from-topic", "payments", "--brokers", strings.Join(b.Addrs, ",")}
		return runBacktest(t.Context(), args, os.Stdout, t.Output())
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "transaction_labels") {
		t.Errorf("without labels: error %v", err)
	}
	b.CreateTopic(t, "transaction_labels", 1, nil)
	b.Produce(t, "payments", &kgo.Record{Value: []byte("{}")})
	if err := run(); err == nil || !strings.Contains(err.Error(), "1 records are no valid transactions") {
		t.Errorf("without transactions: error %v", err)
	}
}

// What would make minutes of work worthless is refused before they begin.
func TestBacktestRefusesAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bad, empty := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "empty.yaml")
	if err := errors.Join(os.WriteFile(bad, []byte("id: spree\nversion: 1\nwhen: amout > 3\n"), 0o644), os.WriteFile(empty, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ flag, value, want string }{
		{"--rules", bad, bad + `:3:7: rule "spree": when: undeclared reference to 'amout'`},
		{"--against", bad, "bad.yaml: 1 of 1 rules refused"},
		{"--rules", empty, "there is no rule in it"},
		{"--rules", filepath.Join(dir, "none.yaml"), "read the rules: open"},
		{"--against", filepath.Join(dir, "none.yaml"), "read the rules: open"},
		{"--scores", filepath.Join(dir, "none", "scores.csv"), "write the scores: open"},
		{"--plot", filepath.Join(file, "plots"), "make the directory of --plot"},
	} {
		var errs bytes.Buffer
		err := runBacktest(t.Context(), []string{test.flag, test.value}, os.Stdout, &errs)
		if text := fmt.Sprint(&errs, err); err == nil || !strings.Contains(text, test.want) {
			t.Errorf("%s %s: %s, want %q", test.flag, test.value, text, test.want)
		}
	}
}

// Where nobody looks, each tenth is a line; on a terminal there is one line, which
// goes away.
func TestProgressBar(t *testing.T) {
	var lines bytes.Buffer
	bar := newProgressBar(&lines)
	for done := range int64(1000) {
		bar.show(done+1, 1000)
	}
	bar.end()
	if n := strings.Count(lines.String(), "\n"); n != 10 || !strings.Contains(lines.String(), "] 100%, 0s left") {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
	var line bytes.Buffer
	bar = &progressBar{out: &line, terminal: true, begun: time.Now()}
	bar.show(1, 2)
	if !strings.Contains(line.String(), "]  50%, 0s left") || strings.Contains(line.String(), "\n") {
		t.Errorf("on a terminal: %q", line.String())
	}
	bar.end()
	if !strings.HasSuffix(line.String(), "\r") {
		t.Errorf("at the end: %q", line.String())
	}
}
