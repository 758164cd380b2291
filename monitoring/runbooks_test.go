package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"datasurge/events"
	"datasurge/monitoring/dashboards"
)

// kafkaTools are the scripts of Apache Kafka that runbooks name.
var kafkaTools = []string{
	"kafka-topics.sh", "kafka-metadata-quorum.sh", "kafka-leader-election.sh", "kafka-consumer-groups.sh", "kafka-broker-api-versions.sh",
}

var (
	quotedCode  = regexp.MustCompile("`([^`]+)`")
	topicName   = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)
	variableSet = regexp.MustCompile(`^([A-Z]+(?:_[A-Z]+)+|LATENESS)(=.*)?$`)
	kafkaScript = regexp.MustCompile(`kafka-[a-z-]+[.]sh`)
	otherAlert  = regexp.MustCompile(`(?:[a-z]+[A-Z]|[A-Z][a-z]+[A-Z])[A-Za-z0-9]+[a-z]`)
	panelOf     = regexp.MustCompile(`((?:"[^"]+"(?:, | and | or )?)+) of (DataSurge / [A-Z][A-Za-z]+(?: and alerting)?)`)
	quotedTitle = regexp.MustCompile(`"([^"]+)"`)
)

// TestRunbooksNameWhatExists: the commands, topics, variables, alerts and panels
// that a page sends somebody to in the middle of the night are there.
func TestRunbooksNameWhatExists(t *testing.T) {
	emulator, readme := readText(t, "../emulator/main.go"), readText(t, "../README.md")
	topics := []string{
		events.TopicTransactions, events.TopicEnriched, events.TopicScored, events.TopicAnomalies, events.TopicRules, events.TopicLate,
		events.TopicDeadLetters, events.TopicRisk, "__consumer_offsets", "__transaction_state",
	}
	metrics := everything(t)
	panels := map[string][]string{}
	for _, d := range dashboards.All() {
		for _, p := range d.Panels {
			panels[d.Title] = append(panels[d.Title], p.Title)
		}
	}
	pages, err := filepath.Glob("runbooks/*.md")
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages (%v)", len(pages), err)
	}
	codes, mentioned := 0, 0
	for _, path := range pages {
		text := readText(t, path)
		for _, found := range quotedCode.FindAllStringSubmatch(text, -1) {
			code := found[1]
			codes++
			if command, ok := strings.CutPrefix(code, "emulator "); ok {
				name, argument, _ := strings.Cut(command, " ")
				if !strings.Contains(emulator, `{"`+name+`", "`) {
					t.Errorf("%s: there is no `emulator %s`", path, name)
				}
				if name == "tail" && !slices.Contains(topics, argument) {
					t.Errorf("%s: there is no topic %s", path, argument)
				}
			}
			if script := kafkaScript.FindString(code); script != "" && !slices.Contains(kafkaTools, script) {
				t.Errorf("%s: Kafka has no %s", path, script)
			}
			if topicName.MatchString(code) && !slices.Contains(topics, code) && metrics[code] == nil {
				t.Errorf("%s: %s is no topic and no metric", path, code)
			}
			if name := variableSet.FindStringSubmatch(code); name != nil && !strings.Contains(readme, "| `"+name[1]+"` |") {
				t.Errorf("%s: README.md has no variable %s", path, name[1])
			}
			if strings.HasPrefix(code, "rules/") {
				readText(t, code)
			}
		}
		for _, name := range otherAlert.FindAllString(quotedCode.ReplaceAllString(text, ""), -1) {
			if _, err := os.Stat("runbooks/" + name + ".md"); err != nil && !slices.Contains(notAlerts, name) {
				t.Errorf("%s: there is no alert %s", path, name)
			}
		}
		for _, found := range panelOf.FindAllStringSubmatch(text, -1) {
			for _, title := range quotedTitle.FindAllStringSubmatch(found[1], -1) {
				mentioned++
				if !slices.Contains(panels[found[2]], title[1]) {
					t.Errorf("%s: %s has no panel %q", path, found[2], title[1])
				}
			}
		}
	}
	if codes < 60 || mentioned < 30 {
		t.Errorf("only %d pieces of code and %d panels were found", codes, mentioned)
	}
}

// notAlerts are words that are written like the names of alerts.
var notAlerts = []string{"DataSurge", "KafkaSource", "DescribeCluster", "DescribeQuorum", "DescribeLogDirs"}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
