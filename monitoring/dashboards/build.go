package dashboards

import "fmt"

// tag is what all dashboards have, by which they are linked.
const tag = "datasurge"

// prometheus is the data source that the variable datasource names.
func prometheus() Datasource { return Datasource{Type: "prometheus", UID: "${datasource}"} }

// builder lays panels out from left to right and from top to bottom.
type builder struct {
	Dashboard
	x, y, height int
}

func newDashboard(uid, title, description string, variables ...Variable) *builder {
	b := &builder{Dashboard: Dashboard{
		UID: uid, Title: title, Description: description,
		Tags: []string{tag}, Timezone: "browser", GraphTooltip: 1, Refresh: "30s", SchemaVersion: 41, Version: 1,
		Time: TimeRange{From: "now-1h", To: "now"},
		Links: []Link{
			{Title: "DataSurge", Type: "dashboards", Icon: "external link", Tooltip: "The other dashboards", Tags: []string{tag}, IncludeVars: true, KeepTime: true},
			{Title: "Runbooks", Type: "link", Icon: "doc", Tooltip: "A page for each alert", URL: "${runbooks}", Tags: []string{}, TargetBlank: true},
		},
		Annotations: Annotations{List: []Annotation{{
			Name: "Alerts", Datasource: prometheus(), Enable: true, IconColor: "red",
			Target: AnnotationQuery{
				RefID: "Anno", Interval: "60s",
				Expr: `max by (alertname, severity) (ALERTS{alertstate="firing",severity=~"critical|warning"})`,
			},
			TitleFormat: "{{alertname}}", TextFormat: "{{severity}}",
		}}},
	}}
	b.Templating.List = append([]Variable{{
		Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1,
		Current: &Current{Text: "Prometheus", Value: "prometheus"},
	}}, append(variables, Variable{
		Name: "runbooks", Label: "Runbooks at", Type: "textbox", Query: runbooks,
		Current: &Current{Text: runbooks, Value: runbooks},
	})...)
	return b
}

// runbooks is where the pages about alerts are read, until the variable says
// something else.
const runbooks = "https://runbooks.example.org/datasurge/monitoring/runbooks"

// choose is a variable with the values of a label, of which several can be
// chosen.
func choose(name, label, metric string) Variable {
	query := fmt.Sprintf("label_values(%s, %s)", metric, name)
	source := prometheus()
	return Variable{
		Name: name, Label: label, Type: "query", Definition: query, Datasource: &source,
		Query:   map[string]any{"query": query, "refId": "variable-" + name},
		Refresh: 2, IncludeAll: true, AllValue: ".*", Multi: true, Sort: 1,
		Current: &Current{Text: "All", Value: "$__all"},
	}
}

// row begins a new row with a title.
func (b *builder) row(title string) {
	b.newLine()
	b.Panels = append(b.Panels, Panel{
		ID: len(b.Panels) + 1, Type: "row", Title: title, GridPos: GridPos{H: 1, W: 24, Y: b.y}, Collapsed: new(bool), Panels: new([]Panel{}),
	})
	b.y++
}

func (b *builder) newLine() {
	b.y += b.height
	b.x, b.height = 0, 0
}

// add places a panel, and returns it to be changed.
func (b *builder) add(kind, title, description, unit string, w, h int, queries ...query) *Panel {
	if b.x+w > 24 {
		b.newLine()
	}
	source := prometheus()
	p := Panel{
		ID: len(b.Panels) + 1, Type: kind, Title: title, Description: description,
		GridPos: GridPos{H: h, W: w, X: b.x, Y: b.y}, Datasource: &source,
		FieldConfig: &FieldConfig{
			Defaults:  Defaults{Unit: unit, Mappings: []any{}, Color: &Color{Mode: "palette-classic"}},
			Overrides: []any{},
		},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, Target{
			RefID: string(rune('A' + i)), Datasource: prometheus(), Expr: q.expr, LegendFormat: q.legend,
			Range: true, EditorMode: "code",
		})
	}
	b.x += w
	b.height = max(b.height, h)
	b.Panels = append(b.Panels, p)
	return &b.Panels[len(b.Panels)-1]
}

// query is an expression and what its series are called.
type query struct{ expr, legend string }

func q(expr, legend string) query { return query{expr, legend} }

