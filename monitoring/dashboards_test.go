package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"datasurge/monitoring/dashboards"
)

// TestDashboardsAreGenerated: what Grafana loads is what the code says.
func TestDashboardsAreGenerated(t *testing.T) {
	want := map[string]bool{}
	for _, d := range dashboards.All() {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("grafana/dashboards", d.UID+".json")
		want[path] = true
		if there, err := os.ReadFile(path); err != nil || !bytes.Equal(there, text) {
			t.Errorf("%s is not what the code makes (%v): run go generate ./monitoring/...", path, err)
		}
	}
	files, err := filepath.Glob("grafana/dashboards/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if !want[path] {
			t.Errorf("%s is made by no code", path)
		}
	}
}

// TestDashboards: what makes a dashboard load, and makes sense to a reader.
func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	all := dashboards.All()
	if len(all) != 5 {
		t.Errorf("%d dashboards", len(all))
	}
	for _, d := range all {
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.Description == "" || d.ID != nil || len(d.UID) > 40 {
			t.Errorf("dashboard %q, %q: id, uid, title or description", d.UID, d.Title)
		}
		uids[d.UID] = true
		if len(d.Links) < 2 || len(d.Annotations.List) == 0 || !slices.Contains(d.Tags, "datasurge") {
			t.Errorf("%s: links, tags or annotations are missing", d.UID)
		}
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		checkModel(t, d.UID, text)
		checkPanels(t, d)
		checkVariables(t, d, string(text))
	}
}

// checkModel goes through the JSON as Grafana sees it.
func checkModel(t *testing.T, uid string, text []byte) {
	t.Helper()
	for _, export := range []string{`"__inputs"`, "${DS_", `"dashboard":`} {
		if bytes.Contains(text, []byte(export)) {
			t.Errorf("%s has %s, which a file that is provisioned must not have", uid, export)
		}
	}
	var model any
	if err := json.Unmarshal(text, &model); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch x := v.(type) {
		case map[string]any:
			if source, ok := x["datasource"].(map[string]any); ok && source["uid"] != "${datasource}" {
				t.Errorf("%s %s: data source %v, want the variable", uid, path, source["uid"])
			}
			for name, value := range x {
				walk(path+"."+name, value)
			}
		case []any:
			for i, value := range x {
				walk(fmt.Sprint(path, "[", i, "]"), value)
			}
		}
	}
	walk("", model)
}

func checkPanels(t *testing.T, d dashboards.Dashboard) {
	t.Helper()
	ids := map[int]bool{}
	titles := map[string]bool{}
	row := ""
	for i, p := range d.Panels {
		where := d.UID + " panel " + p.Title
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: id %d is there twice", where, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X < 0 || p.GridPos.W <= 0 || p.GridPos.H <= 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: place %+v", where, p.GridPos)
		}
		for _, other := range d.Panels[:i] {
			if overlap(p.GridPos, other.GridPos) {
				t.Errorf("%s lies over %s", where, other.Title)
			}
		}
		if p.Type == "row" {
			row = p.Title
			continue
		}
		if p.Title == "" || titles[row+p.Title] || len(p.Description) < 10 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: title, description or unit", where)
		}
		titles[row+p.Title] = true
		if len(p.Targets) == 0 {
			t.Errorf("%s has no query", where)
		}
		if p.Type == "stat" && p.FieldConfig.Defaults.Thresholds == nil {
			t.Errorf("%s has no thresholds", where)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Expr == "" || refs[target.RefID] || target.Instant == target.Range {
				t.Errorf("%s: query %s", where, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

func overlap(a, b dashboards.GridPos) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// checkVariables: each is used, and all that is used is there.
func checkVariables(t *testing.T, d dashboards.Dashboard, text string) {
	t.Helper()
	for _, v := range d.Templating.List {
		if !strings.Contains(text, "$"+v.Name) && !strings.Contains(text, "${"+v.Name+"}") {
			t.Errorf("%s: nothing uses the variable %s", d.UID, v.Name)
		}
	}
	for _, found := range variable.FindAllString(text, -1) {
		name := strings.Trim(found, "${}")
		known := name == "__rate_interval" || name == "__all" || name == "__value" ||
			slices.ContainsFunc(d.Templating.List, func(v dashboards.Variable) bool { return v.Name == name })
		if !known {
			t.Errorf("%s uses the variable %s, which it does not have", d.UID, name)
		}
	}
}

// TestProvisioning: Grafana finds the dashboards where they are mounted.
func TestProvisioning(t *testing.T) {
	var providers struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/datasurge.yml", &providers)
	if len(providers.Providers) != 1 || providers.Providers[0].Options.Path != "/var/lib/grafana/dashboards" {
		t.Errorf("%+v", providers)
	}
	var sources struct {
		Datasources []struct {
			UID, Type string
			IsDefault bool `yaml:"isDefault"`
		}
	}
	readYAML(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	if len(sources.Datasources) != 2 || sources.Datasources[0].UID != "prometheus" || !sources.Datasources[0].IsDefault {
		t.Errorf("%+v", sources)
	}
}
