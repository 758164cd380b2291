package sample

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	"datasurge/events"
	"datasurge/functions/detect"
	"datasurge/functions/detect/rules"
	"datasurge/functions/enrich/reference"
	"datasurge/functions/model"
	"datasurge/functions/outcome"
	"datasurge/functions/window"
)

const id = "5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b001"

func sampleOf(t *testing.T, kind string) events.Event {
	t.Helper()
	e, err := New(kind, id, time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEveryType: there is a sample of every type that the project names.
func TestEveryType(t *testing.T) {
	have := map[string]bool{}
	for _, kind := range Kinds() {
		have[sampleOf(t, kind).Type] = true
	}
	declared := regexp.MustCompile(`\tType\w+ += "([^"]+)"|const Type\w+ = "([^"]+)"`)
	for _, file := range []string{"../../events/types.go", "../../functions/enrich/reference/merchant.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := declared.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s declares no type", file)
		}
		for _, m := range found {
			if name := m[1] + m[2]; !have[name] {
				t.Errorf("there is no sample of %s", name)
			}
		}
	}
}

// TestValid: every sample is a valid event, whose data its parser takes.
func TestValid(t *testing.T) {
	parse := map[string]func([]byte) error{
		"transaction": func(d []byte) error { return events.ParseTransaction(d, new(events.Transaction)) },
		"plain":       func(d []byte) error { return events.ParseTransaction(d, new(events.Transaction)) },
		"enriched":    func(d []byte) error { return events.ParseEnriched(d, new(events.Enriched)) },
		"scored":      func(d []byte) error { return events.ParseScored(d, new(events.Scored)) },
		"anomaly":     func(d []byte) error { return events.ParseAnomaly(d, new(events.Anomaly)) },
		"label":       func(d []byte) error { return events.ParseLabel(d, new(events.Label)) },
		"partial": func(d []byte) error {
			var p events.Partial
			if err := events.ParsePartial(d, &p); err != nil {
				return err
			}
			_, err := window.ParseAcc(p.State)
			return err
		},
		"aggregate": func(d []byte) error { return events.ParseAggregate(d, new(events.Aggregate)) },
		"risk":      func(d []byte) error { return events.ParseMerchantRisk(d, new(events.MerchantRisk)) },
		"merchant":  func(d []byte) error { _, err := reference.ParseMerchant(merchant, d); return err },
		"rule": func(d []byte) error {
			compiler, err := rules.NewCompiler(detect.Schema(), detect.DefaultConfig().Limits)
			if err != nil {
				return err
			}
			_, err = rules.NewSet(compiler, d)
			return err
		},
		"list":        func(d []byte) error { return events.ParseListEntry(d, new(events.ListEntry)) },
		"suppression": func(d []byte) error { return events.ParseSuppression(d, new(events.Suppression)) },
		"windowstart": func(d []byte) error { return events.ParseWindowStart(d, new(events.WindowStart)) },
		"windowpanes": func(d []byte) error { return events.ParseWindowPanes(d, new(events.WindowPanes)) },
		"outcome":     isObject, // read by learn alone
		"example":     isObject,
		"outcomes":    func(d []byte) error { _, err := outcome.Parse(d); return err },
		"model":       func(d []byte) error { _, err := model.Parse(d); return err },
		"late":        func(d []byte) error { return events.ParseLate(d, new(events.Late)) },
		"deadletter":  func(d []byte) error { return events.ParseDeadLetter(d, new(events.DeadLetter)) },
		"watermark":   func([]byte) error { return nil }, // has no data
	}
	for _, kind := range Kinds() {
		e := sampleOf(t, kind)
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		var again events.Event
		if err := again.ParseJSON(e.AppendJSON(nil)); err != nil || again.Type != e.Type {
			t.Errorf("%s: in the CloudEvents JSON format: %v", kind, err)
		}
		if parse[kind] == nil {
			t.Errorf("%s: no parser", kind)
		} else if err := parse[kind](e.Data); err != nil {
			t.Errorf("%s: data: %v\n%s", kind, err, e.Data)
		}
	}
}

func isObject(data []byte) error { return json.Unmarshal(data, new(map[string]any)) }

func TestUnknown(t *testing.T) {
	if _, err := New("nothing", id, time.Now()); err == nil {
		t.Error("there is a sample of nothing")
	}
}
