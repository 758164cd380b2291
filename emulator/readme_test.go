package main

import (
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/run/readmecurl"
)

// The README's curl commands, sent to the emulator: 202, and the result is in the
// topic.
func TestReadmeCurl(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := launch(t, t.TempDir(), "--profile", "none")
	defer r.close()
	commands := readmecurl.Commands(string(text))
	if len(commands) != 2 {
		t.Fatalf("the README has %d curl commands, want one in binary and one in structured mode", len(commands))
	}
	for _, command := range commands {
		r.await("an answer of 202 to\n"+string(command), func() bool {
			request, err := command.Request(t.Context(), r.info.HTTP+command.Path(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			switch response.StatusCode {
			case http.StatusAccepted:
				return true
			case http.StatusServiceUnavailable, http.StatusBadGateway:
				return false // still starting
			}
			t.Fatalf("%s\nanswered %s: %s", command, response.Status, body)
			return false
		})
	}
	r.await("both events in "+events.TopicEnriched, func() bool {
		return len(ids(t, r.info.Kafka, events.TopicEnriched)) == len(commands)
	})
	r.await("the larger one in "+events.TopicAnomalies, func() bool { return len(anomalies(t, r.info.Kafka)) == 1 })
}
