package prometheus

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name string
		list []Target
		want string
	}{
		{"none", nil, `[]`},
		{"two", []Target{{"enrich", "127.0.0.1:1"}, {"detect", "127.0.0.1:2"}},
			`[{"targets":["127.0.0.1:1"],"labels":{"service":"enrich"}},{"targets":["127.0.0.1:2"],"labels":{"service":"detect"}}]`},
	} {
		w := httptest.NewRecorder()
		Targets(func() []Target { return c.list }).ServeHTTP(w, httptest.NewRequest("GET", "/prometheus/targets", nil))
		if got := strings.TrimSpace(w.Body.String()); got != c.want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s as %s", c.name, got, w.Header().Get("Content-Type"))
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path, err := Config{Dir: dir, Targets: "http://127.0.0.1:8080/prometheus/targets", Logger: slog.New(slog.DiscardHandler)}.Write()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `{url: "http://127.0.0.1:8080/prometheus/targets"`) {
		t.Errorf("%s: %v", text, err)
	}
	for _, name := range rules {
		if _, err := os.Stat(filepath.Join(dir, "rules", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if Installed() {
		t.Error("there is a prometheus in an empty directory")
	}
	if p, err := (Config{Dir: t.TempDir()}).Start(); err == nil {
		p.Close()
		t.Error("it was started")
	}
}
