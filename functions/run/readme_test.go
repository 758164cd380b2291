package run

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/metrics"
	"datasurge/functions/run/readmecurl"
	"datasurge/functions/serve"
)

var rewrite = flag.Bool("rewrite", false, "write the table of variables into the README")

// rows returns the README's table of variables, made from the tags of Config.
func rows(t reflect.Type, prefix string) (lines []string) {
	for field := range t.Fields() {
		name := prefix + field.Tag.Get("envconfig")
		if field.Type.Kind() == reflect.Struct {
			lines = append(lines, rows(field.Type, name+"_")...)
			continue
		}
		value := field.Tag.Get("default")
		if value != "" {
			value = "`" + value + "`"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", name, value, field.Tag.Get("desc")))
	}
	return lines
}

// The README's table of variables is what the code reads: no more, no less.
func TestReadmeHasEveryVariable(t *testing.T) {
	const path, begin, end = "../../README.md", "| variable | default | meaning |\n|---|---|---|\n", "\n\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the README has no table of variables")
	}
	want := strings.Join(rows(reflect.TypeFor[Config](), ""), "\n")
	if table == want {
		return
	}
	if !*rewrite {
		t.Fatal("the README's table of variables is not that of the code; go test ./functions/run -run Readme -rewrite writes it")
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryVariableIsExplained(t *testing.T) {
	for _, row := range rows(reflect.TypeFor[Config](), "") {
		if strings.HasSuffix(row, "|  |") {
			t.Errorf("a variable has no desc: %s", row)
		}
	}
}

// The README's curl commands, sent to a function without Kafka: 200 and the
// enriched event.
func TestReadmeCurlWithoutKafka(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KAFKA_BROKERS", "") // without Kafka, whatever there is to test with
	config, err := ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Function = "enrich"
	observer := metrics.New("enrich", "test", slog.New(slog.DiscardHandler))
	definition, err := Definition(&config, observer)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	function, err := open(t.Context(), &config, definition, observer, log)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(serve.NewHandler(function, function.ready, observer.Handler(), log))
	defer server.Close()
	commands := readmecurl.Commands(string(text))
	if len(commands) != 2 {
		t.Fatalf("the README has %d curl commands, want one in binary and one in structured mode", len(commands))
	}
	for _, command := range commands {
		request, err := command.Request(t.Context(), server.URL+"/", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("ce-type") != events.TypeEnriched {
			t.Errorf("%s\nanswered %s, ce-type %q: %s", command, response.Status, response.Header.Get("ce-type"), body)
		}
	}
}
