package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Dashboard is Grafana's dashboard model, as far as it is used here. The names
// of the fields are those of the model.
type Dashboard struct {
	ID            *int        `json:"id"` // null: Grafana gives it one
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	Timezone      string      `json:"timezone"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"` // 1: one crosshair for all panels
	Refresh       string      `json:"refresh"`
	SchemaVersion int         `json:"schemaVersion"`
	Version       int         `json:"version"`
	Time          TimeRange   `json:"time"`
	Links         []Link      `json:"links"`
	Annotations   Annotations `json:"annotations"`
	Templating    Templating  `json:"templating"`
	Panels        []Panel     `json:"panels"`
}

// TimeRange is what is shown at first.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Link leads to other dashboards, or to a page.
type Link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"` // dashboards or link
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url,omitempty"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
}

// Annotations mark the time axis.
type Annotations struct {
	List []Annotation `json:"list"`
}

// Annotation is one source of marks.
type Annotation struct {
	Name        string          `json:"name"`
	Datasource  Datasource      `json:"datasource"`
	Enable      bool            `json:"enable"`
	IconColor   string          `json:"iconColor"`
	Target      AnnotationQuery `json:"target"`
	TitleFormat string          `json:"titleFormat"`
	TextFormat  string          `json:"textFormat"`
}

// AnnotationQuery is where the marks come from: one for each value that is not 0.
type AnnotationQuery struct {
	RefID    string `json:"refId"`
	Expr     string `json:"expr"`
	Interval string `json:"interval"` // between values, at least
}

// Templating is the variables.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is one variable of a dashboard.
type Variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"` // datasource or query
	Query      any         `json:"query"`
	Definition string      `json:"definition,omitempty"`
	Datasource *Datasource `json:"datasource,omitempty"`
	Regex      string      `json:"regex"`
	Refresh    int         `json:"refresh"` // 2: when the time range changes
	IncludeAll bool        `json:"includeAll"`
	AllValue   string      `json:"allValue,omitempty"`
	Multi      bool        `json:"multi"`
	Sort       int         `json:"sort"`
	Current    *Current    `json:"current,omitempty"`
	Hide       int         `json:"hide"`
}

// Current is what a variable has at first.
type Current struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// Datasource names where a query goes.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is one panel, or a row of them.
type Panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	GridPos     GridPos      `json:"gridPos"`
	Datasource  *Datasource  `json:"datasource,omitempty"`
	Targets     []Target     `json:"targets,omitempty"`
	FieldConfig *FieldConfig `json:"fieldConfig,omitempty"`
	Options     any          `json:"options,omitempty"`
	Collapsed   *bool        `json:"collapsed,omitempty"`
	Panels      *[]Panel     `json:"panels,omitempty"` // of a row that is folded; of others empty
	Transforms  []any        `json:"transformations,omitempty"`

	// FailureOnly says that the panel has data only when something went wrong.
	FailureOnly bool `json:"-"`
	// Elsewhere says which exporter has to run for the panel to have data,
	// "" for the functions themselves.
	Elsewhere string `json:"-"`
}

// GridPos is a panel's place; the width of all is 24.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Datasource   Datasource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat,omitempty"`
	Format       string     `json:"format,omitempty"`
	Instant      bool       `json:"instant"`
	Range        bool       `json:"range"`
	Exemplar     bool       `json:"exemplar,omitempty"`
	EditorMode   string     `json:"editorMode"`
}

// FieldConfig says how values look.
type FieldConfig struct {
	Defaults  Defaults `json:"defaults"`
	Overrides []any    `json:"overrides"`
}

// Defaults is what holds for all fields of a panel.
type Defaults struct {
	Unit       string         `json:"unit"`
	Decimals   *int           `json:"decimals,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Max        *float64       `json:"max,omitempty"`
	NoValue    string         `json:"noValue,omitempty"`
	Thresholds *Thresholds    `json:"thresholds,omitempty"`
	Color      *Color         `json:"color,omitempty"`
	Custom     map[string]any `json:"custom,omitempty"`
	Mappings   []any          `json:"mappings"`
	Links      []PanelLink    `json:"links,omitempty"`
}

// PanelLink leads from a value somewhere else.
type PanelLink struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

// Thresholds colour values.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is a colour from a value on; the first has none.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Color says how colours are chosen.
type Color struct {
	Mode string `json:"mode"`
}

// JSON returns the dashboard as Grafana reads it.
func (d Dashboard) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	return b.Bytes(), nil
}
