package dispatch

import (
	"testing"
	"time"

	"datasurge/emulator/golden"
	"datasurge/events"
)

func sql(t *testing.T, expression string) Filter {
	t.Helper()
	f, err := CESQL(expression)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFilter: the dialects of a Trigger's filters.
func TestFilter(t *testing.T) {
	golden.Row(t, 11, golden.FromSourceReading)
	m := message{version: "1.0", Event: events.Event{
		ID: "1", Source: "/a/b", Type: "com.x.created", Key: "k", Time: time.Date(2026, 1, 2, 3, 4, 5, 100e6, time.UTC),
		Extensions: []events.Extension{{Name: "ext", Value: "v"}, {Name: "knativekafkapartition", Value: "3"}},
	}}
	type attributes = map[string]string
	for _, c := range []struct {
		name   string
		filter Filter
		want   bool
		fails  bool
	}{
		{"exact", Exact(attributes{"type": "com.x.created", "ext": "v"}), true, false},
		{"exact, one differs", Exact(attributes{"type": "com.x.created", "ext": "w"}), false, false},
		{"exact, an empty value asks nothing", Exact(attributes{"type": ""}), true, false},
		{"exact, nothing asked", Exact(nil), true, false},
		{"exact, an extension that is not there", Exact(attributes{"other": "v"}), false, false},
		{"exact, partitionkey", Exact(attributes{"partitionkey": "k"}), true, false},
		{"exact, specversion", Exact(attributes{"specversion": "1.0"}), true, false},
		{"exact, place", Exact(attributes{"knativekafkapartition": "3"}), true, false},
		{"exact, time", Exact(attributes{"time": "2026-01-02T03:04:05.100Z"}), true, false},
		{"prefix", Prefix(attributes{"type": "com.x."}), true, false},
		{"prefix, not", Prefix(attributes{"type": "com.y."}), false, false},
		{"suffix", Suffix(attributes{"type": ".created", "source": "b"}), true, false},
		{"suffix, not", Suffix(attributes{"type": ".deleted"}), false, false},
		{"all", All(Prefix(attributes{"type": "com"}), Suffix(attributes{"type": "created"})), true, false},
		{"all, one does not", All(Prefix(attributes{"type": "com"}), Suffix(attributes{"type": "deleted"})), false, false},
		{"all of none", All(), true, false},
		{"any", Any(Exact(attributes{"id": "2"}), Exact(attributes{"id": "1"})), true, false},
		{"any, none does", Any(Exact(attributes{"id": "2"}), Exact(attributes{"id": "3"})), false, false},
		{"not", Not(Exact(attributes{"id": "2"})), true, false},
		{"not not", Not(Not(Exact(attributes{"id": "2"}))), false, false},
		// The data plane asks a null subject for its value, and discards the
		// event whatever stands around the filter.
		{"subject that is not there", Exact(attributes{"subject": "s"}), false, true},
		{"not subject that is not there", Not(Exact(attributes{"subject": "s"})), false, true},
		{"any with it behind one that takes", Any(Exact(attributes{"id": "1"}), Exact(attributes{"subject": "s"})), true, false},
		{"cesql", sql(t, "type LIKE 'com.x.%' AND ext = 'v'"), true, false},
		{"cesql, not", sql(t, "ext = 'w'"), false, false},
		{"cesql, exists", sql(t, "EXISTS ext AND NOT EXISTS other"), true, false},
		{"cesql, cast to true", sql(t, "1"), true, false},
		{"cesql, cannot be cast", sql(t, "'some text'"), false, false},
		{"cesql, fails", sql(t, "INT(type) = 1"), false, false},
		{"not cesql that fails", Not(sql(t, "INT(type) = 1")), true, false},
	} {
		got, err := c.filter.match(&m)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestCESQLSyntax(t *testing.T) {
	for _, bad := range []string{"", "type =", "= 1", "type LIKE", "((1)", "SELECT * FROM t"} {
		if f, err := CESQL(bad); err == nil {
			t.Errorf("%q was taken: %v", bad, f)
		}
	}
}

func FuzzCESQL(f *testing.F) {
	f.Add("type = 'x'")
	f.Add("NOT (a LIKE '%b_' OR EXISTS c) AND 1 + 2 >= LENGTH(d)")
	m := message{version: "1.0", Event: events.Event{ID: "1", Source: "/s", Type: "t"}}
	f.Fuzz(func(_ *testing.T, expression string) {
		if filter, err := CESQL(expression); err == nil {
			filter.match(&m)
		}
	})
}
