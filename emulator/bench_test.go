package main

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"datasurge/functions/stream/kafkatest"
	"datasurge/knative"
)

func TestBenchArguments(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--transport smoke", "want kafka or http"},
		{"--transport http --brokers a:9092", "--brokers names another"},
		{"--transport http --steady 10ms", "want at least 1s"},
		{"-n -1", "at least 1"},
		{"-n 0 --transport http", "at least 1"},
		{"more", "no other arguments"},
	} {
		var errs strings.Builder
		args := append([]string{"bench"}, strings.Fields(c.args)...)
		if status := execute(t.Context(), args, output(t), &errs); status != 1 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: status %d, %q; want %q", args, status, &errs, c.want)
		}
	}
}

// A measurement makes the pipeline's topics and takes them away again. Where they
// are already, it does not touch them.
func TestBenchOnTopicsOfOthers(t *testing.T) {
	t.Setenv(kafkatest.EnvBrokers, "") // a Kafka of its own: the topics have the pipeline's names
	b := kafkatest.Brokers(t)
	brokers := strings.Join(b.Addrs, ",")
	set, err := knative.Default()
	if err != nil {
		t.Fatal(err)
	}
	topics := func() int {
		there, err := topicsThere(t.Context(), kadm.NewClient(b.Client(t)), set)
		if err != nil {
			t.Fatal(err)
		}
		return len(there)
	}
	k, err := benchCluster(t.Context(), set, brokers)
	if err != nil {
		t.Fatal(err)
	}
	if n := topics(); n != len(set.Topics) {
		t.Errorf("there are %d topics, want %d", n, len(set.Topics))
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if n := topics(); n != 0 {
		t.Errorf("there are %d topics after the end", n)
	}

	b.CreateTopic(t, "merchants", 1, nil)
	var errs strings.Builder
	status := execute(t.Context(), []string{"bench", "--brokers", brokers}, output(t), &errs)
	if want := "emulator reset --brokers " + brokers; status != 1 || !strings.Contains(errs.String(), want) || !strings.Contains(errs.String(), "(merchants)") {
		t.Errorf("with a topic there: status %d, %q; want %q", status, &errs, want)
	}
	if n := topics(); n != 1 {
		t.Errorf("there are %d topics, want the one that was there", n)
	}
}

// TestBenchInterrupted: it says so, once, whatever it measures.
func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, transport := range []string{"kafka", "http"} {
		var errs strings.Builder
		status := execute(ctx, []string{"bench", "--transport", transport, "-n", "1"}, output(t), &errs)
		if status != 1 || strings.Count(errs.String(), "interrupted") != 1 || !strings.HasSuffix(errs.String(), "emulator: bench: interrupted\n") {
			t.Errorf("%s: exit status %d: %q", transport, status, &errs)
		}
	}
}