// stat is one number, coloured by thresholds: values from which on it is orange
// and red.
func (b *builder) stat(title, description, unit, expr string, thresholds ...float64) *Panel {
	p := b.add("stat", title, description, unit, 4, 4, q(expr, ""))
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.FieldConfig.Defaults.Thresholds = above(thresholds...)
	p.FieldConfig.Defaults.Color = &Color{Mode: "thresholds"}
	p.Options = map[string]any{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
		"wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// above returns thresholds for what is worse the more there is of it.
func above(values ...float64) *Thresholds {
	return steps([]string{"green", "orange", "red"}, values)
}

// below returns thresholds for what is worse the less there is of it: below the
// first value it is red, below the second orange.
func below(red, orange float64) *Thresholds {
	return steps([]string{"red", "orange", "green"}, []float64{red, orange})
}

func steps(colors []string, values []float64) *Thresholds {
	t := &Thresholds{Mode: "absolute", Steps: []Step{{Color: colors[0]}}}
	if len(values) == 2 && values[0] == values[1] { // nothing lies between
		values = values[:1]
	}
	if len(values) == 1 {
		colors = []string{colors[0], colors[2]}
	}
	for i := range values {
		t.Steps = append(t.Steps, Step{Color: colors[i+1], Value: &values[i]})
	}
	return t
}

// lines is a chart over time.
func (b *builder) lines(title, description, unit string, queries ...query) *Panel {
	p := b.add("timeseries", title, description, unit, 8, 8, queries...)
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Custom = map[string]any{
		"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never",
		"spanNulls": false, "axisPlacement": "auto", "stacking": map[string]any{"mode": "none", "group": "A"},
		"thresholdsStyle": map[string]any{"mode": "off"},
	}
	p.FieldConfig.Overrides = []any{hideZeros()}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// hideZeros leaves series that are 0 all the time out of the legend: of every
// reason and result that there can be, most are.
func hideZeros() any {
	return map[string]any{
		"matcher":    map[string]any{"id": "byValue", "options": map[string]any{"reducer": "allIsZero", "op": "gte", "value": 0}},
		"properties": []any{map[string]any{"id": "custom.hideFrom", "value": map[string]any{"legend": true, "tooltip": true, "viz": false}}},
	}
}

// limit draws a line where an alert fires.
func (p *Panel) limit(value float64) *Panel {
	p.FieldConfig.Defaults.Thresholds = above(value)
	p.FieldConfig.Defaults.Custom["thresholdsStyle"] = map[string]any{"mode": "line"}
	return p
}

// stacked puts the series on top of each other.
func (p *Panel) stacked() *Panel {
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	return p
}

// signed lets the axis go below zero.
func (p *Panel) signed() *Panel {
	p.FieldConfig.Defaults.Min = nil
	return p
}

// wide makes a panel as wide as said, of the 24 columns.
func (b *builder) wide(p *Panel, w int) *Panel {
	b.x += w - p.GridPos.W
	p.GridPos.W = w
	return p
}

// failureOnly marks a panel that has data only when something went wrong.
func (p *Panel) failureOnly() *Panel {
	p.FailureOnly = true
	p.FieldConfig.Defaults.NoValue = "none"
	return p
}

// from names the exporter that a panel is of.
func (p *Panel) from(exporter string) *Panel {
	p.Elsewhere = exporter
	return p
}

// exemplars shows traces on a chart.
func (p *Panel) exemplars() *Panel {
	for i := range p.Targets {
		p.Targets[i].Exemplar = true
	}
	return p
}

// table shows the present values with their labels.
func (b *builder) table(title, description, unit string, w int, expr string) *Panel {
	p := b.add("table", title, description, unit, w, 8, q(expr, ""))
	p.Targets[0].Instant, p.Targets[0].Range, p.Targets[0].Format = true, false, "table"
	p.FieldConfig.Defaults.Custom = map[string]any{"align": "auto", "filterable": true, "inspect": false}
	p.Options = map[string]any{"frameIndex": 0, "showHeader": true, "cellHeight": "sm"}
	p.Transforms = []any{map[string]any{
		"id":      "organize",
		"options": map[string]any{"excludeByName": map[string]any{"Time": true, "__name__": true, "job": true}, "indexByName": map[string]any{}, "renameByName": map[string]any{}},
	}}
	return p
}

// bars shows the present values side by side.
func (b *builder) bars(title, description, unit, expr, legend string) *Panel {
	p := b.add("bargauge", title, description, unit, 8, 8, q(expr, legend))
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.FieldConfig.Defaults.Color = &Color{Mode: "continuous-BlPu"}
	p.Options = map[string]any{
		"displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color",
		"namePlacement": "auto", "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
		"legend":        map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []string{}},
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// heatmap shows the buckets of a histogram over time.
func (b *builder) heatmap(title, description, unit, expr string) *Panel {
	p := b.add("heatmap", title, description, unit, 8, 8, q(expr, "{{le}}"))
	p.Targets[0].Format = "heatmap"
	p.Options = map[string]any{
		"calculate": false, "cellGap": 1, "showValue": "never", "yAxis": map[string]any{"unit": unit, "axisPlacement": "left"},
		"color":   map[string]any{"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "scale": "exponential", "fill": "dark-orange", "reverse": false},
		"tooltip": map[string]any{"mode": "single", "yHistogram": false}, "legend": map[string]any{"show": true},
		"exemplars": map[string]any{"color": "rgba(255,0,255,0.7)"}, "filterValues": map[string]any{"le": 1e-9},
	}
	return p
}

// quantiles are the queries of three quantiles of a histogram.
func quantiles(metric, by string) []query {
	if by != "" {
		by = ", " + by
	}
	var list []query
	for _, p := range []string{"0.5", "0.95", "0.99"} {
		list = append(list, q(fmt.Sprintf(`histogram_quantile(%s, sum by (le%s) (rate(%s[$__rate_interval])))`, p, by, metric), "p"+p[2:]))
	}
	list[0].legend = "p50"
	return list
}
