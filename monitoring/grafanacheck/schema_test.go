package grafanacheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana/apps/dashboard/pkg/migration"
	"github.com/grafana/grafana/apps/dashboard/pkg/migration/schemaversion"
)

// panelKinds are the plugins that the dashboards use.
var panelKinds = []variants.PanelcfgConfig{
	bargauge.VariantConfig(), heatmap.VariantConfig(), stat.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
}

// since13 matches fields that Grafana has always read and saved and that its
// schemas have from version 13 on. Before, they took the query of every annotation
// for one of Grafana's own.
var since13 = regexp.MustCompile(`annotations[.]list[[]0[]][.](target[.]|AnnotationQuery: unexpected field '(titleFormat|textFormat)'$|(titleFormat|textFormat)$)` +
	`|VariableModel: unexpected field 'definition'$|[.]templating[.]list[[][0-9]+[]][.]definition$`)

// before13 says whether the schemas are those of Grafana 12.
var before13 = !hasField(dashboard.VariableModel{}, "Definition")

func hasField(v any, name string) bool {
	_, ok := reflect.TypeOf(v).FieldByName(name)
	return ok
}

// read returns the dashboards by the names of their files.
func read(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d dashboards (%v)", len(files), err)
	}
	all := map[string][]byte{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = text
	}
	return all
}

// register makes the schemas of plugins known, without which their options are
// not looked at.
func register() {
	runtime := cog.NewRuntime()
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	for _, kind := range panelKinds {
		runtime.RegisterPanelcfgVariant(kind)
	}
}

// problems puts a dashboard through Grafana's schemas and returns what they object
// to.
func problems(text []byte) (list []string) {
	register()
	var d dashboard.Dashboard
	for _, err := range []error{d.UnmarshalJSONStrict(text), d.Validate()} {
		var errs cog.BuildErrors
		switch {
		case errors.As(err, &errs):
			for _, one := range errs {
				list = append(list, one.Error())
			}
		case err != nil:
			list = append(list, err.Error())
		}
	}
	return list
}

var panelType = regexp.MustCompile(`^[.]panels[[][0-9]+[]][.]type$`)

// TestSchema: every field is one that Grafana knows, of the type that it expects,
// and nothing that it needs is missing.
func TestSchema(t *testing.T) {
	for name, text := range read(t) {
		for _, problem := range problems(text) {
			if !before13 || !since13.MatchString(problem) {
				t.Errorf("%s: %s", name, problem)
			}
		}
		for path, kind := range leaves(t, text) {
			known := func(k variants.PanelcfgConfig) bool { return k.Identifier == kind }
			if panelType.MatchString(path) && kind != "row" && !slices.ContainsFunc(panelKinds, known) {
				t.Errorf("%s: the schema of panels of type %s is not among those that are looked at", name, kind)
			}
		}
	}
}

// TestNothingIsDropped: what Grafana has of a dashboard after it has read it is
// all that stands there.
func TestNothingIsDropped(t *testing.T) {
	for name, text := range read(t) {
		register()
		var d dashboard.Dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		kept, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		want, got := leaves(t, text), leaves(t, kept)
		for _, path := range slices.Sorted(maps.Keys(want)) {
			if value, ok := got[path]; (!ok || value != want[path]) && !(before13 && since13.MatchString(path)) {
				t.Errorf("%s: %s is %s, and for Grafana %q", name, path, want[path], value)
			}
		}
	}
}

// leaves are the values of a JSON document by their paths. Empty lists and nulls
// are left out: they are the same as nothing.
func leaves(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for key, value := range n {
				walk(path+"."+key, value)
			}
		case []any:
			for i, value := range n {
				walk(fmt.Sprintf("%s[%d]", path, i), value)
			}
		case nil:
		default:
			all[path] = fmt.Sprint(n)
		}
	}
	walk("", document)
	return all
}

// The check finds what is wrong in any of the schemas.
func TestSchemaFindsFaults(t *testing.T) {
	text := string(read(t)["datasurge-business.json"])
	usual := problems([]byte(text))
	for what, change := range map[string][2]string{
		"a field of a dashboard": {`"graphTooltip":`, `"graphTooltipp":`},
		"a field of a panel":     {`"gridPos":`, `"gridPosition":`},
		"an option of a plugin":  {`"graphMode": "none"`, `"graphMood": "none"`},
		"a field of a field":     {`"lineWidth": 1`, `"lineWith": 1`},
		"a field of a query":     {`"legendFormat":`, `"legend":`},
		"a type":                 {`"schemaVersion": 41`, `"schemaVersion": "41"`},
		"a missing field":        {`"icon": "doc",`, ``},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Errorf("%s: there is no %s", what, change[0])
		}
		if found := problems([]byte(changed)); len(found) <= len(usual) {
			t.Errorf("%s: nothing is found", what)
		}
	}
}

// TestMigration: Grafana 12.0 has nothing to migrate. Version 42 of the schema,
// to which later ones migrate, only hides from the tooltip what an override hides
// from the chart, and no panel hides anything from the chart.
func TestMigration(t *testing.T) {
	for name, text := range read(t) {
		if strings.Contains(string(text), `"viz": true`) {
			t.Errorf("%s hides a field from a chart, which the migration to version 42 changes", name)
		}
		var before, after map[string]any
		if err := errors.Join(json.Unmarshal(text, &before), json.Unmarshal(text, &after)); err != nil {
			t.Fatal(err)
		}
		if err := migration.Migrate(after, schemaversion.LATEST_VERSION); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		after["schemaVersion"] = float64(schemaversion.GetSchemaVersion(after)) // it is made an int
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s is changed (-before +after)\n%s", name, diff)
		}
	}
}
