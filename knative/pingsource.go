package knative

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"
)

// PingSource: sources.knative.dev/v1
//
// Read: schedule (five fields, or a descriptor such as @hourly), timezone,
// contentType, data, dataBase64, sink, ceOverrides.
//
// Refused: @every, as by a cluster's admission.
//
// PingSource sends an event by the clock.
type PingSource struct {
	Object
	// Schedule as robfig/cron reads it, with CRON_TZ, which is UTC when the
	// manifest names no time zone.
	Schedule string
	// ContentType of the data; "" without data.
	ContentType string
	// Data of each event; nil: none.
	Data []byte
	Sink Destination
	// Extensions are put on every event.
	Extensions map[string]string
}

type pingSourceSpec struct {
	Schedule    string       `yaml:"schedule"`
	Timezone    string       `yaml:"timezone"`
	ContentType string       `yaml:"contentType"`
	Data        string       `yaml:"data"`
	DataBase64  string       `yaml:"dataBase64"`
	Sink        *destination `yaml:"sink"`
	CEOverrides *overrides   `yaml:"ceOverrides"`
}

func readPingSource(root *yaml.Node, o *Object) (*PingSource, error) {
	var spec pingSourceSpec
	if err := readObject(root, o, "sources.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(nil); err != nil {
		return nil, err
	}
	p := &PingSource{}
	var err error
	if p.Schedule, err = readSchedule(&spec, o); err != nil {
		return nil, err
	}
	if err := p.readData(&spec, o); err != nil {
		return nil, err
	}
	if spec.Sink == nil {
		return nil, o.Errorf("spec.sink", "is missing")
	}
	if p.Sink, err = spec.Sink.resolve(o, "spec.sink"); err != nil {
		return nil, err
	}
	if p.Extensions, err = spec.CEOverrides.resolve(o, "spec.ceOverrides"); err != nil {
		return nil, err
	}
	p.Object = *o
	return p, nil
}

// Next returns the time of the first event after t.
func (p *PingSource) Next(t time.Time) time.Time {
	s, err := cron.ParseStandard(p.Schedule)
	if err != nil {
		panic("knative: a schedule that was read: " + err.Error())
	}
	return s.Next(t)
}

func readSchedule(spec *pingSourceSpec, o *Object) (string, error) {
	switch {
	case spec.Schedule == "":
		return "", o.Errorf("spec.schedule", "is missing")
	case strings.Contains(spec.Schedule, "@every"):
		return "", o.Errorf("spec.schedule", "@every is refused by a cluster; want five fields (minute, hour, day, month, day of the week)")
	case strings.Contains(spec.Schedule, "TZ="):
		return "", o.Errorf("spec.schedule", "want the time zone in spec.timezone")
	}
	zone := time.UTC
	if spec.Timezone != "" {
		var err error
		if zone, err = time.LoadLocation(spec.Timezone); err != nil {
			return "", o.Errorf("spec.timezone", "%q is no time zone: %v", spec.Timezone, err)
		}
	}
	schedule := "CRON_TZ=" + zone.String() + " " + spec.Schedule
	if _, err := cron.ParseStandard(schedule); err != nil {
		return "", o.Errorf("spec.schedule", "%q is no schedule: %v", spec.Schedule, err)
	}
	return schedule, nil
}

// readData reads the data, which is sent as it is written (makeEvent in
// knative/eventing pkg/adapter/mtping).
func (p *PingSource) readData(spec *pingSourceSpec, o *Object) error {
	field, data := "spec.data", []byte(spec.Data)
	if spec.DataBase64 != "" {
		if spec.Data != "" {
			return o.Errorf("spec.dataBase64", "want one of data and dataBase64")
		}
		field = "spec.dataBase64"
		var err error
		if data, err = base64.StdEncoding.DecodeString(spec.DataBase64); err != nil {
			return o.Errorf(field, "is no base64: %v", err)
		}
	}
	if len(data) == 0 {
		return nil
	}
	p.ContentType, p.Data = spec.ContentType, data
	if spec.ContentType == "application/json" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			return o.Errorf(field, "is no JSON object, as contentType says: %v", err)
		}
	}
	return nil
}

// Source is the attribute source of the events.
func (p *PingSource) Source() string {
	return fmt.Sprintf("/apis/v1/namespaces/%s/pingsources/%s", p.Namespace, p.Name)
}
